"""HHAR: six activities of nine people, acceleration by Samsung phones, as AdaTime cuts it.

Files below the data root: ``adatime/HHAR/train_<subject>.pt`` and ``test_<subject>.pt`` (or in ``HHAR``, ``HHAR_SA``).
"""

from __future__ import annotations

from dazoo.core.paper import Paper
from dazoo.data.adatime import WindowSet

WindowSet(
    name="hhar",
    folders=("adatime/HHAR", "adatime/HHAR_SA", "HHAR", "HHAR_SA"),
    subjects=tuple(str(i) for i in range(9)),
    pairs=(
        ("0", "6"), ("1", "6"), ("2", "7"), ("3", "8"), ("4", "5"),
        ("5", "0"), ("6", "1"), ("7", "4"), ("8", "3"), ("0", "2"),
    ),
    classes=("bike", "sit", "stand", "walk", "stairs_up", "stairs_down"),
    channels=3,
    length=128,
    description="HHAR: six activities by phones, 3 channels, 9 subjects, as in AdaTime",
    license="CC BY 4.0 (UCI); AdaTime's files for research only",
    papers=(
        Paper(
            title="Smart Devices are Different: Assessing and Mitigating Mobile Sensing Heterogeneities for Activity "
            "Recognition",
            authors="Allan Stisen, Henrik Blunck, Sourav Bhattacharya, Thor Siiger Prentow, Mikkel Baun Kjaergaard, "
            "Anind Dey, Tobias Sonne, Mads Moller Jensen",
            year=2015,
            url="https://doi.org/10.1145/2809695.2809718",
            venue="ACM Conference on Embedded Networked Sensor Systems",
        ),
    ),
).register()  # fmt: skip
