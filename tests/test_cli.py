"""The command line as a person meets it: output, messages, exit codes, speed."""

from __future__ import annotations

import contextlib
import io
import json
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import pytest
import yaml

from dazoo.cli import cache as cli_cache
from dazoo.cli.cache import remembered
from dazoo.cli.commands import main
from tests.bench_tools import SMALL

HEAVY = ("torch", "numpy", "pydantic", "sklearn", "pandas", "timm", "ot", "jinja2")


@dataclass(frozen=True)
class Done:
    returncode: int
    stdout: str
    stderr: str


def dazoo(*arguments: str, ok: bool = True) -> Done:
    """The entry point of the command, in this process."""
    out, err, before, code = io.StringIO(), io.StringIO(), sys.argv, 0
    sys.argv = ["dazoo", *arguments]
    try:
        with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
            main()
    except SystemExit as end:
        code = int(end.code or 0)
    finally:
        sys.argv = before
    done = Done(code, out.getvalue(), err.getvalue())
    assert (done.returncode == 0) == ok, done.stderr + done.stdout
    return done


@pytest.fixture
def suite(tmp_path: Path) -> Path:
    path = tmp_path / "small.yaml"
    path.write_text(yaml.safe_dump({**SMALL, "seeds": 1, "tasks": ["upright->noisy"]}))
    return path


def test_help_loads_nothing_heavy() -> None:
    code = (
        "import sys\nfrom dazoo.cli.commands import app\nfrom typer.testing import CliRunner\n"
        "out = CliRunner().invoke(app, ['--help'])\nassert out.exit_code == 0 and 'report' in out.output\n"
        f"print([m for m in {HEAVY!r} if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_run_report_and_again(suite: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    first = dazoo("run", str(suite), "--out", str(out), "--device", "cpu")
    assert "3 runs, 0 stored, 3 to do" in first.stderr
    for word in ("small", "accuracy (%)", "coral", "info_max", f"{out}/leaderboard.html"):
        assert word in first.stdout
    for name in (
        "leaderboard.md",
        "leaderboard.csv",
        "leaderboard.html",
        "per_task.csv",
        "suite.yaml",
        "environment.json",
    ):
        assert (out / name).is_file()
    second = dazoo("run", str(suite), "--out", str(out), "--device", "cpu")
    assert "3 runs, 3 stored, 0 to do" in second.stderr
    before = (out / "leaderboard.csv").read_bytes()
    (out / "leaderboard.csv").unlink()
    dazoo("report", str(out))
    assert (out / "leaderboard.csv").read_bytes() == before
    assert "oracle (target labels)" in dazoo("report", str(out), "--select-by", "oracle").stdout


def test_narrowing_a_run(suite: Path, tmp_path: Path) -> None:
    done = dazoo("run", str(suite), "--out", str(tmp_path / "o"), "--methods", "sa,tca", "--tasks", "upright->blurred",
                 "--seeds", "2", "--device", "cpu")  # fmt: skip
    assert "4 runs, 0 stored, 4 to do" in done.stderr
    text = (tmp_path / "o" / "per_task.csv").read_text()
    assert "tca,upright,blurred,accuracy" in text and "noisy" not in text


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["run", "no_such_suite"], ["no suite file 'no_such_suite'"]),
        (["run", "SUITE", "--methods", "corall"], ["unknown method 'corall'", "'coral'"]),
        (["run", "SUITE", "--methods", "zz*"], ["no method matches 'zz*'"]),
        (["run", "SUITE", "--methods", "gone.py"], ["no such method file: gone.py"]),
        (["run", "SUITE", "--tasks", "upright->nowhere"], ["no domain 'nowhere'"]),
        (["report", "nowhere"], ["there is no folder nowhere", "dazoo run SUITE --out nowhere"]),
        (["compare", "tests", "a", "b"], ["tests holds no records"]),
        (["diff", "nowhere", "tests"], ["there is no folder nowhere"]),
        (["cite", "nowhere"], ["there is no folder nowhere"]),
        (["diagnose", "digits"], ["'digits' is not of the form dataset/source->target"]),
        (["diagnose", "digit/upright->noisy"], ["unknown dataset 'digit'", "'digits'"]),
        (["diagnose", "digits/upright->nowhere"], ["no domain 'nowhere'"]),
        (["info", "corall"], ["nothing here is called 'corall'", "'coral'"]),
        (["list", "methods", "--family", "subspce"], ["'subspce'", "'subspace'"]),
        (["list", "validators", "zz*"], ["no validator matches 'zz*'"]),
    ],
)
def test_a_mistake_is_one_message_and_exit_code_2(suite: Path, arguments: list[str], words: list[str]) -> None:
    done = dazoo(*[str(suite) if a == "SUITE" else a for a in arguments], ok=False)
    assert done.returncode == 2 and done.stdout == ""
    assert done.stderr.startswith("error: ") and "Traceback" not in done.stderr
    assert done.stderr.count("\n") == 1, done.stderr
    for word in words:
        assert word in done.stderr


