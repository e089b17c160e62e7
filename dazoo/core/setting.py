"""Settings: which labels a method may see. Declared by methods, enforced by ``Task.seen``."""

from __future__ import annotations

from enum import StrEnum


class Setting(StrEnum):
    """The question a task asks.

    UNSUPERVISED: labelled source, unlabelled target, same classes (closed set, transductive by default).
    MULTI_SOURCE: as UNSUPERVISED, with several labelled sources that the method tells apart.
    FEW_LABELS: also k labelled target samples per class; the rest of the target is the test part (semi-supervised).
    ORACLE: half of the target with its labels; an upper bound, never a competitor.
    """

    UNSUPERVISED = "unsupervised"
    MULTI_SOURCE = "multi_source"
    FEW_LABELS = "few_labels"
    ORACLE = "oracle"


UNSUPERVISED = Setting.UNSUPERVISED
MULTI_SOURCE = Setting.MULTI_SOURCE
FEW_LABELS = Setting.FEW_LABELS
ORACLE = Setting.ORACLE
