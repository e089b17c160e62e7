"""Settings: which labels a method may see. Declared by methods, enforced by ``Task.seen``."""

from __future__ import annotations

from enum import StrEnum

from dazoo.core.errors import UnknownName, nearest


class Setting(StrEnum):
    """The question a task asks.

    UNSUPERVISED: labelled source, unlabelled target, same classes (closed set, transductive by default).
    MULTI_SOURCE: as UNSUPERVISED, with several labelled sources that the method tells apart.
    FEW_LABELS: also some labelled target samples, those that the target's owner labelled or k drawn per class; the rest
        of the target is the test part (semi-supervised).
    ORACLE: half of the target with its labels; an upper bound, never a competitor.
    """

    UNSUPERVISED = "unsupervised"
    MULTI_SOURCE = "multi_source"
    FEW_LABELS = "few_labels"
    ORACLE = "oracle"

    @classmethod
    def of(cls, value: object) -> Setting:
        """The setting that ``value`` means: one of them, or its name as text.

        Raises:
            UnknownName: there is no such setting.
        """
        try:
            return cls(str(value))
        except ValueError:
            raise UnknownName(f"unknown setting {value!r}: {nearest(str(value), [s.value for s in cls])}") from None


UNSUPERVISED = Setting.UNSUPERVISED
MULTI_SOURCE = Setting.MULTI_SOURCE
FEW_LABELS = Setting.FEW_LABELS
ORACLE = Setting.ORACLE
