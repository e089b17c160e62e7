"""Sleep-EDF: five stages of sleep of twenty people, one channel of EEG at 100 Hz in windows of 30 s, as in AdaTime.

Files below the data root: ``adatime/EEG/train_<subject>.pt`` and ``test_<subject>.pt`` (or in ``EEG``).
"""

from __future__ import annotations

from dazoo.core.paper import Paper
from dazoo.data.adatime import WindowSet

WindowSet(
    name="sleep",
    folders=("adatime/EEG", "EEG"),
    subjects=tuple(str(i) for i in range(20)),
    pairs=(
        ("0", "11"), ("7", "18"), ("9", "14"), ("12", "5"), ("16", "1"),
        ("3", "19"), ("18", "12"), ("13", "17"), ("5", "15"), ("6", "2"),
    ),
    classes=("W", "N1", "N2", "N3", "REM"),
    channels=1,
    length=3000,
    description="Sleep-EDF: five stages of sleep, 1 channel of EEG, 20 subjects, as in AdaTime",
    license="Open Data Commons Attribution (PhysioNet); AdaTime's files for research only",
    papers=(
        Paper(
            title="PhysioBank, PhysioToolkit, and PhysioNet: Components of a New Research Resource for Complex "
            "Physiologic Signals",
            authors="Ary L. Goldberger, Luis A. N. Amaral, Leon Glass, Jeffrey M. Hausdorff, Plamen Ch. Ivanov, "
            "Roger G. Mark, Joseph E. Mietus, George B. Moody, Chung-Kang Peng, H. Eugene Stanley",
            year=2000,
            url="https://doi.org/10.1161/01.CIR.101.23.e215",
            venue="Circulation (Journal)",
        ),
    ),
).register()  # fmt: skip
