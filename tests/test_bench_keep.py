"""Kept outputs: what is in them, how exact they are, their budget, and that they change nothing else."""

from __future__ import annotations

import json
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import yaml
from typer.testing import CliRunner

from dazoo.bench.execute import observer
from dazoo.bench.execute import runner as run
from dazoo.bench.execute.executor import execute
from dazoo.bench.execute.tasks import Tasks
from dazoo.bench.records.keep import Keeper, half
from dazoo.bench.records.kept import Kept, KeptEvidence
from dazoo.bench.records.kept_files import kept_keys, used
from dazoo.bench.records.size import size_of
from dazoo.bench.records.store import records
from dazoo.bench.suite_run import prepare
from dazoo.cli.commands import app
from dazoo.core.errors import DazooError
from dazoo.engine.fit import Options
from dazoo.validators.base import VALIDATORS, score_all
from tests.bench_tools import SMALL

# On upright->noisy the ratios of this short DANN reach thousands and DEV is a small difference of large terms, which
# outputs kept in 11 bits cannot give back; with a rotation its weights stay moderate.
TRAINED: dict[str, Any] = {
    **SMALL, "tasks": "upright->rotated", "methods": ["dann", "sa"], "seeds": 1, "backbone": "mlp", "checkpoints": 3,
    "recipe": {"name": "digits", "steps": 12}, "source_holdout": 0.2, "validators": ["*"],
    "classifier": {"name": "logistic"},
}  # fmt: skip


def carry_out(suite: dict[str, Any], out: Path, keep: int) -> dict[str, dict[str, Any]]:
    job = prepare(suite, out=out, device="cpu")
    execute(job.missing, replace(job.place, keep=keep))
    return {r["spec"]["label"]: r for r in records(out)}


def timeless(record: dict[str, Any], *more: str) -> str:
    times = (
        "started",
        "seconds",
        "seconds_evaluation",
        "seconds_keeping",
        "peak_memory_mb",
        "cpu_seconds",
        "load",
        *more,
    )
    info = {k: v for k, v in record["info"].items() if k not in ("fit_seconds", "samples_per_second")}
    return json.dumps({**{k: v for k, v in record.items() if k not in times}, "info": info}, sort_keys=True)


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[str, dict[str, Any]]]:
    folder = tmp_path_factory.mktemp("whole")
    return folder, carry_out(TRAINED, folder, size_of("50MB"))


def test_kept_outputs_give_the_scores_of_the_run(whole: tuple[Path, dict[str, dict[str, Any]]]) -> None:
    """Rounding to 11 bits moves a validator by at most 1 % or 0.005 on these models; most move far less.

    Density ratios are exponentials of large numbers where the domains are far apart: 25 % for what weighs by them.
    """
    folder, found = whole
    assert found["dann"]["kept"]["what"] == "features" and found["sa"]["kept"]["what"] == "model"
    job = prepare(TRAINED, out=folder, device="cpu")
    for label, record in found.items():
        (spec,) = (s for s in job.plan.specs if s.key == record["key"])
        kept = Kept(folder, record["key"])
        assert kept.steps == [p["step"] for p in record["checkpoints"]] and kept.n_classes == 10
        assert kept.path.stat().st_size == record["kept"]["bytes"]
        for i, point in enumerate(record["checkpoints"]):
            evidence = KeptEvidence(kept, i, lambda spec=spec: Tasks()(spec).seen())  # type: ignore[misc]
            again, problems = score_all(point["scores"], evidence)
            assert not problems
            lost = again.pop("mixval")
            assert (lost is None) == (label == "dann"), "mixing samples needs the model"
            for name, value in point["scores"].items():
                if name not in again:
                    continue
                assert (again[name] is None) == (value is None), (label, name)
                allowed = 0.25 if name in ("iwcv", "dev") else 0.01
                assert value is None or again[name] == pytest.approx(value, rel=allowed, abs=0.005), (label, name)


