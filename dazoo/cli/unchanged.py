"""``dazoo run`` where everything is stored and shown: the same answer, without loading what would compute it.

When a run found nothing to do, ``cache/answer.json`` in its result folder keeps what was printed, with a hash of all it
depended on: the suite, the options, the files of methods given by path, dazoo with its plug-ins and installed packages,
and size and time of every file of records, scores and report. The next call with the same hash prints it again. A suite
whose tasks or keys depend on files of data is planned every time.
"""

from __future__ import annotations

import hashlib
import importlib.metadata
import json
import os
import sys
import time
import warnings
from contextlib import suppress
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rich.console import Console

from dazoo.bench.plan.shipped import find_suite
from dazoo.bench.records.remote import is_remote, mirror_of, normal
from dazoo.cli.shown import Shown, print_shown
from dazoo.core.errors import DazooError
from dazoo.core.files import write_text
from dazoo.core.version import VERSION

if TYPE_CHECKING:
    from dazoo.bench.suite_run import Job

FILE = Path("cache") / "answer.json"
FOLDERS = ("", "records", "scores")
"""Of a result folder, whose files an answer depends on."""
SETTLED = 2.0
"""Seconds after which a file that changes gets another time on any file system."""
Options = dict[str, Any]


def options_of(pairs: list[str] | None, address: str | None) -> dict[str, str]:
    """Options of an executor, written ``NAME=VALUE``; an address is one of them."""
    found = {} if address is None else {"address": address}
    for pair in pairs or []:
        name, equals, value = pair.partition("=")
        if not name.strip() or not equals:
            raise DazooError(f"--with {pair}: an option is written NAME=VALUE, for example gpus=0.5")
        found[name.strip()] = value.strip()
    return found


def told_again(suite: str, options: Options) -> bool:
    """Print the answer to the same question again; False where it has to be found out.

    A process that has loaded torch may hold methods and data of its own: it finds out.
    """
    if not _fresh() or is_remote(options["out"] or ""):
        return False
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            file = find_suite(suite)
        folder = folder_of(file, options)
        kept = json.loads((folder / FILE).read_text(encoding="utf-8"))
        if kept["hash"] != _hash(question(file, options), holdings(folder)):
            return False
        said, shown = [str(line) for line in kept["said"]], Shown(**kept["shown"])
    except (DazooError, Warning, OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError):
        return False
    log = Console(stderr=True, highlight=False)
    for line in said:
        log.print(line, markup=False)
    print_shown(shown)
    return True


def remember(file: Path, options: Options, job: Job, before: Any, shown: Shown, said: list[str]) -> None:
    """Keep the answer where nothing was done and the records are those of ``before``, the ``holdings`` at the start."""
    folder = job.place.folder
    now = holdings(folder)
    records = [{name: of for name, of in what.items() if name} for what in (before, now)]
    newest = max((time_ for of in records[1].values() for _, _, time_ in of), default=0)
    settled = time.time_ns() - newest > SETTLED * 1e9
    if job.missing or records[0] != records[1] or not settled or _depends_on_data(job):
        return
    answer = {"hash": _hash(question(file, options), now), "said": said, "shown": asdict(shown)}
    with suppress(OSError):
        write_text(folder / FILE, json.dumps(answer))


def _fresh() -> bool:
    return "torch" not in sys.modules


def folder_of(file: Path, options: Options) -> Path:
    """The result folder of a suite."""
    from dazoo.bench.plan.suite import Suite

    if options["out"] is not None and is_remote(options["out"]):
        return mirror_of(normal(options["out"]))
    return Path(options["out"]) if options["out"] is not None else Path("results") / Suite.load(file).name


def question(file: Path, options: Options) -> list[Any]:
    """What an answer depends on beside the result folder."""
    root = options["data_root"] or os.environ.get("DAZOO_DATA")
    sources = [Path(m) for m in options["methods"] if m.endswith(".py") or "/" in m]
    read = [hashlib.sha256(path.read_bytes()).hexdigest() for path in (file, *sources)]
    said = {name: str(value) for name, value in options.items()}
    return [str(file.resolve()), read, said, str(root), bool(root) and Path(str(root)).is_dir(), _installed()]


def _installed() -> list[Any]:
    """The files of dazoo, its plug-ins, and when packages were last installed or removed."""
    package = Path(__file__).resolve().parents[1]
    files = [p for p in sorted(package.rglob("*")) if "__pycache__" not in p.parts and p.is_file()]
    stats = [(str(p), (stat := p.stat()).st_mtime_ns, stat.st_size) for p in files]
    groups = ("methods", "datasets", "backbones", "validators", "encoders")
    points = [p for group in groups for p in importlib.metadata.entry_points(group=f"dazoo.{group}")]
    plugins = sorted((p.group, p.name, p.value, p.dist.version if p.dist else "") for p in points)
    places = [Path(p) for p in sys.path if p.endswith(("-packages", ".zip"))]
    return [VERSION, sys.version, stats, plugins, [(str(p), p.stat().st_mtime_ns) for p in places if p.exists()]]


def holdings(folder: Path) -> dict[str, list[tuple[str, int, int]]]:
    """Name, size and time of the files that reports are made from, and of those that they are."""
    found: dict[str, list[tuple[str, int, int]]] = {}
    for name in FOLDERS:
        with suppress(FileNotFoundError), os.scandir(folder / name) as entries:
            stats = [(e.name, e.stat()) for e in entries if e.is_file()]
            found[name] = sorted((n, s.st_size, s.st_mtime_ns) for n, s in stats)
    return found


def _hash(*parts: Any) -> str:
    return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()


def _depends_on_data(job: Job) -> bool:
    """Whether files of data decide which tasks there are, or what determines a run."""
    from dazoo.data.registry import DATASETS

    used = [DATASETS.get(part.dataset.name) for part in job.suite.parts() if part.dataset is not None]
    return any(callable(d.domains) or d.content is not None or d.look is not None for d in used)
