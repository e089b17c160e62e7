"""DCL: domain curriculum learning, one target after the other, the easiest first. Roy et al., CVPR 2021.

    min_{F,C} max_D  CE(C(f_s), y_s)
                     - trade_off * r(t) * [BCE(D(p (x) f), 1) over the source + BCE(., 0) over the current target] / 2
                     + pseudo_weight * mean over finished targets' sure samples of CE(C(f_t), y^)

p (x) f is the outer product of predictions and features, as in CDAN. Targets are ordered by how sure the model is of
them, by the mean of its largest probability. Training has as many stages of equal length as targets, within the share
``curriculum`` of it: in stage k the k-th target is aligned, and pseudo-labels y^ of those before it join the source,
where their probability reaches the threshold. After that all targets are aligned and have pseudo-labels. Order and
pseudo-labels are renewed per epoch. One target, or blind ones, are a curriculum of one stage.

Evidence: tests/test_multi_target.py (test_dcl_takes_one_target_after_the_other).
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from dazoo.core.handles import Handles
from dazoo.core.hparam import hp
from dazoo.core.paper import Paper
from dazoo.methods.base import Batch, GradientMethod, Look, Progress, register
from dazoo.nets.net import Net
from dazoo.nets.parts.common import mlp
from dazoo.ops.adversarial import conditional_map, domain_bce_rows
from dazoo.ops.classwise import class_means, one_hot
from dazoo.ops.reversal import reverse_gradient
from dazoo.ops.selftraining import confident, hard_cross_entropy


@register
class DCL(GradientMethod):
    """Domain curriculum learning."""

    paper = Paper(
        title="Curriculum Graph Co-Teaching for Multi-Target Domain Adaptation",
        authors="Subhankar Roy, Evgeny Krivosheev, Zhun Zhong, Nicu Sebe, Elisa Ricci",
        year=2021, url="https://arxiv.org/abs/2104.00808", venue="CVPR",
        deviations="the paper's curriculum without its co-teaching of a graph network; stages are shares of one "
        "training, and the order follows the current model, which is surest of the targets it has adapted to",
    )  # fmt: skip
    handles = Handles(n_sources={"one", "many"})
    toy_hparams = {"threshold": 0.3, "curriculum": 0.3}

    trade_off: float = hp(1.0, 0.1, 10.0, log=True, help="weight of the reversed gradient")
    pseudo_weight: float = hp(1.0, 0.1, 10.0, log=True, help="weight of the pseudo-labels of finished targets")
    threshold: float = hp(0.7, 0.5, 0.95, help="probability from which a pseudo-label counts")
    curriculum: float = hp(0.75, 0.3, 0.9, help="share of training in which targets come one by one", positive=True)
    disc_width: int = hp(256, 32, 1024, log=True, help="width of the discriminator's hidden layers")

    def build(self, width: int, n_classes: int) -> dict[str, nn.Module]:
        return {"disc": mlp(width * n_classes, self.disc_width, self.disc_width, 1)}

    def refresh(self, net: Net, look: Look) -> dict[str, Tensor]:
        p = look.target[1].softmax(-1)
        domain = torch.zeros(len(p), dtype=torch.int64) if look.target_domain is None else look.target_domain
        sure = class_means(p.amax(1)[:, None], one_hot(domain.to(p.device), net.n_targets, p.dtype))[0][:, 0]
        y, kept = confident(p, self.threshold)
        return {"rank": sure.argsort(descending=True, stable=True).argsort(), "label": y, "sure": kept}

    def losses(self, net: Net, b: Batch, t: Progress) -> dict[str, Tensor]:
        fs, ft = net.features(b.xs, b.xt)
        ls, lt = net.head(fs), net.head(ft)
        f, p = reverse_gradient(torch.cat([fs, ft]), self.trade_off * t.ramp), torch.cat([ls, lt]).detach().softmax(1)
        rows = domain_bce_rows(net.disc(conditional_map(p, f)), len(fs))
        rank = b.memory["rank"][torch.zeros_like(b.t_rows) if b.dt is None else b.dt]
        stage = int(t.fraction * net.n_targets / self.curriculum) if self.curriculum > t.fraction else net.n_targets
        now = (rank == stage).to(rows.dtype) if stage < net.n_targets else torch.ones_like(rows[len(fs) :])
        target = (now * rows[len(fs) :]).sum() / now.sum().clamp_min(1.0)
        done = (rank < stage).to(rows.dtype) * b.memory["sure"][b.t_rows]
        return {
            "cls": net.criterion(ls, b.ys),
            "dom": 0.5 * (rows[: len(fs)].mean() + target),
            "pseudo": self.pseudo_weight * hard_cross_entropy(lt, b.memory["label"][b.t_rows], done),
        }
