"""EasyTL: easy transfer learning. Wang, Chen, Yu, Huang and Yang, ICME 2019.

The source is aligned by CORAL, means included; then a linear programme assigns the target samples to the class
centres h_c of the source so that no class stays empty:

    min_M  sum_cj D_cj M_cj,    D_cj = ||x_t,j - h_c||      (C, n_t)
    over   0 <= M <= 1,   sum_c M_cj = 1 for every sample,   sum_j M_cj >= 1 for every class

With the multipliers v_c >= 0 of the last constraints an optimal M puts sample j into argmin_c (D_cj - v_c), which is
also the rule for new samples; the scores are v_c - D_c(x). The programme has no parameters.

Evidence: tests/test_subspace.py::test_easytl_labels_solve_the_linear_programme (scipy.optimize.linprog),
test_surf_averages_of_methods_with_their_own_classifier.
"""

from __future__ import annotations

import torch
from torch import Tensor

from dazoo.core.errors import NonFiniteError
from dazoo.core.handles import Handles
from dazoo.core.hparam import hp
from dazoo.core.paper import Paper
from dazoo.core.types import Predictor, Seen
from dazoo.methods.base import Context, ShallowMethod, register
from dazoo.methods.shallow import labelled, pair
from dazoo.methods.subspace._recolour import coral_map
from dazoo.ops.classwise import one_hot
from dazoo.ops.linalg.blas import all_finite
from dazoo.ops.linalg.linear import distances_between
from dazoo.shallow.steps import Affine, CentreScores, Pipeline, Step, run_steps


@register
class EasyTL(ShallowMethod):
    """Easy transfer learning."""

    paper = Paper(
        title="Easy Transfer Learning By Exploiting Intra-domain Structures",
        authors="Jindong Wang, Yiqiang Chen, Han Yu, Meiyu Huang, Qiang Yang", year=2019,
        url="https://arxiv.org/abs/1904.01376", venue="ICME",
        deviations="aligns the means too: the paper's features are standardised, which leaves none to align "
        "(align='coral' is the paper's map); the programme is solved through its multipliers, which also label new "
        "samples; with fewer target samples than classes the last constraints are dropped, with a warning",
    )  # fmt: skip
    handles = Handles(marked={"none", "few"})

    align: str = hp(
        "moments",
        choices=("moments", "coral", "none"),
        help="alignment before the programme; coral leaves means",
    )

    def fit(self, seen: Seen, ctx: Context) -> Predictor:
        """Align, find the centres, solve the programme."""
        xs, xt = pair(seen)
        steps: tuple[Step, ...] = ()
        if self.align != "none":
            a = coral_map(seen, ctx, 1.0)
            steps = (Affine(a, xt.mean(0) - xs.mean(0) @ a if self.align == "moments" else None),)
        z, y = labelled(seen, run_steps(steps, xs), lambda x: run_steps((), x))
        shares = one_hot(y, seen.n_classes, torch.float64)
        counts = shares.sum(0)
        classes = torch.nonzero(counts > 0)[:, 0]
        centres = (shares.T @ z)[classes] / counts[classes, None]
        offsets = multipliers(distances_between(xt, centres).sqrt(), ctx)
        return Pipeline((), steps, CentreScores(centres, offsets, classes, seen.n_classes))


def multipliers(distances: Tensor, ctx: Context) -> Tensor:
    """The multipliers v (C,) of "no class stays empty" for ``distances`` (n_t, C)."""
    if not all_finite(distances):
        raise NonFiniteError("easytl: the distances to the class means overflow; standardise the features")
    n, c = distances.shape
    zero = distances.new_zeros(c)
    if n < c:
        ctx.warn(f"easytl: {n} target samples cannot fill {c} classes; samples go to their nearest centre")
        return zero
    if len(torch.unique(distances.argmin(dim=1))) == c:
        return zero  # every class has a sample of its own already
    import numpy as np
    from scipy.optimize import linprog
    from scipy.sparse import csr_array, eye_array, kron

    per_sample = kron(eye_array(n), np.ones((1, c)), format="csr")
    per_class = csr_array(kron(np.ones((1, n)), eye_array(c)))
    flat = distances.cpu().numpy().ravel()
    found = linprog(flat, A_eq=per_sample, b_eq=np.ones(n), A_ub=-per_class, b_ub=-np.ones(c), method="highs")
    if found.status != 0:
        ctx.warn(f"easytl: the linear programme was not solved ({found.message}); samples go to their nearest centre")
        return zero
    best = torch.from_numpy(found.x.reshape(n, c).argmax(axis=1)).to(distances.device)
    return _widest_margin(distances, best)


def _widest_margin(distances: Tensor, best: Tensor) -> Tensor:
    """Multipliers v (C,) of the optimal labels ``best`` (n_t,) that leave the widest margin t to every other label.

    v_b - v_a + t <= min over samples j labelled a of (D_bj - D_aj), v_c = 0 where a class has two samples or more.
    """
    import numpy as np
    from scipy.optimize import linprog

    c = distances.shape[1]
    own = distances.gather(1, best[:, None])
    rows, bounds = [], []
    for a in range(c):
        gaps = (distances - own)[best == a].amin(0)
        for b in range(c):
            if a != b:
                row = np.zeros(c + 1)
                row[b], row[a], row[c] = 1.0, -1.0, 1.0
                rows.append(row)
                bounds.append(float(gaps[b]))
    counts = torch.bincount(best, minlength=c)
    limits = [(0.0, None if int(k) < 2 else 0.0) for k in counts] + [(None, float(distances.max()))]
    found = linprog(np.r_[np.zeros(c), -1.0], A_ub=np.stack(rows), b_ub=bounds, bounds=limits, method="highs")
    # scales that the solver does not bear leave the nearest centres
    return distances.new_zeros(c) if found.x is None else torch.from_numpy(found.x[:c]).to(distances)
