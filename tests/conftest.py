"""Shared by all tests: one thread per process, no network, real data where it is there."""

from __future__ import annotations

import os

for _name in ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS"):
    os.environ.setdefault(_name, "1")
os.environ.setdefault("HF_HUB_OFFLINE", "1")

import pathlib  # noqa: E402

import pytest  # noqa: E402
import torch  # noqa: E402

torch.set_num_threads(1)


@pytest.fixture(scope="session")
def data_root() -> pathlib.Path:
    """The folder with the real data sets; tests that need it skip where it is absent."""
    root = os.environ.get("DAZOO_DATA")
    if not root or not pathlib.Path(root).is_dir():
        pytest.skip(
            "real data is absent: set DAZOO_DATA to the folder that holds office_caltech10, amazon_reviews, fsdd"
        )
    return pathlib.Path(root)
