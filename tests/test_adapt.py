"""``dazoo adapt`` and ``predict``: reading, resuming, time, bad input, models that need nothing else."""

from __future__ import annotations

import json
import re
import shlex
import warnings
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from typer.testing import CliRunner

import dazoo
from dazoo.adaptation import load_model, run, trials
from dazoo.adaptation.portfolio import Choice
from dazoo.adaptation.predict import predict_file
from dazoo.cli.commands import app
from dazoo.core.errors import DazooError
from dazoo.diagnosis import diagnose

PLAN = [Choice("source_only", "none"), Choice("source_only", "by domain"), Choice("coral", "none")]


def frame(n: int, move: float, seed: int) -> pd.DataFrame:
    """Three classes in two numbers, with an identifier and a column of words with gaps."""
    rng = np.random.default_rng(seed)
    y = rng.integers(0, 3, n)
    x = np.array([[0, 0], [4, 0], [0, 4]])[y] + rng.normal(size=(n, 2)) + move
    words = np.where(rng.random(n) < 0.2, None, rng.choice(["red", "green"], n))
    names = np.array(["low", "mid", "high"])[y]
    return pd.DataFrame({"id": np.arange(n), "a": x[:, 0], "b": 100 * x[:, 1], "colour": words, "y": names})


@pytest.fixture
def files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """``train.csv`` and ``new.csv`` in the working folder, and a plan of three candidates."""
    frame(120, 0.0, 0).to_csv(tmp_path / "train.csv", index=False)
    frame(80, 0.7, 1).drop(columns="y").to_csv(tmp_path / "new.csv", index=False)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(run, "portfolio", lambda found, setting: PLAN)
    monkeypatch.setattr(run, "diagnose", hasty)
    return tmp_path


def hasty(task: dazoo.Task) -> None:
    """Instead of a diagnosis, which takes most of the time and has tests of its own."""
    raise DazooError("left out")


def adapt(*args: object, **options: object) -> run.Adaptation:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return dazoo.adapt(*args, say=options.pop("say", None), **options)


