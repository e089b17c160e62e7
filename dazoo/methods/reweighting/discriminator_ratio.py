"""Discriminator ratio: importance weights from a classifier of domains. Bickel, Brückner and Scheffer, ICML 2007.

Logistic regression tells target (1) from source (0); by Bayes' rule its odds are the density ratio up to a constant:

    min_{v,b}  C sum_i loss(v'x_i + b, domain_i) + ||v||^2 / 2
    w_i = exp(v'x_i + b) n_s / n_t  =  P(t | x_i) / P(s | x_i)  n_s / n_t

Evidence: tests/test_reweighting.py::test_discriminator_is_stationary, test_known_gaussian_ratio.
"""

from __future__ import annotations

import torch
from torch import Tensor

from dazoo.core.handles import Handles
from dazoo.core.hparam import hp
from dazoo.core.paper import Paper
from dazoo.core.types import Seen
from dazoo.methods.base import Context, register
from dazoo.methods.reweighting._ratio import flattened
from dazoo.methods.shallow import Reweighting, pair
from dazoo.shallow.classifiers import classifier


@register
class DiscriminatorRatio(Reweighting):
    """Importance weights from a classifier of domains."""

    paper = Paper(
        title="Discriminative Learning for Differing Training and Test Distributions",
        authors="Steffen Bickel, Michael Brückner, Tobias Scheffer", year=2007,
        url="https://doi.org/10.1145/1273496.1273507", venue="ICML",
        deviations="two stages (weights, then the suite's classifier) instead of the paper's joint optimisation; "
        "features are standardised over both domains, so that C is free of their scale",
    )  # fmt: skip
    handles = Handles(marked={"none", "few"})
    targets = frozenset({"classes", "values"})

    c: float = hp(1.0, 1e-3, 1e3, log=True, help="inverse weight of the discriminator's L2 penalty", positive=True)

    def weights(self, seen: Seen, ctx: Context) -> Tensor:
        """The discriminator's odds, the largest scaled to 1."""
        return flattened(self.log_odds(seen, ctx), 1.0)

    def log_odds(self, seen: Seen, ctx: Context) -> Tensor:
        """v'x_i + b of the source samples (n_s,)."""

        def make() -> tuple[Tensor, list[str]]:
            notes: list[str] = []
            xs, xt = pair(seen)
            z = torch.cat([xs, xt])
            mean = z.mean(0)
            z -= mean
            scale = z.norm(dim=0) / len(z) ** 0.5
            # what rounding leaves of a constant feature is no spread
            z /= torch.where(scale > 1e-14 * mean.abs(), scale, torch.ones_like(scale))
            side = (torch.arange(len(z), device=z.device) >= len(xs)).long()
            head = classifier("logistic", C=self.c).fit(z, side, 2, warn=notes.append)
            scores = head(z[: len(xs)])
            return scores[:, 1] - scores[:, 0], notes

        odds, notes = ctx.memo(("domain_odds", self.c), make)
        for note in notes:  # a shared result warns in every run that uses it
            ctx.warn(f"discriminator_ratio: {note}")
        return odds
