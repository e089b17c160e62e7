"""dazoo for scikit-learn: estimators, scorers that read no target label, and folds with both domains in each.

    from dazoo.sklearn import DAClassifier, DomainKFold, scorer

    model = DAClassifier("coral").fit(x, y, sample_domain=domain)     # domain: positive source, negative target
    model.predict_proba(x_new)

``sample_domain`` is as in skada: samples with a positive number are of a source, those with a negative one of the
target, whose entries of ``y`` are not looked at. Without it all samples are source and target at once. Torch loads with
the first ``fit``.
"""

from dazoo.sklearn.estimators import DAClassifier, DARegressor

__all__ = ["DAClassifier", "DARegressor"]