def test_a_mistake_in_a_suite_names_the_line(suite: Path) -> None:
    suite.write_text(suite.read_text().replace("dataset: digits", "dataset: digitz"))
    line = suite.read_text().split("\n").index("dataset: digitz") + 1
    done = dazoo("run", str(suite), ok=False)
    assert done.returncode == 2
    assert f"{suite}, line {line}: unknown dataset 'digitz': did you mean 'digits'" in done.stderr


def test_a_mistake_ends_the_process_with_code_2_and_no_traceback() -> None:
    command = [sys.executable, "-m", "dazoo.cli", "report", "nowhere"]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 2 and done.stdout == ""
    assert done.stderr == "error: there is no folder nowhere; 'dazoo run SUITE --out nowhere' makes it\n"


def test_missing_data_root(suite: Path, tmp_path: Path) -> None:
    suite.write_text(yaml.safe_dump({**SMALL, "dataset": "office_caltech10", "tasks": ["*->dslr"]}))
    done = dazoo("run", str(suite), "--data-root", str(tmp_path / "gone"), ok=False)
    assert done.returncode == 2 and "gone" in done.stderr and "--data-root" in done.stderr


def test_a_bare_list_lists_methods() -> None:
    assert dazoo("list").stdout == dazoo("list", "methods").stdout


@pytest.mark.parametrize("kind", ["methods", "datasets", "backbones", "suites", "recipes", "validators", "settings"])
def test_lists(kind: str) -> None:
    rows = json.loads(dazoo("list", kind, "--json").stdout)
    names = [r["name"] for r in rows]
    assert names == sorted(names) and len(set(names)) == len(names) > 0
    text = dazoo("list", kind).stdout
    assert all(name in text for name in names)


def test_listings_are_kept_until_a_file_changes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DAZOO_CACHE", str(tmp_path))
    made = []

    def make() -> list[dict[str, str]]:
        made.append(1)
        return [{"name": "x"}]

    assert remembered("methods", make) == remembered("methods", make) == [{"name": "x"}]
    assert len(made) == 1
    monkeypatch.setattr(cli_cache, "_state", lambda kind: "other")
    assert remembered("methods", make) and len(made) == 2
    assert len(list((tmp_path / "lists").iterdir())) == 1
    (tmp_path / "lists" / "methods-other.json").write_text("damaged")
    assert remembered("methods", make) and len(made) == 3


def test_a_second_listing_does_not_import_torch(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DAZOO_CACHE", str(tmp_path))
    dazoo("list", "methods")
    call = "import sys; from dazoo.cli.listing import show_list; show_list('methods', '*', None, False)"
    command = [sys.executable, "-c", f"{call}; assert 'torch' not in sys.modules"]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0 and "dann" in done.stdout, done.stderr


def test_list_filters() -> None:
    rows = json.loads(dazoo("list", "methods", "*coral*", "--family", "moment", "--json").stdout)
    assert rows and all("coral" in r["name"] and r["family"] == "moment" for r in rows)


def test_info_shows_paper_formula_and_hyper_parameters() -> None:
    text = dazoo("info", "dann").stdout
    for word in ("https://arxiv.org/abs/1505.07818", "min_{F,C} max_D", "trade_off", "0.1 to 10 (log)", "deviations"):
        assert word in text
    assert "upright" in dazoo("info", "digits").stdout
    assert json.loads(dazoo("info", "frozen", "--json").stdout)["kind"] == "recipe"
    assert "pretrained" in dazoo("info", "tf_efficientnet_lite0").stdout
    assert "target_probs" in dazoo("info", "entropy").stdout


def test_version_and_module() -> None:
    import dazoo as package

    for command in (["-m", "dazoo"], ["-m", "dazoo.cli"]):
        done = subprocess.run([sys.executable, *command, "--version"], capture_output=True, text=True, check=True)
        assert done.stdout == f"dazoo {package.__version__}\n"


def test_info_is_remembered(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The second call loads no torch, also for names that no list shows."""
    code = (
        "import sys; from dazoo.cli import app\n"
        "for name in sys.argv[1:]: app(['info', name], standalone_mode=False)\n"
        "print('torch' in sys.modules)"
    )
    monkeypatch.setenv("DAZOO_CACHE", str(tmp_path))
    ends = []
    for _ in range(2):
        command = [sys.executable, "-c", code, "mcd", "dann+mcc"]
        done = subprocess.run(command, capture_output=True, text=True, check=True)
        ends.append(done.stdout.rsplit("\n", 2))
    assert ends[0][0] == ends[1][0] and (ends[0][1], ends[1][1]) == ("True", "False")
