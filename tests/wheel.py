"""``python -m tests.wheel``: what is published works outside of the repository, and holds what it needs and no more.

Builds the source distribution and, from it, the wheel; looks at what they hold; installs the wheel, without its
dependencies, into a folder of its own; and works there as somebody who has never seen the repository.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tarfile
import tempfile
import zipfile
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
TOP = {"dazoo", "CHANGELOG.md", "CITATION.cff", "LICENSE", "MANIFEST.in", "PKG-INFO", "README.md", "pyproject.toml",
       "setup.cfg", "dazoo.egg-info"}  # fmt: skip
MEGABYTE = 1_000_000


def main() -> None:
    with tempfile.TemporaryDirectory() as scratch:
        made, installed, work = (Path(scratch) / name for name in ("dist", "installed", "work"))
        work.mkdir()
        _do([sys.executable, "-m", "build", "--outdir", str(made), str(ROOT)], ROOT)
        sdist, wheel = _one(made, "*.tar.gz"), _one(made, "*.whl")
        check_sdist(sdist)
        check_wheel(wheel)
        pip = [sys.executable, "-m", "pip", "install", "--quiet", "--no-deps", "--target", str(installed), str(wheel)]
        _do(pip, work)
        use(installed, work)
        sizes = ", ".join(f"{path.name} {path.stat().st_size / MEGABYTE:.2f} MB" for path in (sdist, wheel))
        print(f"the wheel works outside of the repository: {sizes}")


def check_sdist(path: Path) -> None:
    """The package and what describes it, small."""
    with tarfile.open(path) as archive:
        names = ["/".join(n.split("/")[1:]) for n in archive.getnames()]
    strangers = {n.split("/")[0] for n in names if n} - TOP
    assert not strangers, f"{path.name} holds what nobody needs who installs it: {sorted(strangers)}"
    _holds_the_package(path, set(names))


def check_wheel(path: Path) -> None:
    """The package alone, small."""
    with zipfile.ZipFile(path) as archive:
        names = archive.namelist()
    strangers = {n.split("/")[0] for n in names if not n.startswith("dazoo-")} - {"dazoo"}
    assert not strangers, f"{path.name} holds more than the package: {sorted(strangers)}"
    _holds_the_package(path, set(names))


def _holds_the_package(path: Path, names: set[str]) -> None:
    listed = subprocess.run(["git", "ls-files", "dazoo"], cwd=ROOT, capture_output=True, text=True, check=True)
    missing = sorted(set(listed.stdout.split()) - names)
    assert listed.stdout and not missing, f"{path.name} lacks {missing}"
    assert path.stat().st_size < 2 * MEGABYTE, f"{path.name} has {path.stat().st_size} bytes"


def use(installed: Path, work: Path) -> None:
    """Version, listing, a few runs by name, the report of them: from another folder, with the installed package."""
    env = {**os.environ, "PYTHONPATH": str(installed), "DAZOO_CACHE": str(work / "cache")}
    where = _do([sys.executable, "-c", "import dazoo; print(dazoo.__file__)"], work, env)
    assert Path(where.strip()).is_relative_to(installed), f"dazoo came from {where}"
    dazoo = [sys.executable, "-m", "dazoo"]
    assert _do([*dazoo, "--version"], work, env).startswith("dazoo ")
    suites = json.loads(_do([*dazoo, "list", "suites", "--json"], work, env))
    assert {p.stem for p in (ROOT / "dazoo" / "suites").glob("*.yaml")} == {s["name"] for s in suites}
    assert all(Path(s["file"]).is_relative_to(installed) for s in suites)
    run = ["run", "digits", "--methods", "source_only,coral", "--seeds", "1", "--device", "cpu"]
    print(_do([*dazoo, *run], work, env))
    results = work / "results" / "digits"
    assert "coral" in (results / "leaderboard.csv").read_text(encoding="utf-8")
    page = (results / "leaderboard.html").read_text(encoding="utf-8")
    assert "<style>" in page and "<script" in page
    _do([*dazoo, "report", str(results)], work, env)
    assert "Deep CORAL" in _do([*dazoo, "info", "deep_coral"], work, env)


def _one(folder: Path, pattern: str) -> Path:
    (path,) = folder.glob(pattern)
    return path


def _do(command: list[str], folder: Path, env: dict[str, str] | None = None) -> str:
    done = subprocess.run(command, cwd=folder, env=env, capture_output=True, text=True)
    if done.returncode:
        sys.exit(f"{' '.join(command)} ended with {done.returncode}\n{done.stdout[-4000:]}{done.stderr[-4000:]}")
    return done.stdout


if __name__ == "__main__":
    main()
