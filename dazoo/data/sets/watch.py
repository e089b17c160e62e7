"""Shoulder exercises seen by a smart watch: windows of six channels, one domain per subject.

File below the data root: ``watch/windows.npz`` with ``x`` (n, 6, 200) accelerometer and gyroscope at 50 Hz, ``y`` of
seven exercises and ``domain`` (s1 to s10), as the package seglearn brings them, cut every 100 samples.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch

from dazoo.core.archive import Archive
from dazoo.core.errors import DazooError
from dazoo.core.paper import Paper
from dazoo.data.domain import Domain
from dazoo.data.registry import Dataset, register_dataset

DOMAINS = tuple(f"s{i}" for i in range(1, 11))
CLASSES = tuple(f"exercise {i}" for i in range(1, 8))


def load(domain: str, root: Path | None) -> Domain:
    """The windows of one subject (n, 6, 200) float32, in the order of the file.

    Raises:
        DazooError: the file is missing or damaged.
    """
    place = (root or Path()) / "watch" / "windows.npz"
    if not place.is_file():
        raise DazooError(f"the dataset watch needs {place} (x, y, domain); put the file there")
    with Archive(place) as file:
        rows = np.flatnonzero(file["domain"] == domain)
        x, y = file["x"][rows].astype(np.float32), file["y"][rows].astype(np.int64)
    return Domain(domain, torch.from_numpy(x), torch.from_numpy(y), CLASSES, "series")


register_dataset(
    Dataset(
        name="watch",
        domains=DOMAINS,
        load=load,
        description="seven shoulder exercises on a smart watch, windows of 6 channels, 10 subjects",
        options={},
        needs_root=True,
        license="BSD (package seglearn)",
        papers=(
            Paper(
                title="Shoulder Physiotherapy Exercise Recognition: Machine Learning the Inertial Signals from a "
                "Smartwatch",
                authors="David M. Burns, Nathan Leung, Michael Hardisty, Cari M. Whyne, Patrick Henry, "
                "Stewart McLachlin",
                year=2018,
                url="https://arxiv.org/abs/1802.01489",
                venue="Physiological Measurement (Journal)",
            ),
        ),
    )
)
