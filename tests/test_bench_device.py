"""The measurements of throughput and of a GPU: their code runs, at tiny sizes, on a CPU."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from benchmarks import gpu, throughput
from benchmarks.peers.measure import Machine


def test_the_gpu_page_says_what_was_not_measured(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    gpu.main(["--out", str(tmp_path)])
    assert gpu.NOTHING in (tmp_path / "gpu.md").read_text()


def test_everything_that_a_gpu_is_measured_on_runs() -> None:
    text = gpu.page("cpu", 3, 2, "cnn", 16, 4, 40)
    assert "Device: CPU" in text and "| 3 |" in text and "bf16" in text
    assert all(value == 0.0 for _, value in gpu.differences("cpu", 30))


def test_throughput_page_computes_the_ratio_from_the_rounds() -> None:
    speeds = {"dazoo": [30.0, 20.0, 40.0], "plain loop": [10.0, 12.0, 15.0]}
    text = throughput.page(speeds, [("digits", 3, 0.05, 0.04)], Machine.here(["numpy"]), "what")
    assert "2.50 times" in text and "| digits | 3 | 5.0 % | 4.0 % |" in text
