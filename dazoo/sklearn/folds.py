"""Folds that hold samples of the source and of the target on both sides, and look at no label of the target."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
from sklearn.model_selection import BaseCrossValidator
from sklearn.utils import check_random_state

from dazoo.sklearn.given import domains, length


class DomainKFold(BaseCrossValidator):  # type: ignore[misc]
    """K folds of every domain by itself: of sources in even shares of their labels, of targets at random.

    Args:
        n_splits: number of folds.
        keep_target: whether all target samples are in the training and the test part of every fold, and the source
            alone is split. Scorers of ``dazoo.sklearn.scorer`` read no label, so that nothing leaks, and small targets
            are seen whole.
        random_state: of the order of rows.
    """

    __metadata_request__split = {"sample_domain": True, "groups": True}

    def __init__(self, n_splits: int = 5, *, keep_target: bool = False, random_state: Any = 0):
        self.n_splits = n_splits
        self.keep_target = keep_target
        self.random_state = random_state

    def get_n_splits(self, X: Any = None, y: Any = None, groups: Any = None, sample_domain: Any = None) -> int:
        """The number of folds."""
        return self.n_splits

    def split(
        self, X: Any, y: Any, groups: Any = None, sample_domain: Any = None
    ) -> Iterator[tuple[np.ndarray, np.ndarray]]:
        """Rows of the training and of the test part of each fold.

        Args:
            X: samples (n, ...). y: labels (n,), looked at where ``sample_domain`` is positive.
            sample_domain: domains (n,) as of ``DAClassifier.fit``; ``groups`` where scikit-learn routes no metadata.

        Raises:
            ValueError: no domains, or one of fewer samples than folds.
        """
        given = groups if sample_domain is None else sample_domain
        if given is None:
            raise ValueError(
                "DomainKFold needs to know the domains: call sklearn.set_config(enable_metadata_routing=True) and give "
                "sample_domain=..., or give them as groups=..."
            )
        domain, labels = domains(given, length(X)), np.asarray(y)
        rng = check_random_state(0 if self.random_state is None else self.random_state)
        fold = np.empty(len(domain), dtype=np.int64)
        for one in np.unique(domain):
            rows = rng.permutation(np.flatnonzero(domain == one))
            if one > 0:
                codes = np.unique(labels[rows], return_inverse=True)[1]
                rows = rows[np.argsort(codes, kind="stable")]
            if len(rows) < self.n_splits and not (one < 0 and self.keep_target):
                raise ValueError(f"{self.n_splits} folds need as many samples of domain {one}, which has {len(rows)}")
            fold[rows] = np.arange(len(rows)) % self.n_splits
        always = (domain < 0) & self.keep_target
        for k in range(self.n_splits):
            yield np.flatnonzero((fold != k) | always), np.flatnonzero((fold == k) | always)
