"""SHOT++: SHOT with turned pictures, then MixMatch from easy samples to hard ones. Liang, Hu, Wang, He, Feng, 2021.

    first ``first`` of training, as SHOT, with the head at rest:
      min_F  trade_off * [1/b sum_i H(p_i) - H(1/b sum_i p_i)] + pseudo_weight * 1/b sum_i CE(l_i, y_i)
             + turn_weight * 1/b sum_i CE(R([stop(F(x_i)), F(turned x_i)]), k_i)     (pictures, by k_i quarter turns)
    then   min_{F,C}  easy_weight * mean_{i easy} H(q~_i, p~_i) + r guess_weight * mean_{i hard} 1/C |p~_i - q~_i|^2
    from the source model;   p_i = softmax(l_i), l_i = C(F(x_i)) (C,);   y_i: labels of SHOT's centroids
    easy: of each predicted class the samples of lowest entropy, as many as of all have less than the mean entropy
    q_i: predicted class where easy, else p_i sharpened by ``temperature``;   r from 0 to 1 over the second part
    p~_i: of l x_i + (1 - l) x_j,  q~_i = l q_i + (1 - l) q_j,  j random,  l = max(u, 1 - u),  u ~ Beta(a, a) per step,
    over two views of each sample; a the ``concentration``

Labels, and which samples are easy, are renewed per epoch.

Evidence: tests/test_shot_pp.py (terms equal transcriptions; the head rests at first; the split into easy and hard).
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from dazoo.core.hparam import hp
from dazoo.core.paper import Paper
from dazoo.methods.base import Batch, Look, Progress, register
from dazoo.methods.source_free._source_free import SourceFree
from dazoo.nets.net import Net
from dazoo.ops.classwise import one_hot
from dazoo.ops.entropy import diversity, entropy_of_logits
from dazoo.ops.perturb import mixup
from dazoo.ops.selftraining import centroid_labels, sharpen, step_draws
from dazoo.ops.source_free import easy_rows


@register
class SHOTPP(SourceFree):
    """Source hypothesis and labelling transfer."""

    paper = Paper(
        title="Source Data-absent Unsupervised Domain Adaptation through Hypothesis Transfer and Labeling Transfer",
        authors="Jian Liang, Dapeng Hu, Yunbo Wang, Ran He, Jiashi Feng", year=2021,
        url="https://arxiv.org/abs/2012.07297", venue="IEEE Transactions on Pattern Analysis and Machine Intelligence",
        deviations="both parts share one training, where the program trains anew for as long or longer; the head goes "
        "on from the source model's, where the program starts a new one; what is easy is renewed per epoch; hard "
        "samples' labels are guessed from the weak view, and the second view is strong; the head for turns is trained "
        "with the rest, not before it; shares of mixtures belong to the step, the same for every seed",
    )  # fmt: skip
    strong_views = True
    stackable = False

    trade_off: float = hp(1.0, 0.1, 10.0, log=True, help="weight of information maximisation")
    pseudo_weight: float = hp(0.3, 0.03, 3.0, log=True, help="weight of the centroids' labels")
    turn_weight: float = hp(0.6, help="weight of the turns of pictures")
    easy_weight: float = hp(1.0, 0.1, 10.0, log=True, help="weight of easy samples' labels")
    guess_weight: float = hp(100.0, 10.0, 300.0, log=True, help="final weight of hard samples' guessed labels")
    first: float = hp(0.5, 0.3, 0.7, help="share of training before samples are easy or hard")
    concentration: float = hp(0.75, 0.1, 2.0, log=True, help="a, of the Beta distribution of the shares", positive=True)
    temperature: float = hp(0.5, 0.2, 1.0, help="below 1 sharpens guessed labels", positive=True, most=float("inf"))

    def build(self, width: int, n_classes: int) -> dict[str, nn.Module]:
        return {"turns": nn.Linear(2 * width, 4)}

    def resting(self, net: Net, t: Progress) -> frozenset[str]:
        heads = {n for n, _ in net.named_parameters() if n.startswith("head.")}
        return frozenset(heads if t.fraction < self.first else ())

    def refresh(self, net: Net, look: Look) -> dict[str, Tensor]:
        features, scores = look.target
        p = scores.softmax(-1)
        return {"labels": centroid_labels(features, p), "predicted": p.argmax(-1), "easy": easy_rows(p)}

    def losses(self, net: Net, b: Batch, t: Progress) -> dict[str, Tensor]:
        return self._first(net, b, t) if t.fraction < self.first else self._second(net, b, t)

    def _first(self, net: Net, b: Batch, t: Progress) -> dict[str, Tensor]:
        f = net.body(b.xt)
        scores = net.head(f)
        found = {
            "ent": self.trade_off * entropy_of_logits(scores).mean(),
            "div": -self.trade_off * diversity(scores.softmax(-1)),
            "pseudo": self.pseudo_weight * cross_entropy(scores, b.memory["labels"][b.t_rows]),
        }
        if b.xt.ndim == 4:
            k = torch.as_tensor(step_draws(t.step, 2012).integers(0, 4, len(f)), device=f.device)
            turned = torch.stack([torch.rot90(b.xt, i, (2, 3)) for i in range(4)])[k, torch.arange(len(f))]
            guessed = net.turns(torch.cat([f.detach(), net.body(turned)], 1))
            found["turn"] = self.turn_weight * cross_entropy(guessed, k)
        return found

    def _second(self, net: Net, b: Batch, t: Progress) -> dict[str, Tensor]:
        assert b.xt_strong is not None
        with torch.no_grad():
            guess = sharpen(net.head(net.body(b.xt)).softmax(-1), self.temperature)
        easy = b.memory["easy"][b.t_rows]
        q = torch.where(easy[:, None], one_hot(b.memory["predicted"][b.t_rows], guess.shape[-1], guess.dtype), guess)
        draws = step_draws(t.step, 2013)
        u = float(draws.beta(self.concentration, self.concentration))
        order = torch.as_tensor(draws.permutation(2 * len(q)), device=q.device)
        wanted = mixup(torch.cat([q, q]), max(u, 1.0 - u), order)
        log_p = net.head(net.body(mixup(torch.cat([b.xt, b.xt_strong]), max(u, 1.0 - u), order))).log_softmax(-1)
        is_easy = torch.cat([easy, easy]).to(q.dtype)
        is_hard = 1.0 - is_easy
        cross, square = -(wanted * log_p).sum(-1), (log_p.exp() - wanted).square().mean(-1)
        rising = (t.fraction - self.first) / (1.0 - self.first)
        return {
            "easy": self.easy_weight * (is_easy * cross).sum() / is_easy.sum().clamp_min(1.0),
            "hard": self.guess_weight * rising * (is_hard * square).sum() / is_hard.sum().clamp_min(1.0),
        }
