"""CST: pseudo-labels must train a target classifier that works on the source. Liu, Wang, Long, NeurIPS 2021.

    min_{F,C}  CE(C(F(x_s)), y_s) + trade_off * 1/b |F_s W_t(F) - Y_s|_F^2 + tsallis_weight * S_alpha(p)
    W_t(F) = (F_t^T F_t + r I)^-1 F_t^T Y_t,   Y_t = onehot(argmax C(F_t)) (b, C),   r = ridge * mean |F_t,i|^2
    p = softmax(C(F_t) / temperature),   S_alpha(p) = 1/(C (alpha-1)) sum_c (1 - sum_i w_i p_ic^alpha / sum_i w_i p_ic)

S is the Tsallis entropy with classes of equal weight and rows weighted by confidence, w_i ~ 1 + exp(-H(p_i)), as in the
authors' program. F_s, F_t (b, width) are features with a constant column, Y_s one-hot labels; the second term's
gradient passes through the closed-form solution. With ``as_program`` the rows of F_s and F_t have unit norm and no
constant, Y_s and Y_t are one-hot less 1/C, r = ridge (0.001 there), and the term is a mean over the b C entries.

Evidence: tests/test_selftraining_labels.py (equals a normal-equation transcription; gradients by finite differences).
"""

from __future__ import annotations

from torch import Tensor

from dazoo.core.handles import Handles
from dazoo.core.hparam import hp
from dazoo.core.paper import Paper
from dazoo.methods.base import Batch, GradientMethod, Progress, register
from dazoo.nets.net import Net
from dazoo.ops.classwise import one_hot
from dazoo.ops.selftraining import balanced_tsallis, cosine_ridge_transfer, ridge_transfer


@register
class CST(GradientMethod):
    """Cycle self-training."""

    paper = Paper(
        title="Cycle Self-Training for Domain Adaptation", authors="Hong Liu, Jianmin Wang, Mingsheng Long", year=2021,
        url="https://arxiv.org/abs/2103.03571", venue="NeurIPS",
        deviations="alpha is a hyper-parameter, not chosen anew in every step by trying values on the source; ridge is "
        "relative to the features' size and there is an intercept (as_program: unit features, labels less 1/C, ridge "
        "as it is, a mean over entries, where the default sums over classes); the entropy is a mean over classes with "
        "weight 1, in the authors' program a sum with 0.08; neither FixMatch nor sharpness-aware minimisation on top",
    )  # fmt: skip
    handles = Handles(n_sources={"one", "many"})

    trade_off: float = hp(0.5, 0.05, 5.0, log=True, help="weight of the cycle through the source")
    tsallis_weight: float = hp(1.0, 0.1, 10.0, log=True, help="weight of the target's Tsallis entropy")
    alpha: float = hp(1.9, 1.1, 2.0, help="order of the Tsallis entropy")
    temperature: float = hp(2.5, 1.0, 5.0, help="softens target predictions in the entropy", positive=True)
    ridge: float = hp(0.1, 0.001, 1.0, log=True, help="regularisation of the target classifier")
    as_program: bool = hp(False, help="the cycle of the authors' program: cosines, labels less 1/C, mean of entries")

    def losses(self, net: Net, b: Batch, t: Progress) -> dict[str, Tensor]:
        fs, ft = net.features(b.xs, b.xt)
        source, target = net.head(fs), net.head(ft)
        c = target.shape[-1]
        pseudo, labels = one_hot(target.detach().argmax(-1), c, ft.dtype), one_hot(b.ys, c, fs.dtype)
        if self.as_program:
            cycle = (cosine_ridge_transfer(ft, pseudo - 1.0 / c, fs, self.ridge) - labels + 1.0 / c).square().mean()
        else:
            cycle = (ridge_transfer(ft, pseudo, fs, self.ridge) - labels).square().sum(-1).mean()
        return {
            "cls": net.criterion(source, b.ys),
            "cycle": self.trade_off * cycle,
            "tsallis": self.tsallis_weight * balanced_tsallis(target, self.alpha, self.temperature),
        }
