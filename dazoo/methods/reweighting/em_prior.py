"""Prior correction by expectation maximisation. Saerens, Latinne and Decaestecker, Neural Computation 2002.

A classifier with probabilities p(c|x) was trained under priors p_c. Under label shift its probabilities on target
samples and the target's priors q_c are found together:

    E:  p_j,c  =  (q_c / p_c) p(c|x_j) / sum_d (q_d / p_d) p(d|x_j)         M:  q_c = (1/n_t) sum_j p_j,c

Every iteration raises the likelihood  sum_j log sum_c (q_c / p_c) p(c|x_j). Target samples are then scored by
log p(c|x) + log q_c - log p_c; the classifier is trained once and not again.

Needs a classifier whose probabilities are calibrated on the target, as those of logistic regression are where p(x|y) is
the same in both domains. Where it is not, the iteration gives the classes that are predicted too often ever more weight
until others vanish, also on data of equal class proportions; a warning counts the classes it all but removes.

Evidence: tests/test_label_shift.py::test_em_raises_the_likelihood_to_its_maximum,
test_em_finds_the_priors_of_a_calibrated_classifier, test_beats_source_only_under_label_shift.
"""

from __future__ import annotations

import torch
from torch import Tensor

from dazoo.core.handles import Handles
from dazoo.core.paper import Paper
from dazoo.core.types import Predictor, Seen
from dazoo.methods.base import Context, ShallowMethod, register
from dazoo.methods.reweighting._label_shift import corrected
from dazoo.methods.shallow import fit_classifier, labelled, pair
from dazoo.ops.classwise import one_hot
from dazoo.ops.shares import em_shares
from dazoo.shallow.steps import run_steps

ITERATIONS = 2000
FLOOR = 1e-12


@register
class EMPrior(ShallowMethod):
    """Prior correction by expectation maximisation."""

    paper = Paper(
        title="Adjusting the Outputs of a Classifier to New a Priori Probabilities: A Simple Procedure",
        authors="Marco Saerens, Patrice Latinne, Christine Decaestecker", year=2002,
        url="https://doi.org/10.1162/089976602753284446", venue="Neural Computation (Journal)",
        deviations="none in the iteration; it assumes that p(x|y) is the same in both domains, elsewhere it removes "
        "classes, and warns",
    )  # fmt: skip
    handles = Handles(marked={"none", "few"})

    def fit(self, seen: Seen, ctx: Context) -> Predictor:
        """Train once, then iterate over the target's probabilities."""
        x, y = labelled(seen, pair(seen)[0], lambda few: run_steps((), few))
        head = fit_classifier(seen, ctx, x, y)
        prior = one_hot(y, seen.n_classes).to(x).mean(0)
        found, trace = em_priors(torch.softmax(head(run_steps((), seen.target.x)), 1), prior)
        if len(trace) == ITERATIONS:
            ctx.warn(f"em_prior: the priors still moved after {ITERATIONS} iterations")
        return corrected("em_prior", head, found, prior, ctx)


def em_priors(probs: Tensor, prior: Tensor, iterations: int = ITERATIONS) -> tuple[Tensor, list[float]]:
    """Target priors (C,) for classifier probabilities ``probs`` (n, C) trained under ``prior`` (C,), and the mean
    log-likelihood before every iteration."""
    likelihood = torch.where(prior > 0, probs / prior.clamp(min=FLOOR), torch.zeros_like(probs))
    return em_shares(likelihood, prior, iterations)
