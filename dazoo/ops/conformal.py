"""Sets of classes that hold the right one as often as asked, under a shift, and probabilities worth an answer.

Split conformal prediction with weights: of calibration samples with scores s_i (here 1 - p_{y_i}) and weights w_i, and
a new sample of weight w, the set is

    { y : 1 - p_y(x) <= Quantile(1 - alpha; (sum_i w_i delta_{s_i} + w delta_inf) / (sum_i w_i + w)) }

Under covariate shift the weights are density ratios p_t(x) / p_s(x) (Tibshirani et al.: Conformal Prediction Under
Covariate Shift. NeurIPS 2019. https://arxiv.org/abs/1904.06060), under label shift ratios of class shares, that of the
new sample by the class that is tried (Podkopaev, Ramdas: Distribution-Free Uncertainty Quantification for
Classification Under Label Shift. UAI 2021. https://arxiv.org/abs/2103.03323).
Weights of one are the method without a shift.
"""

from __future__ import annotations

import torch
from torch import Tensor

SMALL = 1e-12


def weighted_quantile(scores: Tensor, w: Tensor, new: Tensor, level: float) -> Tensor:
    """Quantiles at ``level`` of scores (m,) with weights w (m,) and infinity with weight new (...), of the form of new.

    Infinity where no score is large enough.
    """
    scores, order = scores.double().sort()
    mass = w.double()[order].cumsum(0)
    asked = level * (mass[-1] + new.double()) * (1 - SMALL)
    place = torch.searchsorted(mass, asked.reshape(-1))
    return torch.cat([scores, scores.new_full((1,), torch.inf)])[place].reshape(new.shape)


def prediction_sets(probs: Tensor, held: Tensor, y: Tensor, w: Tensor, new: Tensor, alpha: float) -> Tensor:
    """Which classes (n, C) bool belong to the sets of samples with probabilities probs (n, C).

    Args:
        held, y, w: probabilities (m, C), classes (m,) and weights (m,) of the calibration samples; class -1 is none of
            the C, which no set holds. new: weights (n, C) of the samples, by the class that is tried. alpha: share of
            sets that may miss the right class.

    The most probable class always belongs: the sets are never empty.
    """
    right = held.double().gather(1, y.clamp(min=0)[:, None]).squeeze(1)
    scores = torch.where(y < 0, torch.inf, 1 - right)
    inside = 1 - probs.double() <= weighted_quantile(scores, w, new, 1 - alpha)
    inside[torch.arange(len(probs)), probs.argmax(1)] = True
    return inside


def answer_from(top: Tensor, right: Tensor, w: Tensor, accuracy: float) -> float:
    """The least probability from which answers are right as often as ``accuracy`` asks; infinity where none is, and 0
    where all samples together are right that often.

    With top probabilities (m,), whether they were right (m,) and weights w (m,): the least t of them with

        sum_{i: top_i >= t} w_i right_i >= accuracy (1 + 1 / m) sum_{i: top_i >= t} w_i,    m = (sum w_i)^2 / sum w_i^2

    which counts one more of the m samples that the weights leave in effect, with a wrong answer, as conformal risk
    control does (Angelopoulos et al., ICLR 2024, https://arxiv.org/abs/2208.02814); a few lucky ones are no evidence.
    """
    top, order = top.double().sort(descending=True)
    w, right = w.double()[order], right.double()[order]
    kept = w.cumsum(0)
    one = w.square().cumsum(0) / kept
    able = (w * right).cumsum(0) >= accuracy * (kept + one) - SMALL
    last = torch.ones_like(able)
    last[:-1] = top[:-1] > top[1:]  # samples of one probability are kept together
    if able[-1]:
        return 0.0
    found = top[able & last]
    return float(found.min()) if len(found) else float("inf")
