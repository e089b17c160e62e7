"""Shared by all tests: one thread per process, no network, real data where it is there."""

from __future__ import annotations

import os

for _name in ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS"):
    os.environ.setdefault(_name, "1")
os.environ.setdefault("HF_HUB_OFFLINE", "1")

import pathlib  # noqa: E402
import re  # noqa: E402

import pytest  # noqa: E402
import torch  # noqa: E402

torch.set_num_threads(1)


def pytest_runtest_logreport(report: pytest.TestReport) -> None:
    """Lists the tests that skip because something is not on this machine in the file that DAZOO_LIST_SKIPPED names,
    one per line: ``.ci/run`` runs them, and no others, a second time where the data is."""
    target = os.environ.get("DAZOO_LIST_SKIPPED")
    why = report.longrepr[2] if report.skipped and isinstance(report.longrepr, tuple) else ""
    if target and ABSENT.search(why) and "PYTEST_XDIST_WORKER" not in os.environ:
        with open(target, "a", encoding="utf-8") as file:
            file.write(report.nodeid + "\n")


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Tests that start a cluster run where they are asked for."""
    if "cluster" not in (config.option.markexpr or ""):
        for item in items:
            if item.get_closest_marker("cluster"):
                item.add_marker(pytest.mark.skip(reason="starts a cluster: python -m pytest -m cluster"))


ABSENT = re.compile(r"real data|published numbers|is not on this machine")


@pytest.fixture(scope="session")
def data_root() -> pathlib.Path:
    """The folder with the real data sets; tests that need it skip where it is absent."""
    root = os.environ.get("DAZOO_DATA")
    if not root or not pathlib.Path(root).is_dir():
        pytest.skip(
            "real data is absent: set DAZOO_DATA to the folder that holds office_caltech10, amazon_reviews, fsdd"
        )
    return pathlib.Path(root)
