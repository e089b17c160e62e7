"""The commands of ``docs/scale.md``, as they stand there, on a tiny suite.

    python -m pytest -m cluster tests/test_scale_commands.py

Changed are only what another machine would have: host and port of a cluster, folders at the root, and buckets, which
are folders that fsspec opens; SLURM's commands and GPUs are stood in for. What is installed is not installed again.
"""

from __future__ import annotations

import os
import re
import secrets
import shlex
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
import tomllib
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path

import pytest
import yaml

from dazoo.bench.suite_run import prepare
from tests import fake_devices, fake_slurm
from tests.bench_tools import SMALL

pytestmark = pytest.mark.cluster
ROOT = Path(__file__).parent.parent
PATIENCE = 400.0
SUITE = SMALL | {"tasks": ["upright->rotated"], "methods": ["source_only", "coral"], "keep": "0"}
PICTURES = SUITE | {
    "dataset": {"name": "digits", "kind": "image"}, "backbone": "cnn", "recipe": {"name": "digits", "steps": 4},
    "methods": ["source_only"], "seeds": 1,
}  # fmt: skip
SECTIONS = (
    "A laptop",
    "A workstation with several GPUs",
    "SLURM",
    "A Ray cluster",
    "Shared folders",
    "An object store",
    "One run by several processes",
)


def commands(section: str) -> list[str]:
    """The lines of code of a section, without comments; ``NAME`` stands for anything, so such a line is a form."""
    text = (ROOT / "docs" / "scale.md").read_text().partition(f"\n## {section}\n")[2].partition("\n## ")[0]
    lines = [line.strip() for line in text.splitlines() if line.startswith("    ")]
    found = [shlex.join(shlex.split(line, comments=True)) for line in lines]
    return [line for line in found if line.split()[0] in ("dazoo", "ray", "pip")]


def test_the_page_has_no_command_that_is_not_tried() -> None:
    text = (ROOT / "docs" / "scale.md").read_text()
    code = [line for line in re.findall(r"^    (?:dazoo|ray|pip) .*$", text, re.MULTILINE) if "NAME" not in line]
    assert len(code) == sum(len(commands(section)) for section in SECTIONS) >= 18


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A folder with the suites under the names that the page gives them."""
    for name, suite in {"SUITE": SUITE, "digits": SUITE, "small.yaml": SUITE, "pictures.yaml": PICTURES}.items():
        (tmp_path / name).write_text(yaml.safe_dump(suite))
    fake_slurm.install(tmp_path / "bin")
    (tmp_path / "bin" / "dazoo").write_text(f'#!/bin/sh\nexec {sys.executable} -m dazoo.cli "$@"\n')
    (tmp_path / "bin" / "dazoo").chmod(0o755)
    places = [f"{tmp_path}/bin", str(Path(sys.executable).parent), os.environ["PATH"]]
    monkeypatch.setenv("PATH", os.pathsep.join(places))
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join([str(ROOT), os.environ.get("PYTHONPATH", "")]))
    monkeypatch.setenv("DAZOO_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("RAY_USAGE_STATS_ENABLED", "0")
    monkeypatch.setenv("RAY_worker_niceness", "0")  # a busy machine would starve them
    monkeypatch.setenv("RAY_AUTH_MODE", "token")
    monkeypatch.setenv("RAY_AUTH_TOKEN", secrets.token_hex(32))
    monkeypatch.chdir(tmp_path)
    yield tmp_path
    while NODES:
        process = NODES.pop()
        os.killpg(process.pid, signal.SIGTERM)
        process.wait()


NODES: list[subprocess.Popen[bytes]] = []


@pytest.mark.parametrize("section", SECTIONS)
def test_every_command_of_the_page_does_what_it_says(section: str, here: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    needs = {"SLURM": "submitit", "A Ray cluster": "ray", "An object store": "fsspec"}.get(section, "yaml")
    if find_spec(needs) is None:
        pytest.skip(f"{needs} is not installed")
    found = commands(section)
    assert found
    if any("cuda" in line for line in found):
        for name, value in fake_devices.environment(here / "fake").items():
            monkeypatch.setenv(name, value)
        monkeypatch.setenv("PYTHONPATH", os.pathsep.join([str(here / "fake"), os.environ["PYTHONPATH"]]))
    port, folder = free_port(), tempfile.mkdtemp(prefix="dz", dir="/tmp")  # the names of sockets must be short
    changed = {"HEAD:6379": f"127.0.0.1:{port}", "--port=6379": f"--port={port}", "/shared/": f"{here}/shared/"}
    changed |= {"s3://bucket": f"file://{here}/bucket", "file:///srv/store": f"file://{here}/store"}
    try:
        for line in found:
            for old, new in changed.items():
                line = line.replace(old, new)
            {"pip": installed, "ray": lambda line: node(line, port, folder), "dazoo": finished}[line.split()[0]](line)
            if line.startswith("dazoo run"):
                asserted(line)
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    if section == SECTIONS[1]:
        seen = (here / "fake" / "seen").read_text().splitlines()
        assert set(seen) == {"cuda 0", "cuda 1"} and 2 <= len(seen) <= 6, "one worker for each device, then two"


def finished(line: str) -> None:
    if line.startswith("dazoo run"):
        for name in ("results", "out"):
            shutil.rmtree(name, ignore_errors=True)
    done = subprocess.run(["bash", "-c", line], capture_output=True, text=True, timeout=PATIENCE)
    assert done.returncode == 0, f"{line}\n{done.stdout[-2000:]}\n{done.stderr[-4000:]}"


def asserted(line: str) -> None:
    """Every run of the suite has a good record where the command says."""
    words = shlex.split(line)
    out = words[words.index("--out") + 1] if "--out" in words else None
    job = prepare(words[2], out=out, device="cpu", retry_failed=True)
    assert job.plan.specs and not job.missing, line


def installed(line: str) -> None:
    """The extras that the page names are those of the package."""
    extras = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["optional-dependencies"]
    assert {name for asked in re.findall(r"\[(.*?)\]", line) for name in asked.split(",")} <= set(extras)


def free_port() -> int:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return int(free.getsockname()[1])


def node(line: str, port: int, folder: str) -> None:
    """A node of one core that claims to have a GPU, with a cache of its own, as on a machine of its own."""
    line += " --block --num-cpus=1 --num-gpus=1 --node-ip-address=127.0.0.1 --object-store-memory=80000000"
    if "--head" in line:
        line += f" --include-dashboard=false --temp-dir={folder}"
    quiet = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
    env = os.environ | {"DAZOO_CACHE": os.path.abspath(f"cache-{len(NODES)}")}
    NODES.append(subprocess.Popen(["bash", "-c", f"exec {line}"], env=env, start_new_session=True, **quiet))
    end = time.monotonic() + PATIENCE
    while not answers(port):
        assert time.monotonic() < end
        time.sleep(0.2)


def answers(port: int) -> bool:
    with socket.socket() as test:
        return test.connect_ex(("127.0.0.1", port)) == 0
