"""HAR: six activities of thirty people, seen by a smartphone at the waist; nine channels at 50 Hz, as AdaTime cuts it.

Files below the data root: ``adatime/HAR/train_<subject>.pt`` and ``test_<subject>.pt`` (or in ``HAR``).
"""

from __future__ import annotations

from dazoo.core.paper import Paper
from dazoo.data.adatime import WindowSet

WindowSet(
    name="har",
    folders=("adatime/HAR", "HAR"),
    subjects=tuple(str(i) for i in range(1, 31)),
    pairs=(
        ("2", "11"), ("6", "23"), ("7", "13"), ("9", "18"), ("12", "16"),
        ("18", "27"), ("20", "5"), ("24", "8"), ("28", "27"), ("30", "20"),
    ),
    classes=("walk", "upstairs", "downstairs", "sit", "stand", "lie"),
    channels=9,
    length=128,
    description="UCI HAR: six activities by smartphone, 9 channels, 30 subjects, as in AdaTime",
    license="CC BY 4.0 (UCI); AdaTime's files for research only",
    papers=(
        Paper(
            title="A Public Domain Dataset for Human Activity Recognition Using Smartphones",
            authors="Davide Anguita, Alessandro Ghio, Luca Oneto, Xavier Parra, Jorge L. Reyes-Ortiz",
            year=2013,
            url="https://archive.ics.uci.edu/dataset/240/human+activity+recognition+using+smartphones",
            venue="European Symposium on Artificial Neural Networks",
        ),
    ),
).register()  # fmt: skip