def test_a_kept_model_gives_the_features_of_the_run_exactly(whole: tuple[Path, dict[str, dict[str, Any]]]) -> None:
    folder, found = whole
    job = prepare(TRAINED, out=folder, device="cpu")
    (spec,) = (s for s in job.plan.specs if s.label == "sa")
    task = Tasks()(spec)
    kept = Kept(folder, spec.key)
    model = kept.model(0)
    assert model is not None
    exact = model.predict(task.seen().target.x)
    scores = kept.scores(0)
    assert scores is not None and torch.equal(scores, torch.from_numpy(np.ldexp(*_halves(exact.scores))))
    (seen_scores,) = (p["scores"] for p in found["sa"]["checkpoints"])
    again, _ = score_all(["rank_me"], KeptEvidence(kept, 0, task.seen))
    assert again["rank_me"] == seen_scores["rank_me"], "validators of features alone are the same to the last bit"


def _halves(x: torch.Tensor) -> tuple[np.ndarray, int]:
    values, e = half(x)
    return values.astype(np.float64), e


def test_no_data_is_needed_where_features_are_kept(whole: tuple[Path, dict[str, dict[str, Any]]]) -> None:
    folder, found = whole

    def no_data() -> Any:
        raise AssertionError("data were asked for")

    kept = Kept(folder, found["dann"]["key"])
    scores, problems = score_all(VALIDATORS.names(), KeptEvidence(kept, 2, no_data))
    assert not problems and scores["dev"] is not None and scores["source_validation"] is not None
    cheap, _ = score_all(["entropy", "bnm"], KeptEvidence(Kept(folder, found["sa"]["key"]), 0, no_data))
    assert cheap["entropy"] is not None


def test_half_precision_never_overflows_and_keeps_eleven_bits() -> None:
    g = torch.Generator().manual_seed(0)
    for scale in (1e-12, 1.0, 1e9):
        x = scale * torch.randn(50, 7, generator=g, dtype=torch.float64)
        values, e = half(x)
        back = np.ldexp(values.astype(np.float64), e)
        assert np.isfinite(back).all()
        assert float(np.abs(back / x.numpy() - 1).max()) <= 2**-11
    assert half(torch.zeros(2, 3))[0].tolist() == [[0.0] * 3] * 2


def test_keeping_changes_nothing_else(whole: tuple[Path, dict[str, dict[str, Any]]], tmp_path: Path) -> None:
    none = carry_out(TRAINED, tmp_path, 0)
    assert not (tmp_path / "kept").exists()
    for label, record in whole[1].items():
        assert none[label]["kept"] is None and none[label]["warnings"] == record["warnings"]
        assert timeless(record, "kept") == timeless(none[label], "kept")


def test_equal_runs_leave_equal_files(whole: tuple[Path, dict[str, dict[str, Any]]], tmp_path: Path) -> None:
    carry_out({**TRAINED, "methods": ["sa"]}, tmp_path, size_of("50MB"))
    key = whole[1]["sa"]["key"]
    assert (tmp_path / "kept" / f"{key}.npz").read_bytes() == (whole[0] / "kept" / f"{key}.npz").read_bytes()


def test_a_used_up_budget_is_a_warning_of_the_run(tmp_path: Path) -> None:
    suite = {**SMALL, "methods": ["sa"], "tasks": "upright->noisy", "seeds": 1}
    record = carry_out(suite, tmp_path, 20_000)["sa"]
    assert record["status"] == "ok" and record["kept"] is None
    assert record["warnings"] == ["outputs not kept: the budget of 20 KB of this folder is used up (--keep)"]
    assert kept_keys(tmp_path) == set() and used(tmp_path) == 0


def test_the_budget_holds_for_many_runs(tmp_path: Path) -> None:
    suite = {**SMALL, "methods": ["source_only", "sa", "coral"], "tasks": "upright->noisy", "seeds": 4}
    suite |= {"classifier": {"name": "logistic"}}
    job = prepare({**suite}, out=tmp_path, device="cpu")
    execute(job.missing, replace(job.place, keep=150_000))
    found = list(records(tmp_path))
    kept = [r for r in found if r["kept"]]
    assert 0 < len(kept) < len(found) and {r["key"] for r in kept} == kept_keys(tmp_path)
    assert sum(r["kept"]["bytes"] for r in kept) == used(tmp_path) <= 150_000
    assert all(r["warnings"][-1].startswith("outputs not kept: the budget of 150 KB") for r in found if not r["kept"])


