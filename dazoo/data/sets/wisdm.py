"""WISDM: six activities of thirty-six people, acceleration by a phone in the pocket, as AdaTime cuts it.

Files below the data root: ``adatime/WISDM/train_<subject>.pt`` and ``test_<subject>.pt`` (or in ``WISDM``).
"""

from __future__ import annotations

from dazoo.core.paper import Paper
from dazoo.data.adatime import WindowSet

WindowSet(
    name="wisdm",
    folders=("adatime/WISDM", "WISDM"),
    subjects=tuple(str(i) for i in range(37)),  # numbered from 0 or from 1, by the version of the files
    pairs=(
        ("7", "18"), ("20", "30"), ("35", "31"), ("17", "23"), ("6", "19"),
        ("2", "11"), ("33", "12"), ("5", "26"), ("28", "4"), ("23", "32"),
    ),
    classes=("walk", "jog", "sit", "stand", "upstairs", "downstairs"),
    channels=3,
    length=128,
    description="WISDM: six activities by phone, 3 channels, 36 subjects, as in AdaTime",
    license="research; WISDM Lab, Fordham University",
    papers=(
        Paper(
            title="Activity Recognition using Cell Phone Accelerometers",
            authors="Jennifer R. Kwapisz, Gary M. Weiss, Samuel A. Moore",
            year=2011,
            url="https://doi.org/10.1145/1964897.1964918",
            venue="SIGKDD Explorations (Journal)",
        ),
    ),
).register()  # fmt: skip
