"""Texts as weighted counts of words, TF-IDF, and their leading directions.

Of a text with counts n_w of the words w (and pairs of them): t_w = (1 + log n_w) (1 + log((1 + N) / (1 + d_w))), scaled
to length 1, where N texts were fitted to and d_w of them hold w. The ``dims`` leading right singular vectors of
the matrix of these rows (latent semantic analysis) make dense vectors of them, again of length 1.

Vocabulary, document counts and directions come from the texts of the source and of the target, without labels.

Source: Salton & Buckley, "Term-weighting approaches in automatic text retrieval", 1988; Deerwester et al., "Indexing by
latent semantic analysis", 1990; computed by scikit-learn.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from dazoo.core.errors import DazooError
from dazoo.core.hparam import hp
from dazoo.encoders.base import Encoder, Fitted, register


@dataclass(frozen=True)
class FittedTfidf(Fitted):
    """``idf`` (v,) of the ``words``, ``directions`` (v, dims); no directions keep the words themselves."""

    words: list[str]
    idf: Tensor
    directions: Tensor | None
    pairs: bool = True

    def __call__(self, x: Any) -> Tensor:
        from sklearn.preprocessing import normalize

        made = _vectorizer(self.pairs, vocabulary={w: i for i, w in enumerate(self.words)})
        made.idf_ = self.idf.double().numpy()
        rows = made.transform(list(x))
        if self.directions is None:
            return torch.from_numpy(rows.toarray()).float()
        return torch.from_numpy(normalize(rows @ self.directions.double().numpy())).float()


@register
class Tfidf(Encoder):
    """TF-IDF of words and pairs of words, reduced by a singular value decomposition."""

    takes = ("text",)
    default_for = ("text",)

    dims: int = hp(100, 20, 400, least=0, most=4096, help="leading directions kept; 0 keeps the words themselves")
    words: int = hp(20000, least=10, most=1_000_000, help="most frequent words and pairs of words that are counted")
    least: int = hp(2, least=1, help="texts that a word must occur in to be counted")
    pairs: bool = hp(True, help="count pairs of neighbouring words too")

    def fit(self, source: Any, target: Any) -> FittedTfidf:
        from sklearn.decomposition import TruncatedSVD
        from sklearn.preprocessing import normalize

        texts = [*source, *target]
        made = _vectorizer(self.pairs, min_df=min(self.least, max(1, len(texts) // 2)), max_features=self.words)
        try:
            rows = made.fit_transform(texts)
        except ValueError as error:
            raise DazooError(
                f"no word occurs in {self.least} of the {len(texts)} texts ({error}); give longer or more texts, or "
                "another encoder"
            ) from None
        words = [str(w) for w in made.get_feature_names_out()]
        if not self.dims or min(rows.shape) <= self.dims + 1:
            return FittedTfidf(words, torch.from_numpy(made.idf_), None, self.pairs)
        svd = TruncatedSVD(self.dims, random_state=0).fit(normalize(rows))
        directions = np.ascontiguousarray(svd.components_.T)
        return FittedTfidf(words, torch.from_numpy(made.idf_), torch.from_numpy(directions).float(), self.pairs)


def _vectorizer(pairs: bool, **options: Any) -> Any:
    from sklearn.feature_extraction.text import TfidfVectorizer

    return TfidfVectorizer(
        ngram_range=(1, 2 if pairs else 1), sublinear_tf=True, token_pattern=r"(?u)\b\w+\b", dtype=np.float64, **options
    )