def test_run_says_at_the_end_how_many_are_not_kept(tmp_path: Path) -> None:
    suite = tmp_path / "suite.yaml"
    suite.write_text(yaml.safe_dump({**SMALL, "methods": ["sa"], "tasks": "upright->noisy", "keep": "20KB"}))
    out = CliRunner().invoke(app, ["run", str(suite), "--out", str(tmp_path / "out"), "--device", "cpu"])
    assert "2 of 2 runs have no kept outputs, which dazoo rescore needs (--keep 20KB" in out.output
    none = CliRunner().invoke(
        app, ["run", str(suite), "--out", str(tmp_path / "none"), "--device", "cpu", "--keep", "0"]
    )
    assert none.exit_code == 0 and "kept" not in none.output


def test_the_budget_changes_no_key() -> None:
    plans = [prepare({**SMALL, **more}, device="cpu").plan for more in ({}, {"keep": "1GB"}, {"keep": 0})]
    assert len({tuple(s.key for s in plan.specs) for plan in plans}) == 1
    with pytest.raises(DazooError, match="'lots' is no size"):
        prepare({**SMALL, "keep": "lots"}, device="cpu")


def test_a_resumed_run_keeps_all_of_its_checkpoints(
    whole: tuple[Path, dict[str, dict[str, Any]]], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    looks = []

    def score_and_stop(names: Any, evidence: Any) -> Any:
        looks.append(names)
        if len(looks) == 3:
            raise KeyboardInterrupt
        return score_all(names, evidence)

    suite = {**TRAINED, "methods": ["dann"]}
    with monkeypatch.context() as patch:
        patch.setattr(run, "Options", partial(Options, save_every=0.0))
        patch.setattr(observer, "score_all", score_and_stop)
        with pytest.raises(KeyboardInterrupt):
            carry_out(suite, tmp_path, size_of("50MB"))
    assert [p.suffix for p in (tmp_path / "kept").iterdir()] == [".parts"]
    record = carry_out(suite, tmp_path, size_of("50MB"))["dann"]
    plain = whole[1]["dann"]
    assert timeless(record) == timeless(plain)
    assert Kept(tmp_path, record["key"]).steps == [4, 8, 12]
    assert [p.name for p in (tmp_path / "kept").iterdir()] == [f"{record['key']}.npz"]
    assert Kept(tmp_path, record["key"]).path.read_bytes() == Kept(whole[0], record["key"]).path.read_bytes()


def test_parts_that_went_missing_are_said(whole: tuple[Path, dict[str, dict[str, Any]]], tmp_path: Path) -> None:
    kept = Kept(whole[0], whole[1]["dann"]["key"])
    evidence = KeptEvidence(kept, 1, lambda: pytest.fail("no data"))
    model = torch.nn.Identity()
    keeper = Keeper(tmp_path, "0a", size_of("50MB"), 2)
    keeper.add(1, 2, 1.0, evidence, model)  # type: ignore[arg-type]
    assert keeper.finish(2, evidence) is None
    assert keeper.problem == "outputs not kept: those of earlier checkpoints of this resumed run are missing"
    assert list((tmp_path / "kept").iterdir()) == []


def test_sizes() -> None:
    assert [size_of(t) for t in ("0", 0, "200MB", "1.5 GB", "20k", "7B")] == [0, 0, 2 * 10**8, 15 * 10**8, 20_000, 7]
    for bad in ("", "many", "-1MB", "5 apples"):
        with pytest.raises(DazooError, match="is no size; write it as 200MB"):
            size_of(bad)


def test_damage_and_absence_are_named(tmp_path: Path) -> None:
    with pytest.raises(DazooError, match="the outputs of run 0a were not kept"):
        Kept(tmp_path, "0a")
    (tmp_path / "kept").mkdir()
    (tmp_path / "kept" / "0a.npz").write_bytes(b"PK nonsense")
    with pytest.raises(DazooError, match=r"0a\.npz is damaged"):
        Kept(tmp_path, "0a")
