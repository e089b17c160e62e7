"""SCL: structural correspondence learning. Blitzer, McDonald and Pereira, EMNLP 2006.

Pivots are features that occur in both domains and tell the classes apart. Linear predictors of "pivot above its mean"
from all other features, fitted on both domains, are compressed to the directions they share:

    W_p = argmin_w || 1[x_p > mean] - x' w ||^2 + ridge ||w||^2,      W = [W_1, ..., W_m] = U diag(s) V'
    z = [x, scale x U_k],      U_k (d, k) with zero rows at the pivots

The added features are scaled to the mean norm of x, then by ``scale``.

Evidence: tests/test_subspace_more.py::test_scl_joins_features_that_stand_for_the_same_pivot.
"""

from __future__ import annotations

import torch
from torch import Tensor

from dazoo.core.handles import Handles
from dazoo.core.hparam import hp
from dazoo.core.paper import Paper
from dazoo.core.types import Seen
from dazoo.methods.base import Context, register
from dazoo.methods.shallow import Aligned, FeatureMap, pair, source_of
from dazoo.ops.classwise import one_hot
from dazoo.ops.linalg.linear import RidgeFit, fix_signs
from dazoo.shallow.steps import Affine, Append


@register
class SCL(FeatureMap):
    """Structural correspondence learning."""

    paper = Paper(
        title="Domain Adaptation with Structural Correspondence Learning",
        authors="John Blitzer, Ryan McDonald, Fernando Pereira", year=2006, url="https://aclanthology.org/W06-1615/",
        venue="EMNLP",
        deviations="ridge regression for the pivot predictors instead of the modified Huber loss; pivots are chosen "
        "by their correlation with the labels (as in the authors' later work) instead of by frequency alone; no gain "
        "at the defaults on dense features: it is for counts of words, many of them the same in both domains",
    )  # fmt: skip
    handles = Handles(marked={"none", "few"})

    pivots: int = hp(100, 2, 500, log=True, help="number of pivots; at most half of the features")
    dim: int = hp(25, 1, 100, log=True, help="number of added features")
    ridge: float = hp(1.0, 1e-2, 1e2, log=True, help="penalty of the predictors, times the number of samples over 100")
    scale: float = hp(
        1.0, 0.1, 10.0, log=True, help="size of the added features against the original ones", positive=True
    )

    def align(self, seen: Seen, ctx: Context) -> Aligned:
        """Find the shared directions."""
        xs, xt = pair(seen)
        both = torch.cat([xs, xt])
        chosen = pivots_of(xs, xt, source_of(seen).y, seen.n_classes, min(self.pivots, max(1, xs.shape[1] // 2)))
        u = shared_directions(both, chosen, self.ridge * len(both) / 100, self.dim)
        mean = both.mean(0)
        size = ((both - mean) @ u).norm(dim=1).mean()
        u = u * (self.scale * both.norm(dim=1).mean() / torch.where(size > 0, size, torch.ones_like(size)))
        step = Append((Affine(u, -mean @ u),))
        return Aligned(step(xs), (step,))


def pivots_of(xs: Tensor, xt: Tensor, y: Tensor, n_classes: int, m: int) -> Tensor:
    """Columns (m,) that correlate most with some class among those that vary in both domains."""
    centred = xs - xs.mean(0)
    labels = one_hot(y, n_classes).to(xs)
    labels = labels - labels.mean(0)
    norms = centred.norm(dim=0)[:, None] * labels.norm(dim=0)
    score = ((centred.T @ labels).abs() / torch.where(norms > 0, norms, torch.ones_like(norms))).amax(1)
    alive = (xs.std(0, correction=0) > 0) & (xt.std(0, correction=0) > 0)
    return torch.where(alive, score, score - 2).argsort(descending=True, stable=True)[:m].sort().values


def shared_directions(x: Tensor, pivots: Tensor, ridge: float, k: int) -> Tensor:
    """U (d, k): leading left singular vectors of the pivot predictors, zero at the pivots."""
    d = x.shape[1]
    others = torch.ones(d, dtype=torch.bool, device=x.device)
    others[pivots] = False
    wanted = (x[:, pivots] > x[:, pivots].mean(0)).to(x)
    w, _ = RidgeFit(x[:, others], ridge).fit(wanted)
    left = torch.linalg.svd(w, full_matrices=False).U[:, :k]
    u = torch.zeros(d, left.shape[1], dtype=x.dtype, device=x.device)
    u[others] = fix_signs(left)
    return u