def test_from_two_files_to_a_model_that_needs_nothing_else(files: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(run, "diagnose", diagnose)
    said: list[str] = []
    made = adapt("train.csv", "new.csv", label="y", out="model", say=said.append)
    assert {p.name for p in (files / "model").iterdir()} >= {
        "model.safetensors",
        "predictions.csv",
        "card.html",
        "adapt.json",
    }
    text = "\n".join(said)
    assert "2 numbers (a, b)" in text and "1 ignored (id)" in text and " left" in text and made.chosen in text
    assert made.model.encoding.fitted.roles["id"] == "ignored"
    table = pd.read_csv("model/predictions.csv")
    assert list(table.columns) == ["row", "prediction", "probability", "p(high)", "p(low)", "p(mid)"]
    assert len(table) == 80 and np.allclose(table[["p(high)", "p(low)", "p(mid)"]].sum(axis=1), 1, atol=1e-5)
    again = load_model("model").predict(pd.read_csv("new.csv")[["a", "b", "colour", "id"]])
    assert list(again.names) == list(table.prediction) == list(made.predictions.names)
    done = CliRunner().invoke(app, ["predict", "model", "new.csv", "--out", "p.csv"])
    assert done.exit_code == 0, done.output
    assert Path("p.csv").read_text() == Path("model/predictions.csv").read_text()
    assert 0 <= made.expected.low <= made.expected.value <= made.expected.high <= 1
    page = Path("model/card.html").read_text()
    assert "<script" not in page and "http" not in page and "What to label next" in page and made.chosen in page


def test_finished_candidates_are_not_fitted_again(files: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A kill in the middle of the third fit, then the same command."""
    calls: list[str] = []
    honest = trials.fit

    def counted(method, *args, **kwargs):
        calls.append(method.name)
        if len(calls) == 3:
            raise KeyboardInterrupt
        return honest(method, *args, **kwargs)

    monkeypatch.setattr(trials, "fit", counted)
    with pytest.raises(KeyboardInterrupt):
        adapt("train.csv", "new.csv", label="y", out="model")
    made = adapt("train.csv", "new.csv", label="y", out="model")
    assert calls == ["source_only", "source_only", "coral", "coral"]
    whole = adapt("train.csv", "new.csv", label="y")
    assert calls[4:] == ["source_only", "source_only", "coral"]
    assert made.chosen == whole.chosen and (made.predictions.scores == whole.predictions.scores).all()
    with pytest.raises(DazooError, match="other data"):
        adapt("new.csv", "train.csv", label="colour", out="model")


@pytest.mark.parametrize(("ticks", "tried"), [(1e9, 1), (0.0, 3)])
def test_the_model_of_the_source_is_there_when_time_is_not(files: Path, ticks: float, tried: int) -> None:
    now, said = [0.0], []

    def clock() -> float:
        now[0] += ticks
        return now[0]

    made = adapt("train.csv", "new.csv", label="y", out="model", time="1m", clock=clock, say=said.append)
    assert (
        len(made.trials) == tried and len(made.skipped) == 3 - tried and (files / "model/model.safetensors").is_file()
    )
    assert any("out of time" in s for s in said) == (tried < 3)


def test_training_stops_when_the_time_is_up(files: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(run, "portfolio", lambda found, setting: [PLAN[0], Choice("mcc", "none")])
    now = [0.0]
    honest = trials.fit

    def late(method, *args, **kwargs):
        now[0] += 100.0 if method.name == "mcc" else 0.0  # the deadline passes while it trains
        return honest(method, *args, **kwargs)

    monkeypatch.setattr(trials, "fit", late)
    made = adapt("train.csv", "new.csv", label="y", time=50, clock=lambda: now[0])
    assert made.skipped == ("mcc",) and made.chosen == "source_only"


def test_few_labelled_rows_judge_and_all_of_them_only_report(files: Path) -> None:
    whole = frame(80, 0.7, 1)
    few = whole.assign(y=whole.y.where(whole.index < 40))
    plain = adapt(frame(120, 0.0, 0), whole.drop(columns="y"), label="y")
    told = adapt(frame(120, 0.0, 0), whole, label="y")
    assert plain.measured is None and told.measured is not None
    assert (plain.predictions.scores == told.predictions.scores).all() and plain.verdict == told.verdict
    judged = adapt(frame(120, 0.0, 0), few, label="y")
    assert "labelled rows" in judged.verdict.members and judged.expected.value == judged.measured
    assert "measured on labelled target rows" in judged.expected.sure


def _with(change: str) -> tuple[object, object, str | None]:
    one, other = frame(60, 0, 0), frame(40, 1, 1).drop(columns="y")
    rng = np.random.default_rng(0)
    return {
        "swapped": (other, one, "y"),
        "same": (one, one.drop(columns="y"), "y"),
        "no column": (one, other, "label"),
        "no label": (one.assign(y=None), one, "y"),
        "continuous": (one.assign(y=rng.normal(size=60)), other, "y"),
        "counts": (one.assign(y=rng.integers(0, 1000, 60)), other, "y"),
        "names": (one.assign(y=[f"row {i}" for i in range(60)]), other, "y"),
        "one class": (one.assign(y="low"), other, "y"),
        "no common column": (one, other.add_suffix("_"), "y"),
        "new class": (one, other.assign(y=["new", *[None] * 39]), "y"),
        "nothing": (None, None, None),
        "bare": (one, other, None),
    }[change]


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ("swapped", "swapped"),
        ("same", "same rows"),
        ("no column", "no column 'label'"),
        ("no label", "swapped"),
        ("continuous", "look continuous"),
        ("counts", "look continuous"),
        ("names", "right column"),
        ("one class", "the one class"),
        ("no common column", "no column in common"),
        ("new class", "source has no sample of"),
        ("nothing", "--source"),
        ("bare", "pair"),
    ],
)
def test_what_cannot_be_adapted_is_said_in_a_sentence(change: str, says: str) -> None:
    source, target, label = _with(change)
    with pytest.raises(DazooError, match=says):
        adapt(source, target, label=label)


def test_files_that_are_the_same_missing_or_no_tables(files: Path) -> None:
    (files / "notes.docx").write_text("x")
    for source, target, says in [
        ("train.csv", "train.csv", "are the same"),
        ("train.csv", "nowhere.csv", "no file or folder"),
        ("train.csv", "notes.docx", "no table"),
    ]:
        with pytest.raises(DazooError, match=says):
            adapt(source, target, label="y")
    with pytest.raises(DazooError, match="--label"):
        adapt("train.csv", "new.csv")
    with pytest.raises(DazooError, match="10m"):
        adapt("train.csv", "new.csv", label="y", time="soon")
    with pytest.raises(DazooError, match="is a file"):
        adapt("train.csv", "new.csv", label="y", out="new.csv")


def test_a_target_of_five_rows_gets_the_model_of_the_source() -> None:
    said: list[str] = []
    made = adapt(frame(60, 0, 0), frame(5, 1, 1).drop(columns="y"), label="y", say=said.append)
    assert made.chosen == "source_only" and len(made.trials) == 1 and any("5 rows, too few" in s for s in said)


def test_a_drift_is_pointed_out_and_its_absence_is_not(files: Path) -> None:
    adapt("train.csv", "new.csv", label="y", out="model", time=0)
    model = load_model("model")
    frame(60, 0.7, 2).drop(columns="y").to_csv("like.csv", index=False)
    frame(60, 9.0, 2).drop(columns="y").to_csv("moved.csv", index=False)
    assert predict_file(model, Path("like.csv")).said == []
    (said,) = predict_file(model, Path("moved.csv")).said
    assert "drift" in said and "a (" in said and "b (" in said
    frame(60, 0.7, 2).drop(columns=["y", "b"]).to_csv("less.csv", index=False)
    with pytest.raises(DazooError, match=r"lacks the columns \['b'\]"):
        predict_file(model, Path("less.csv"))


def test_folders_of_texts(tmp_path: Path) -> None:
    words = {"sport": "the team won the match with a late goal", "food": "cook the rice and stir in some butter"}
    for i in range(30):
        for name, text in words.items():
            parts = text.split()
            place = tmp_path / "old" / name / f"{i}.txt"
            place.parent.mkdir(parents=True, exist_ok=True)
            place.write_text(" ".join(parts[j % len(parts)] for j in range(i, i + 6)))
            (tmp_path / "new").mkdir(exist_ok=True)
            (tmp_path / "new" / f"{name}{i}.txt").write_text(" ".join(parts[j % len(parts)] for j in range(i, i + 4)))
    made = adapt(tmp_path / "old", tmp_path / "new", out=tmp_path / "model", time=0)
    table = pd.read_csv(tmp_path / "model" / "predictions.csv")
    assert (table.prediction == table.file.str.replace(r"\d+\.txt", "", regex=True)).mean() > 0.95
    found = predict_file(load_model(tmp_path / "model"), tmp_path / "new")
    assert list(found.out.names) == list(table.prediction) and found.files == list(table.file)
    assert made.task.target.kind == "text"
    with pytest.raises(DazooError, match="swapped"):
        adapt(tmp_path / "new", tmp_path / "old")


def test_arrays_archives_and_tasks(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    x = np.concatenate([rng.normal(size=(40, 3)), rng.normal(size=(40, 3)) + 3])
    y = np.repeat([0, 1], 40)
    made = adapt((x, y), x[::2] + 0.5, time=0)
    assert made.task.classes == ("0", "1")
    np.savez(tmp_path / "a.npz", x=x, y=y)
    np.savez(tmp_path / "b.npz", x=x[::2] + 0.5)
    again = adapt(tmp_path / "a.npz", tmp_path / "b.npz", time=0)
    assert (again.predictions.scores == made.predictions.scores).all()
    with pytest.raises(DazooError, match="swapped"):
        adapt(tmp_path / "b.npz", tmp_path / "a.npz")
    named = adapt(task="shifts/label_source->label_target", time=0)
    assert named.measured is not None and named.task.target.y is None
    with pytest.raises(DazooError, match="not both"):
        adapt(x, x, task="shifts/label_source->label_target")


def test_the_command_ends_with_a_sentence(files: Path) -> None:
    done = CliRunner().invoke(app, ["adapt", "--source", "train.csv", "--target", "new.csv", "--label", "y"])
    assert done.exit_code == 0, done.output
    summary = json.loads(Path("model/adapt.json").read_text())
    assert summary["chosen"] and summary["expected"]["parts"] and len(summary["tried"]) == 3


DOCS = Path(__file__).parent.parent / "docs" / "adapt.md"


def test_the_page_of_the_documentation_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its blocks in order: Python as it is, and the commands of the consoles."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(run, "portfolio", lambda found, setting: PLAN)
    names: dict[str, object] = {}
    found = re.findall(r"^```(python|console)\n(.*?)^```", DOCS.read_text(encoding="utf-8"), re.S | re.M)
    assert [kind for kind, _ in found] == ["python", "console", "python", "console", "python", "python"]
    for kind, block in found:
        if kind == "python":
            exec(compile(block, "docs/adapt.md", "exec", dont_inherit=True), names)
        for line in block.splitlines() if kind == "console" else ():
            done = CliRunner().invoke(app, shlex.split(line)[1:])
            assert done.exit_code == 0, done.output
    for name in re.findall(r"^\| `([a-z_.]+)/?` \|", DOCS.read_text(encoding="utf-8"), re.M):
        assert (tmp_path / "model" / name).exists(), name


def test_one_column_of_texts_is_read_as_texts(tmp_path: Path) -> None:
    """And a table of them is predicted by the same column."""
    words = [f"the team won match {i} with a late goal" for i in range(30)]
    words += [f"cook the rice {i} and stir in some butter" for i in range(30)]
    one = pd.DataFrame({"text": words, "topic": ["sport"] * 30 + ["food"] * 30})
    one.to_csv(tmp_path / "a.csv", index=False)
    pd.DataFrame({"text": [f"{w} today" for w in words]}).to_csv(tmp_path / "b.csv", index=False)
    made = adapt(tmp_path / "a.csv", tmp_path / "b.csv", label="topic", out=tmp_path / "m", time=0)
    assert made.task.target.kind == "text" and list(made.predictions.names) == list(one.topic)
    found = predict_file(load_model(tmp_path / "m"), tmp_path / "b.csv")
    assert list(found.out.names) == list(one.topic)
