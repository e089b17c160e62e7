"""What the page embeds: the runs behind numbers, learning curves, the scatter of features; and that it stays small."""

from __future__ import annotations

import json
import re
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from dazoo.bench.records.store import Writer
from dazoo.bench.report import curves, provenance
from dazoo.bench.report import embedded as embedded_data
from dazoo.bench.report import scatter as features
from dazoo.bench.report.build import report
from dazoo.bench.report.canvas import Mark
from dazoo.bench.report.model import Report, load_report
from dazoo.bench.report.page import page
from dazoo.bench.report.sections import sections_of
from dazoo.bench.suite_run import run_suite
from dazoo.core.errors import DazooError
from tests.bench_tools import SMALL, accuracies, scored, write_run

T = "toy/a->b"


def embedded(folder: Path, name: str, text: str = "") -> Any:
    """The JSON of a script element of the page."""
    text = text or (folder / "leaderboard.html").read_text()
    found = re.search(rf'id="data-{name}"( data-packed="gzip")?>(.*?)</script>', text, re.S)
    assert found is not None
    return embedded_data.unpack(found[2]) if found[1] else json.loads(found[2])


def behind(data: dict[str, Any], label: str, task: int) -> list[dict[str, Any]]:
    return [dict(zip(data["columns"], row)) for row in data["cells"][label][str(task)][4]]


# -- provenance -----------------------------------------------------------------------------------------------------


def test_a_number_leads_to_the_run_and_checkpoint_it_comes_from(tmp_path: Path) -> None:
    w = Writer(tmp_path)
    place = {"device": "cpu", "machine": {"cpus": 2}, "versions": {"dazoo": "0.1.0"}, "peak_memory_mb": 123.4}
    for trial in range(2):
        for seed in range(2):
            scores = scored("info_max", 0.1, 0.5 + trial, 0.2)
            note = {"warnings": ["it was hot"]} if seed else {}
            target = accuracies(0.1, 0.6 + seed / 10, 0.9)
            write_run(w, "</script>", T, seed, trial, scores, target, more={**place, **note})
    write_run(w, "bad", T, status="failed")
    made = report(tmp_path)
    data = embedded(tmp_path, "runs")
    assert data["cells"]["</script>"]["0"][:4] == ["info_max", 2, 0, 4]
    runs = behind(data, "</script>", 0)
    assert [(r["seed"], r["trial"], r["value"], r["point"]) for r in runs] == [(0, 1, 0.6, 1), (1, 1, 0.7, 1)]
    keys = {r.key for r in made.runs.runs if r.trial == 1}
    assert {r["key"] for r in runs} == keys and runs[0]["memory"] == 123.4
    assert data["names"][runs[0]["scores"][0]] == ["info_max"] and runs[0]["scores"][1] == 1.5
    assert data["steps"][runs[0]["steps"]] == [1, 2, 3] and data["places"][runs[0]["place"]]["device"] == "cpu"
    assert [data["notes"][r["notes"]] for r in runs] == [[], ["it was hot"]]
    failed = behind(data, "bad", 0)[0]
    assert failed["point"] == -1 and data["errors"][failed["error"]] == "ValueError: it broke"


def test_of_several_records_of_a_run_the_page_shows_the_one_that_counts(tmp_path: Path) -> None:
    w = Writer(tmp_path)
    write_run(w, "m", T, status="failed", started="2024-01-03", more={"peak_memory_mb": 1.0})
    write_run(w, "m", T, target=accuracies(0.5), started="2024-01-02", more={"peak_memory_mb": 2.0})
    write_run(w, "m", T, status="failed", started="2024-01-04", more={"peak_memory_mb": 3.0})
    report(tmp_path, "last")
    assert [r["memory"] for r in behind(embedded(tmp_path, "runs"), "m", 0)] == [2.0]


@pytest.mark.slow
def test_a_page_of_the_whole_zoo_is_packed_and_stays_below_a_megabyte(tmp_path: Path) -> None:
    """89 methods on 12 tasks with 3 seeds, 6 validators, 3 loss terms with 100 points."""
    w = Writer(tmp_path)
    rng = np.random.default_rng(0)
    names = ["info_max", "entropy", "source_validation", "bnm", "corr_c", "diversity"]
    losses = {n: [(2 * i, float(v)) for i, v in enumerate(rng.random(100))] for n in ("cls", "transfer", "other")}
    for m in range(89):
        hparams = {f"some_weight_{i}": float(rng.random()) for i in range(5)}
        for t in range(12):
            for seed in range(3):
                points = [dict(zip(names, map(float, rng.random(6)))) for _ in range(5)]
                target = accuracies(*map(float, rng.random(5)))
                write_run(w, f"method_{m}", f"toy/a{t}->b", seed, 0, points, target, curves=losses,
                          more={"peak_memory_mb": float(rng.random() * 1000), "hparams": hparams})  # fmt: skip
    made = load_report(tmp_path, "info_max")
    text = page(made, sections_of(made), curves.curves_of(made), features.scatter(made))
    assert len(text.encode()) < 0.9e6 and text.count('data-packed="gzip"') == 2
    runs = embedded(tmp_path, "runs", text)
    expected = json.loads(json.dumps(provenance.payload(made, sections_of(made))))
    place = expected["columns"].index("key")
    for cell in (cell for of in expected["cells"].values() for cell in of.values()):
        for run in cell[4]:
            run[place] = run[place][: embedded_data.KEY]
    assert json.loads(json.dumps(runs)) == expected
    found = embedded(tmp_path, "curves", text)
    assert len(found["runs"]) == curves.LIMIT and found["total"] == 89 * 36
    assert f"{curves.LIMIT} of {89 * 36} runs" in text


# -- curves ---------------------------------------------------------------------------------------------------------


