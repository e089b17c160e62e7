"""AdaMatch: FixMatch with aligned label distributions and a relative threshold. Berthelot et al., ICLR 2022.

    min_{F,C}  CE(z_s, y_s) + strong_weight * CE(z_s', y_s)
                + trade_off * m(p) * 1/b sum_j 1[max q_j >= c] H(q_j, z_t,j')
    z weak, z' strong views' scores (b, C);  q = stop(normalise(softmax(z_t) * mean softmax(z_s) / mean softmax(z_t)))
    c = threshold * mean_i max softmax(z_s,i),   m(p) = 1/2 - cos(min(pi, 2 pi p)) / 2 over the fraction p

Where the body has batch normalisation, source scores are random mixtures, entry by entry, of those in a joint batch
with the target and those in a batch of their own.

Evidence: tests/test_selftraining_labels.py (terms equal transcriptions; invariance to what the alignment divides out).
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn.modules.batchnorm import _BatchNorm

from dazoo.core.handles import Handles
from dazoo.core.hparam import hp
from dazoo.core.paper import Paper
from dazoo.methods.base import Batch, GradientMethod, Progress, register
from dazoo.nets.net import Net
from dazoo.nets.parts.domain_norm import still_norms
from dazoo.ops.selftraining import adamatch, cosine_ramp, step_draws


@register
class AdaMatch(GradientMethod):
    """A unified approach to semi-supervised learning and domain adaptation."""

    paper = Paper(
        title="AdaMatch: A Unified Approach to Semi-Supervised Learning and Domain Adaptation",
        authors="David Berthelot, Rebecca Roelofs, Kihyuk Sohn, Nicholas Carlini, Alex Kurakin",
        year=2022, url="https://arxiv.org/abs/2106.04732",
        venue="ICLR",
        deviations="as many target as source samples per batch (the paper: 3 to 1); no average of the weights; without "
        "batch normalisation the random interpolation of scores has no effect and is left out",
    )  # fmt: skip
    handles = Handles(n_sources={"one", "many"})
    strong_views = True
    revision = 1

    trade_off: float = hp(1.0, 0.1, 10.0, log=True, help="weight of the target term")
    strong_weight: float = hp(1.0, 0.1, 2.0, help="weight of the source's strong views")
    threshold: float = hp(0.9, 0.5, 1.0, help="least confidence, relative to the source's mean confidence")

    def losses(self, net: Net, b: Batch, t: Progress) -> dict[str, Tensor]:
        assert b.xs_strong is not None and b.xt_strong is not None
        n = len(b.xs)
        if any(isinstance(m, _BatchNorm) for m in net.body.modules()):
            both = net.head(net.body(torch.cat([b.xs, b.xs_strong, b.xt, b.xt_strong])))
            with still_norms(net.body):
                alone = net.head(net.body(torch.cat([b.xs, b.xs_strong])))
            share = torch.as_tensor(step_draws(t.step, 2106).random(alone.shape)).to(alone)
            weak, strong = (share * both[: 2 * n] + (1 - share) * alone).chunk(2)
            weak_t, strong_t = both[2 * n :].chunk(2)
        else:
            fs, rest = net.features(b.xs, torch.cat([b.xs_strong, b.xt, b.xt_strong]))
            weak, (strong, weak_t, strong_t) = net.head(fs), net.head(rest).chunk(3)
        return {
            "cls": net.criterion(weak, b.ys),
            "strong": self.strong_weight * net.criterion(strong, b.ys),
            "pseudo": self.trade_off * cosine_ramp(t.fraction) * adamatch(strong_t, weak_t, weak, self.threshold),
        }
