"""``dazoo adapt`` as a process: killed in the middle of a fit it goes on from there, stopped by hand it says how."""

from __future__ import annotations

import json
import re
import shlex
import signal
import subprocess
import sys
import warnings
from pathlib import Path

import pandas as pd
import pytest
from typer.testing import CliRunner

from dazoo.adaptation import run, trials
from dazoo.cli.commands import app
from tests.test_adapt import PLAN, frame, hasty

ARGUMENTS = ["adapt", "--source", "train.csv", "--target", "new.csv", "--label", "y", "--out"]
PROGRAM = """
import sys, time
from dazoo.adaptation import run, trials
from dazoo.cli.commands import app
from tests.test_adapt import PLAN, hasty
run.portfolio, run.diagnose = (lambda found, setting: PLAN), hasty
honest = trials.fit

def fit(method, *args, **options):
    if method.name == "coral":
        print("in the middle of a fit", file=sys.stderr, flush=True)
        time.sleep(600)
    return honest(method, *args, **options)

trials.fit = fit
app(sys.argv[1:])
"""


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    frame(120, 0.0, 0).to_csv(tmp_path / "train.csv", index=False)
    frame(80, 0.7, 1).drop(columns="y").to_csv(tmp_path / "new.csv", index=False)
    frame(30, 0.7, 2).drop(columns="y").to_csv(tmp_path / "later.csv", index=False)
    monkeypatch.syspath_prepend(str(Path(__file__).parent.parent))
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(run, "portfolio", lambda found, setting: PLAN)
    monkeypatch.setattr(run, "diagnose", hasty)
    return tmp_path


def command(*args: str) -> str:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        done = CliRunner().invoke(app, list(args))
    assert done.exit_code == 0, done.output
    return done.output


def test_a_process_that_is_killed_in_the_middle_of_a_fit_goes_on(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    root = str(Path(__file__).parent.parent)
    process = subprocess.Popen(
        [sys.executable, "-c", f"import sys; sys.path.insert(0, {root!r})\n{PROGRAM}", *ARGUMENTS, "model"],
        stderr=subprocess.PIPE, text=True,
    )  # fmt: skip
    assert process.stderr is not None
    heard = []
    for line in process.stderr:
        heard.append(line)
        if "in the middle of a fit" in line:
            break
    process.send_signal(signal.SIGKILL)
    assert process.wait() == -signal.SIGKILL, heard
    process.stderr.close()
    assert not Path("model/model.safetensors").exists()
    done = {p.name for p in Path("model/candidates").glob("*.json")}
    assert done == {"source_only-none.json", "source_only-by-domain.json"}
    fitted: list[str] = []
    honest = trials.fit
    monkeypatch.setattr(trials, "fit", lambda method, *a, **k: (fitted.append(method.name), honest(method, *a, **k))[1])
    said = command(*ARGUMENTS, "model")
    assert fitted == ["coral"] and said.count("from before") == 2
    command(*ARGUMENTS, "whole")
    assert Path("model/predictions.csv").read_text() == Path("whole/predictions.csv").read_text()
    one, other = (json.loads(Path(p, "adapt.json").read_text()) for p in ("model", "whole"))
    assert one["scores"] == other["scores"] and one["chosen"] == other["chosen"]


def test_stopped_by_hand_it_says_how_to_go_on(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    honest = trials.fit

    def stopped(method, *args, **options):
        if method.name == "coral":
            raise KeyboardInterrupt
        return honest(method, *args, **options)

    monkeypatch.setattr(trials, "fit", stopped)
    done = CliRunner().invoke(app, [*ARGUMENTS, "model"])
    assert done.exit_code == 130 and "with --time 0s it ends with what is there" in done.output
    said = command(*ARGUMENTS, "model", "--time", "0s")
    assert "1 candidates were not tried" in said and len(pd.read_csv("model/predictions.csv")) == 80


def test_the_first_commands_of_the_readme_run(place: Path) -> None:
    text = (Path(__file__).parent.parent / "README.md").read_text(encoding="utf-8")
    block = re.findall(r"^```\n(.*?)^```", text, re.S | re.M)[0]
    lines = [shlex.split(line, comments=True) for line in block.splitlines()]
    assert [line[0] for line in lines] == ["pip", "dazoo", "dazoo"]
    for line in lines[1:]:
        command(*line[1:])
    assert len(pd.read_csv("predicted.csv")) == 30 and Path("model/card.html").is_file()
