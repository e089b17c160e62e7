"""UniOT: shared classes by unbalanced transport, private ones by clusters of equal size. Chang et al., NeurIPS 2022.

    min_{F,W,M}  CE(z_s W^T / T, y_s) + trade_off * [L_common + L_private],     z = F(x) / |F(x)|, rows of W, M likewise
    L_common = mean over sure rows of CE(z_t W^T / T, argmax_c Q_jc)
        Q (m, K): unbalanced transport of the batch and the bank to the classes at cost -z W^T and class shares beta;
        a row is sure where Q_jc > 1/m and Q holds at least 1/K of that class;  beta follows sum_j Q_jc by ``momentum``
    L_private = [CE(z M^T / T, A) + (CE(z M^T / T, A') + CE(z' M^T / T, A)) / 2] / 2
        z' (b, width) the nearest other bank sample; A, A' (b, clusters) their soft assignments to M, balanced

Before the transport the scarcer kind of rows, those nearer to a class than cosine ``gamma`` or the others, is filled up
until both weigh the same: sure rows count more often, or rows half way to their least similar class are added. On the
whole target Q gives class potentials, which say for any row alone what Q would hold: a row is unknown where
max_c Q_jc < 1/m, and its class is the argmax. ``mass = inf`` is balanced transport.

Evidence: tests/test_parity.py (uni_sinkhorn, uni_uniot_ccd), tests/test_universal.py (filling; answers do not depend on
the other rows of a batch), tests/test_universal_ops.py (the plan is that of POT; infinite mass is balanced).
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy, linear, normalize

from dazoo.core.handles import Handles
from dazoo.core.hparam import hp
from dazoo.core.paper import Paper
from dazoo.core.types import Prediction
from dazoo.methods.base import Batch, GradientMethod, Look, Progress, register
from dazoo.nets.net import Net
from dazoo.nets.parts.rows import Value
from dazoo.nets.parts.shares import Shares
from dazoo.ops.selftraining import step_draws
from dazoo.ops.universal import balanced_assignment, class_potentials, row_plan


@register
class UniOT(GradientMethod):
    """Unified optimal transport for universal adaptation."""

    paper = Paper(
        title="Unified Optimal Transport Framework for Universal Domain Adaptation",
        authors="Wanxing Chang, Ye Shi, Hoang Duong Tuan, Jingya Wang",
        year=2022, venue="NeurIPS", url="https://arxiv.org/abs/2210.17067",
        deviations="filling by weights instead of random copies; the bank is the target's features from a pass per "
        "epoch (at most ``queue`` rows per step), in the authors' program a queue of 2,000; a step's plan goes on from "
        "the last one's for 20 rounds, in the program from the beginning to 1e-4; clusters are a multiple of the "
        "source's classes, in the paper 50 to 1,000 by data set",
    )  # fmt: skip
    handles = Handles(labels={"closed", "partial", "open", "universal"}, n_sources={"one", "many"})
    stackable = False
    neutral = None

    trade_off: float = hp(0.1, 0.01, 1.0, log=True, help="weight of both target terms")
    gamma: float = hp(0.7, 0.5, 0.9, help="cosine to the nearest class above which a row counts as near")
    momentum: float = hp(0.7, 0.5, 0.95, help="how slowly the classes' shares follow the plans")
    temperature: float = hp(0.1, 0.05, 0.2, log=True, positive=True, help="of cosine similarities")
    mass: float = hp(0.5, 0.1, 10.0, log=True, positive=True, help="price of leaving the marginals")
    clusters_per_class: int = hp(5, 2, 10, help="clusters of the target for every source class")
    queue: int = hp(1000, help="bank samples that a step's plan has beside the batch")

    def build(self, width: int, n_classes: int) -> dict[str, nn.Module]:
        return {
            "clusters": nn.Linear(width, self.clusters_per_class * n_classes, bias=False),
            "shares": Shares(n_classes),
            "potentials": Value(*[0.0] * n_classes),
            "scale": Value(0.0),
        }

    def refresh(self, net: Net, look: Look) -> dict[str, Tensor]:
        return {"bank": look.target[0]}

    def losses(self, net: Net, b: Batch, t: Progress) -> dict[str, Tensor]:
        fs, ft = net.features(b.xs, b.xt)
        zt, bank = normalize(ft, dim=-1), b.memory["bank"]
        w = normalize(net.head.weight, dim=-1)
        scores = linear(zt, w) / self.temperature
        terms = {
            "cls": net.criterion(linear(normalize(fs, dim=-1), w) / self.temperature, b.ys),
            "private": self.trade_off * self._private(net, zt, bank, b.t_rows, t.step),
        }
        if t.fraction < 0.01:
            return terms
        drawn = torch.from_numpy(step_draws(t.step, 17).permutation(len(bank))[: self.queue])
        z = torch.cat([bank[drawn.to(bank.device)], zt.detach()])
        plan, g, new = self._plan(z, w.detach(), net.shares.pi, net.potentials.x, rounds=100)
        net.shares(new, 1.0 - self.momentum)
        net.potentials.set(g[:-1])
        found, labels = plan[-len(zt) :].max(1)
        sure = ((found > 0) & (new[labels] * len(new) >= 1.0)).to(zt.dtype)
        rows = cross_entropy(scores, labels, reduction="none")
        return {**terms, "common": self.trade_off * (sure * rows).sum() / sure.sum().clamp_min(1.0)}

    def _private(self, net: Net, z: Tensor, bank: Tensor, rows: Tensor, step: int) -> Tensor:
        m, n = normalize(net.clusters.weight, dim=-1), len(z)
        own = rows[:, None] == torch.arange(len(bank), device=rows.device)
        near = bank[(z.detach() @ bank.T).masked_fill(own, -torch.inf).argmax(1)]
        more = torch.from_numpy(step_draws(step, 18).integers(len(bank), size=len(m))).to(bank.device)
        s, s_near = linear(z, m), linear(near, m)
        assigned = balanced_assignment(torch.cat([s, s_near, linear(bank[more], m)]))[: 2 * n]
        a, a_near = (assigned * (2 * n + len(m))).split(n)
        whole = cross_entropy(s / self.temperature, a)
        local = cross_entropy(s / self.temperature, a_near) + cross_entropy(s_near / self.temperature, a)
        return (whole + local / 2) / 2

    def _plan(
        self, z: Tensor, w: Tensor, beta: Tensor, start: Tensor | None = None, rounds: int = 1000
    ) -> tuple[Tensor, Tensor, Tensor]:
        """``log(m Q_jc)`` of rows z (m, d) and classes w (K, d) after filling, potentials (K + 1), class shares (K,).

        The last potential is what brings Q to sum 1.
        """
        s, beta = linear(z, w).double(), beta.double()
        a = torch.full_like(s[:, 0], 1.0 / len(s))
        near = s.amax(1) > self.gamma
        gap = int(2 * near.sum()) - len(s)
        extra = s[:0]
        if gap < 0:
            log_q, g, share = self._solved(s, a, beta, start, rounds)
            start = g[:-1]
            found, labels = log_q.max(1)
            sure = (found > 0) & (share[labels] * len(share) >= 1.0)
            a = a + sure * (-gap / len(s)) / sure.sum().clamp_min(1)
        elif gap > 0:
            extra = linear(normalize(z + w[s.argmin(1)], dim=-1), w).double()
            a = torch.cat([a, a * gap / len(s)])
        log_q, g, share = self._solved(torch.cat([s, extra]), a / a.sum(), beta, start, rounds)
        return log_q[: len(s)].to(z.dtype), g, share

    def _solved(
        self, s: Tensor, a: Tensor, beta: Tensor, start: Tensor | None, rounds: int
    ) -> tuple[Tensor, Tensor, Tensor]:
        g = class_potentials(s, beta, a, start, mass=self.mass, rounds=rounds, tolerance=1e-4)
        log_q = row_plan(s, g, beta, mass=self.mass)
        total = (log_q + a.clamp_min(1e-30).log()[:, None]).logsumexp((0, 1))
        share = (log_q - total + a.clamp_min(1e-30).log()[:, None]).exp().sum(0)
        return log_q - total, torch.cat([g, total[None]]), share

    def after_step(self, net: Net, b: Batch, t: Progress) -> None:
        b.memory["bank"][b.t_rows] = normalize(net.body(b.xt), dim=-1)

    def finish(self, net: Net, look: Look) -> None:
        z = look.target[0]
        _, g, _ = self._plan(z, normalize(net.head.weight, dim=-1), net.shares.pi)
        net.potentials.set(g[:-1])
        net.scale.set(g[-1:])

    def predict(self, net: Net, x: Tensor) -> Prediction:
        z = normalize(net.body(x), dim=-1)
        s = linear(z, normalize(net.head.weight, dim=-1)).double()
        log_q = row_plan(s, net.potentials.x.double(), net.shares.pi.double(), mass=self.mass) - net.scale.x
        return Prediction(log_q.to(z.dtype), z, unknown=-log_q.amax(1).to(z.dtype), threshold=0.0)
