"""CoWA-JMDS: labels and weights from Gaussians around the classes, learned on mixtures. Lee et al., ICML 2022.

    min_{F,C}  trade_off * 1/b sum_i w~_i CE(C(F(x~_i)), y~_i)      from the source model
    (x~_i, y~_i, w~_i) = l_i (x_i, onehot(y_i), w_i) + (1 - l_i) (x_j, onehot(y_j), w_j),  l_i ~ Beta(a, a), j random
    y_i = argmax_c q_ic,   w_i = LPG_i p_i,y_i,   LPG_i = (largest - second largest log q_i) / max of the same
    q_ic: posterior of one Gaussian per class on all unit features F(x_t) (n_t, width), from means weighted by the
    predictions p and one shared covariance, then once more with responsibilities; covariances + eps I

with a the ``concentration``; labels and weights are renewed per epoch.

Evidence: tests/test_source_free.py (the loss equals a transcription; weights lie in [0, 1]), the parity fixtures.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn.functional import log_softmax

from dazoo.core.hparam import hp
from dazoo.core.paper import Paper
from dazoo.methods.base import Batch, Look, Progress, register
from dazoo.methods.source_free._source_free import SourceFree
from dazoo.nets.net import Net
from dazoo.ops.classwise import one_hot
from dazoo.ops.perturb import mixup
from dazoo.ops.selftraining import step_draws
from dazoo.ops.source_free import jmds


@register
class CoWAJMDS(SourceFree):
    """Confidence-score weighting adaptation by the joint model-data structure."""

    paper = Paper(
        title="Confidence Score for Source-Free Unsupervised Domain Adaptation",
        authors="Jonghyun Lee, Dahuin Jung, Junho Yim, Sungroh Yoon", year=2022,
        url="https://proceedings.mlr.press/v162/lee22c.html", venue="ICML",
        deviations="shares of mixtures belong to the step, the same for every seed; Gaussians are fitted in double "
        "precision; the recipe's learning rate falls, the paper's for Office-Home stays",
    )  # fmt: skip

    trade_off: float = hp(1.0, 0.1, 10.0, log=True, help="weight of the weighted mixtures")
    concentration: float = hp(
        0.2, 0.1, 2.0, log=True, structural=True, help="a, of the Beta distribution of shares", positive=True
    )
    eps: float = hp(1e-5, 1e-6, 1e-3, log=True, help="added to variances of unit features", positive=True)

    def refresh(self, net: Net, look: Look) -> dict[str, Tensor]:
        features, scores = look.target
        q, w = jmds(features.double(), scores.double().softmax(-1), self.eps)
        return {"labels": q.argmax(1), "weights": w.to(features.dtype)}

    def losses(self, net: Net, b: Batch, t: Progress) -> dict[str, Tensor]:
        n = b.xt.shape[0]
        draws = step_draws(t.step, 2022)
        share = torch.as_tensor(draws.beta(self.concentration, self.concentration, n), dtype=b.xt.dtype)
        share, order = share.to(b.xt.device), torch.as_tensor(draws.permutation(n), device=b.xt.device)
        log_p = log_softmax(net.head(net.body(mixup(b.xt, share, order))), -1)
        y = mixup(one_hot(b.memory["labels"][b.t_rows], log_p.shape[-1], log_p.dtype), share, order)
        w = mixup(b.memory["weights"][b.t_rows], share, order)
        return {"cls": -self.trade_off * (w * (y * log_p).sum(-1)).mean()}
