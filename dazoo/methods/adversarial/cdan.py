"""CDAN: adversarial adaptation conditioned on predictions. Long, Cao, Wang, Jordan, NeurIPS 2018.

    min_{F,C} max_D  CE(C(F(x_s)), y_s) - trade_off * r(t) * sum_i w_i BCE(D(g_i (x) f_i), d_i) / (2 b)

f (width,) are features, g = softmax(C(f)) (C,) predictions, treated as constants, and g (x) f their outer product
(C * width,), class-major. With ``entropy`` (CDAN+E) w_i = (1 + exp(-H(g_i))), scaled to sum to the number of samples
in the batch; otherwise w_i = 1. Where C * width exceeds ``random_dim`` (if that is set), the product of two fixed
random projections (random_dim,) / sqrt(random_dim) stands in for it, as in the paper's randomised strategy.

Evidence: tests/test_parity.py (cdan, cdan_e), tests/test_adversarial.py.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from dazoo.core.handles import Handles
from dazoo.core.hparam import hp
from dazoo.core.paper import Paper
from dazoo.methods.base import Batch, GradientMethod, Progress, register
from dazoo.nets.net import Net
from dazoo.nets.parts.common import RandomProduct, mlp
from dazoo.ops.adversarial import conditional_map, domain_bce_joint
from dazoo.ops.entropy import entropy_weights
from dazoo.ops.reversal import reverse_gradient


@register
class CDAN(GradientMethod):
    """Conditional domain-adversarial network."""

    paper = Paper(
        title="Conditional Adversarial Domain Adaptation",
        authors="Mingsheng Long, Zhangjie Cao, Jianmin Wang, Michael I. Jordan",
        year=2018,
        url="https://arxiv.org/abs/1705.10667", venue="NeurIPS",
        deviations="the discriminator has no batch normalisation; certainty weights (CDAN+E) are constants scaled over "
        "both batches together, in the authors' program each domain's are scaled by themselves and carry a reversed "
        "gradient",
    )  # fmt: skip
    handles = Handles(n_sources={"one", "many"})

    trade_off: float = hp(1.0, 0.1, 10.0, log=True, help="weight of the reversed gradient")
    entropy: bool = hp(False, choices=(False, True), help="entropy conditioning (CDAN+E)")
    disc_width: int = hp(256, 32, 1024, log=True, help="width of the discriminator's hidden layers")
    random_dim: int = hp(0, help="dimension of the randomised product; 0 for the full outer product")

    def build(self, width: int, n_classes: int) -> dict[str, nn.Module]:
        small = self.random_dim and width * n_classes > self.random_dim
        parts: dict[str, nn.Module] = {"product": RandomProduct(width, n_classes, self.random_dim)} if small else {}
        joint = self.random_dim if small else width * n_classes
        return {**parts, "disc": mlp(joint, self.disc_width, self.disc_width, 1)}

    def losses(self, net: Net, b: Batch, t: Progress) -> dict[str, Tensor]:
        fs, ft = net.features(b.xs, b.xt)
        ls, lt = net.head(fs), net.head(ft)
        return {"cls": net.criterion(ls, b.ys), "dom": self.domain_term(net, fs, ft, ls, lt, t)}

    def domain_term(self, net: Net, fs: Tensor, ft: Tensor, ls: Tensor, lt: Tensor, t: Progress) -> Tensor:
        """The discriminator's loss on the conditioned features, with the gradient to them reversed."""
        f, p = torch.cat([fs, ft]), torch.cat([ls, lt]).detach().softmax(1)
        f = reverse_gradient(f, self.trade_off * t.ramp)
        joint = net.product(f, p) if hasattr(net, "product") else conditional_map(p, f)
        weights = entropy_weights(p) if self.entropy else None
        return domain_bce_joint(net.disc(joint).squeeze(-1), len(fs), weights)
