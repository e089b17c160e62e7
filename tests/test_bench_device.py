"""The measurements of throughput and of a GPU: their code runs, at tiny sizes, on a CPU."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
import torch

from benchmarks import gpu, gpu_loops, throughput
from benchmarks.peers.measure import Machine


def test_the_gpu_page_says_what_was_not_measured(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    gpu.main(["--out", str(tmp_path)])
    assert gpu.NOTHING in (tmp_path / "gpu.md").read_text()


def test_everything_that_a_gpu_is_measured_on_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys) -> None:
    monkeypatch.chdir(tmp_path)
    gpu.main(["--dry"])
    text = capsys.readouterr().out
    assert "Device: CPU" in text and "| 3 |" in text and not list(tmp_path.iterdir())
    ways = [line for line in text.splitlines() if line.startswith(("| plain", "| TLLib", "| dazoo"))]
    assert len(ways) == 6 and all(float(way.split("|")[2]) > 0 for way in ways), ways
    assert all(value == 0.0 for *_, value in gpu.differences("cpu", 30))


def test_a_way_that_fails_is_named_and_costs_no_other(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*args: object) -> None:
        raise RuntimeError("no such kernel")

    monkeypatch.setattr(gpu, "tllib_loop", broken)
    sizes = replace(gpu.DRY, compiler="none")
    rows = gpu.end_to_end("cpu", sizes, tmp_path)
    assert [bool(wrong) for *_, wrong in rows] == [False, True, False, False, False, False]
    assert rows[1][3] == "RuntimeError: no such kernel"


def test_the_rewritten_loop_trains_on_files(tmp_path: Path) -> None:
    """Two steps move the network, both domains in one pass."""
    gpu_loops.make_photographs(tmp_path, 8, side=24)
    net, made = gpu_loops.Network, []
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(gpu_loops, "Network", lambda *a: made.append(net(*a)) or made[-1])
        run = gpu_loops.tllib_loop("cnn", 16, 4, "cpu", tmp_path, workers=0)
    before = {k: v.clone() for k, v in made[0].state_dict().items()}
    run(2)
    moved = {k for k, v in made[0].state_dict().items() if not torch.equal(v, before[k])}
    assert {"head.weight", "disc.0.weight"} <= moved and any(k.startswith("backbone.") for k in moved)
    assert made[0].bottleneck[1].num_batches_tracked == 2


def test_throughput_page_computes_the_ratio_from_the_rounds() -> None:
    speeds = {"dazoo": [30.0, 20.0, 40.0], "plain loop": [10.0, 12.0, 15.0]}
    text = throughput.page(speeds, [("digits", 3, 0.05, 0.04)], Machine.here(["numpy"]), "what")
    assert "2.50 times" in text and "| digits | 3 | 5.0 % | 4.0 % |" in text