def test_curves_are_thinned_to_their_ends_and_gaps_stay() -> None:
    curve = [(i, None if i == 99 else i / 10) for i in range(100)]
    found = curves.thin(curve)
    assert len(found) == curves.POINTS and found[0] == (0, 0) and found[-1][0] == 99 and np.isnan(found[-1][1])
    assert curves.thin(curve[:3]) == [(0, 0.0), (1, 0.1), (2, 0.2)]


def test_every_method_has_a_turn_before_any_has_two(tmp_path: Path) -> None:
    w = Writer(tmp_path)
    for label, value in (("low", 0.1), ("high", 0.9), ("shallow", 0.5)):
        for task in ("toy/a->b", "toy/b->a"):
            losses = {"cls": [(0, 2.0), (5, 1.0)]} if label != "shallow" else None
            write_run(w, label, task, scores=scored("info_max", 0.2, 0.1), target=accuracies(value, 0), curves=losses)
    made = load_report(tmp_path, "info_max")
    found = curves.curves_of(made, limit=3)
    assert [(c.run.label, c.run.task) for c in found.shown] == [("high", T), ("high", "toy/b->a"), ("low", T)]
    assert found.total == 4 and found.shown[0].terms == {"cls": [(0, 2), (5, 1)]}
    data = curves.payload(made, found)
    label, task, seed, point, steps, terms, scores, target = data["runs"][0]
    assert (label, task, seed, point, scores, target) == ("high", 0, 0, 0, {"info_max": [0.2, 0.1]}, [0.9, 0])
    assert data["grids"][steps] == [1, 2] and data["grids"][terms["cls"][0]] == [0, 5] and terms["cls"][1] == [2, 1]
    drawn = curves.figure(made, found)
    assert drawn is not None and "accuracy (target labels)" in drawn.svg()
    assert {p.suffix for p in drawn.save(tmp_path)} == {".pdf", ".png"}


# -- scatter --------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def kept(tmp_path_factory: pytest.TempPathFactory) -> Report:
    folder = tmp_path_factory.mktemp("kept")
    suite = {**SMALL, "tasks": ["upright->rotated"], "seeds": 1, "keep": "20MB"}
    return run_suite(suite, out=folder)


def test_the_scatter_shows_predicted_classes_from_kept_outputs(kept: Report) -> None:
    data = embedded(kept.folder, "scatter")["panels"]
    rows = [r.label for r in kept.board.rows if r.family != "baseline"]
    baseline = next(r.label for r in kept.board.rows if r.family == "baseline")
    assert [(p["role"], p["label"]) for p in data] == [
        ("before adaptation", baseline), ("best", rows[0]), ("worst", rows[-1]),
    ]  # fmt: skip
    for p in data:
        assert len(p["source"]) == len(p["source_class"]) <= features.SAMPLES
        assert len(p["target"]) == len(p["target_class"]) <= features.SAMPLES
        flat = np.array([*p["source"], *p["target"]])
        assert flat.min() == 0 and flat.max() == 1000 and set(p["target_class"]) <= set(range(10))
    report(kept.folder, figures=True)
    assert (kept.folder / "scatter.pdf").read_bytes().startswith(b"%PDF")
    assert "<strong>predicted</strong> class: hidden target labels are not used" in (
        kept.folder / "leaderboard.html"
    ).read_text().replace("\n    ", " ")


def test_a_clone_without_kept_outputs_shows_the_same_figure(kept: Report, tmp_path: Path) -> None:
    clone = tmp_path / "clone"
    shutil.copytree(kept.folder, clone, ignore=shutil.ignore_patterns("kept", "leaderboard.html"))
    report(clone)
    assert embedded(clone, "scatter") == embedded(kept.folder, "scatter")
    assert (clone / features.SCATTER).read_bytes() == (kept.folder / features.SCATTER).read_bytes()
    (clone / features.SCATTER).write_text("{damaged")
    report(clone)
    page = (clone / "leaderboard.html").read_text()
    assert "outputs that are not kept here: " in page and "--keep 200MB" in page
    assert embedded(clone, "scatter")["panels"] == []


def test_methods_and_projection_can_be_chosen(kept: Report) -> None:
    made = load_report(kept.folder)
    found = features.scatter(made, "tsne", ["sa"])
    assert [p["label"] for p in found.panels] == ["sa"] and found.missing == {}
    drawn = features.figure(found)
    assert drawn is not None and "t-SNE" in drawn.title
    shades = [p.shade for p in drawn.parts if isinstance(p, Mark) and p.target]
    assert shades == found.panels[0]["target_class"]
    assert features.scatter(made, "tsne", ["sa"]).panels == found.panels
    with pytest.raises(DazooError, match="no method 'coal': did you mean 'coral'"):
        features.scatter(made, "pca", ["coal"])
    with pytest.raises(DazooError, match="unknown projection 'pcaa': did you mean 'pca'"):
        features.scatter(made, "pcaa")


def test_the_plane_keeps_the_main_directions() -> None:
    rng = np.random.default_rng(0)
    flat = rng.normal(size=(50, 2)) * [5, 1]
    turn = np.linalg.qr(rng.normal(size=(6, 6)))[0][:2]
    found = features.plane(flat @ turn, "pca").astype(float)
    one, two = (np.corrcoef(found[:, i], flat[:, i])[0, 1] for i in range(2))
    assert abs(one) > 0.99 and abs(two) > 0.9
    np.testing.assert_array_equal(found, features.plane(flat @ turn, "pca"))


def test_text_cannot_leave_its_script_element() -> None:
    text = provenance.embed({"a": "</script><!-- & \u2028"})
    assert "<" not in text and ">" not in text and json.loads(text) == {"a": "</script><!-- & \u2028"}
