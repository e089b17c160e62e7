"""ROID: sure and seldom samples by a loss that does not fade, held near the source. Marsden et al., WACV 2024.

    min_theta  1/b sum_i w_i [ SLR(x_i) + consistency SCE(view(x_i), x_i) ];   then theta <- a theta + (1 - a) theta0

SLR = -sum_c p_c log(p_c / (1 - p_c) + 1e-5) with p = min(softmax(C(F(x))), 0.99); SCE the symmetric cross-entropy of
scores; w_i = exp(d_i c_i / temperature) with d_i the distance 1 - cos(p_i, m) and c_i the certainty -H_i, both scaled
to [0, 1] in the batch, and 0 where d_i is below its mean; m <- 0.9 m + 0.1 (mean of p_i), from even shares. theta are
gamma and beta, theta0 the source's. Answers are from before the step, with corrected shares:

    log p_i + log((pbar + s) / (1 + s K)),   pbar = mean of p_i over the batch,   s = max(1/b, 1/K) / max_c pbar_c

Evidence: tests/test_parity.py (tta_roid_slr, tta_sce); tests/test_stream_losses.py (source share 1 - a = 1 is the
source; one step equals a transcription).
"""

from __future__ import annotations

from torch import Tensor

from dazoo.core.hparam import hp
from dazoo.core.paper import Paper
from dazoo.methods.base import StreamState, register
from dazoo.methods.test_time._certain import SureAndSeldom


@register
class ROID(SureAndSeldom):
    """Universal test-time adaptation through weight ensembling, diversity weighting and prior correction."""

    paper = Paper(
        title=(
            "Universal Test-time Adaptation through Weight Ensembling, Diversity Weighting, and Prior Correction"
        ),
        authors="Robert A. Marsden, Mario Döbler, Bin Yang",
        year=2024, url="https://arxiv.org/abs/2306.00650",
        venue="IEEE/CVF Winter Conference on Applications of Computer Vision",
        deviations="shares correct probabilities, as in the paper, where the authors' program multiplies scores, which "
        "turns the sign of negative ones; the moving average follows every sample, as there; views are the strong ones "
        "of this library",
    )  # fmt: skip

    source_share: float = hp(0.01, 0.001, 0.1, log=True, most=1.0, help="1 - a, share of the source's weights per step")

    def settle(self, theta: list[Tensor], source: list[Tensor], state: StreamState) -> None:
        for p, p0 in zip(theta, source):
            p.lerp_(p0, self.source_share)
