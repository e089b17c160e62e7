"""SHFA: HFA that also learns from unlabelled target samples. Li, Duan, Xu and Tsang, TPAMI 2014.

    min_{y_u} min_H max_a  sum_i a_i - 1/2 sum_ij b_i b_j <phi(x_i), phi(x_j)>,  b = a y,  0 <= a_i <= C_i,  sum b = 0

over labelled and unlabelled samples, n_s + n_f + n_u, with C_i = C of labelled and ``share`` C of unlabelled ones,
whose labels y_u are sought too. phi and H are those of ``hfa``. Starts from HFA's labels and alternates: machines for
the current labels, labels for the current machines (the class with the largest score).

Evidence: tests/test_heterogeneous.py::test_shfa_with_no_share_is_hfa.
"""

from __future__ import annotations

import torch

from dazoo.core.handles import Handles
from dazoo.core.hparam import hp
from dazoo.core.paper import Paper
from dazoo.core.types import Predictor, Seen
from dazoo.methods.base import Context, ShallowMethod, register
from dazoo.methods.heterogeneous._augmented import DRAWN, MOST, Augmented, Side, check_kernel, one_against_rest
from dazoo.methods.heterogeneous._maps import few_target
from dazoo.methods.heterogeneous._plans import drawn, spread_one
from dazoo.methods.shallow import sides, source_of


@register
class SHFA(ShallowMethod):
    """Semi-supervised heterogeneous feature augmentation."""

    paper = Paper(
        title="Learning With Augmented Features for Supervised and Semi-Supervised Heterogeneous Domain Adaptation",
        authors="Wen Li, Lixin Duan, Dong Xu, Ivor W. Tsang", year=2014,
        url="https://doi.org/10.1109/TPAMI.2013.167", venue="IEEE Transactions on Pattern Analysis (Journal)",
        deviations="labels of unlabelled samples by alternation, one label per sample; the paper seeks a mixture of "
        "labellings with a squared hinge and a balance constraint per class; no gain at the defaults on SURF and deep "
        "features; of more than 6,000 samples 2,000 of each domain are learned from",
    )  # fmt: skip
    growth = 1.5
    memory_growth = 1.5
    handles = Handles(marked="few", spaces="own")

    C: float = hp(1.0, 0.1, 100.0, log=True, help="cost of a violated margin", positive=True)
    lam: float = hp(100.0, 1.0, 1000.0, log=True, help="bound of the trace of H")
    share: float = hp(0.1, 0.01, 1.0, log=True, help="cost of unlabelled samples, as a share of C")
    kernel: str = hp("rbf", choices=("rbf", "linear"), help="kernel on either side")
    rounds: int = hp(3, help="Frank-Wolfe steps for each labelling")
    labellings: int = hp(3, help="how often the target is labelled anew")

    def fit(self, seen: Seen, ctx: Context) -> Predictor:
        """Alternate between labels and machines."""
        if sum(map(len, sides(seen))) > MOST:
            seen = drawn(seen, ctx, self.name, DRAWN)
        xs, xt = sides(seen)
        ys, yf = source_of(seen).y, few_target(seen)[1]
        n_s, n_u, n = len(xs), len(seen.target), seen.n_classes
        check_kernel(n_s + len(xt), self.name)
        spread_one(xs, self.name), spread_one(xt, self.name)
        problem = Augmented(Side(xs, self.kernel), Side(xt, self.kernel))
        y = torch.cat([ys, torch.full((n_u,), -1, dtype=ys.dtype), yf.to(ys)])
        c = torch.full((len(y),), self.C, dtype=torch.float64)
        unlabelled = slice(n_s, n_s + n_u)
        c[unlabelled] = 0.0  # the first machines know labelled samples alone
        model = None
        for _ in range(self.labellings + 1):
            weights, bias = one_against_rest(problem, y, c, n, self.lam, self.rounds, ctx.warn)
            model = problem.predictor(weights, bias)
            now = model.predict(seen.target.x).scores.argmax(1).to(ys)
            if self.share == 0 or torch.equal(now, y[unlabelled]):
                break
            y[unlabelled], c[unlabelled] = now, self.share * self.C
        assert model is not None
        return model
