"""dazoo for scikit-learn: estimators, scorers that read no target label, and folds with both domains in each.

    from dazoo.sklearn import DAClassifier, DomainKFold, scorer

    model = DAClassifier("coral").fit(x, y, sample_domain=domain)     # domain: positive source, negative target
    model.predict_proba(x_new)

``sample_domain`` is as in skada: samples with a positive number are of a source, those with a negative one of the
target, whose entries of ``y`` are not looked at. Without it all samples are source and target at once. Torch loads with
the first ``fit``.
"""

from typing import TYPE_CHECKING, Any

from dazoo.sklearn.estimators import DAClassifier, DARegressor
from dazoo.sklearn.folds import DomainKFold

if TYPE_CHECKING:
    from dazoo.sklearn.scoring import ValidatorScorer, compare, scorer, scorers

__all__ = ["DAClassifier", "DARegressor", "DomainKFold", "ValidatorScorer", "compare", "scorer", "scorers"]


def __getattr__(name: str) -> Any:
    if name in __all__:
        import dazoo.sklearn.scoring as scoring

        return getattr(scoring, name)
    raise AttributeError(f"module 'dazoo.sklearn' has no attribute {name!r}")
