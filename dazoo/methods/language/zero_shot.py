"""Zero-shot prediction: the class whose name lies nearest. Radford et al., ICML 2021.

    p(c | x) = softmax_c( scale * cos(f(x), t_c) )

f(x) (d,) are the features of a picture, t_c (d,) those of "a photo of a c" in the same space. Nothing is learned, and
neither domain is looked at: the baseline of all methods that adapt a vision-language model.

Evidence: tests/test_language.py::test_zero_shot_is_the_nearest_name.
"""

from __future__ import annotations

import torch

from dazoo.core.hparam import hp
from dazoo.core.paper import Paper
from dazoo.core.types import Predictor, Seen
from dazoo.methods.base import Context, ShallowMethod, register
from dazoo.methods.language._words import words_of
from dazoo.shallow.steps import LinearScores, Pipeline, UnitNorm


@register
class ZeroShot(ShallowMethod):
    """The nearest class name in the space of a vision-language model."""

    paper = Paper(
        title="Learning Transferable Visual Models From Natural Language Supervision",
        authors="Alec Radford, Jong Wook Kim, Chris Hallacy, Aditya Ramesh, Gabriel Goh, Sandhini Agarwal, Girish "
        "Sastry, Amanda Askell, Pamela Mishkin, Jack Clark, Gretchen Krueger, Ilya Sutskever",
        year=2021, url="https://arxiv.org/abs/2103.00020", venue="ICML",
        deviations="one prompt instead of an ensemble of them; where the task has no features of class names, the "
        "means of the source's classes stand in for them, which is a nearest-mean classifier without adaptation: no "
        "gain at the defaults",
    )  # fmt: skip
    reads_names = True

    scale: float = hp(100.0, 1.0, 100.0, log=True, help="inverse temperature of the cosines", positive=True)

    def fit(self, seen: Seen, ctx: Context) -> Predictor:
        """Class names as a linear classifier of unit-norm samples."""
        words = words_of(seen, ctx, self.name)
        k = seen.n_classes
        head = LinearScores(self.scale * words.T, words.new_zeros(k), torch.arange(k, device=words.device), k, "logits")
        return Pipeline((UnitNorm(),), None, head)
