"""Whole runs on clusters of this machine: Ray with two nodes of one core each, and SLURM's commands as scripts.

    python -m pytest -m cluster

They start minutes of processes, so ``make test`` leaves them out and ``.ci/run`` asks for them.
"""

from __future__ import annotations

import os
import secrets
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest
import yaml

from dazoo.bench.records.claims import writing
from dazoo.bench.records.store import Follower
from dazoo.bench.suite_run import prepare
from tests import fake_slurm, fates
from tests.bench_tools import plain_records

pytestmark = pytest.mark.cluster
PATIENCE = 300.0

HIDDEN = '''
"""A dataset that is only where the environment says so, and source-only. y = f(x)."""
import os
from dazoo.core.errors import DazooError
from dazoo.core.paper import Paper
from dazoo.data.registry import DATASETS, Dataset, load_domain
from dazoo.methods.base import METHODS, ShallowMethod, register


def load(domain, root, **options):
    if not os.environ.get("HIDDEN_IS_HERE"):
        raise DazooError("hidden: there is no folder /hidden")
    return load_domain("digits", domain)


DATASETS.add("hidden", Dataset("hidden", ("upright", "noisy", "rotated"), load, "one", {}))


@register
class Hidden(ShallowMethod):
    paper = Paper("none", "nobody", 2024, "https://example.org")

    def fit(self, seen, ctx):
        return METHODS.get("source_only")().fit(seen, ctx)
'''


def command(suite: Path, out: Path, methods: str, *more: str) -> list[str]:
    start = [sys.executable, "-m", "dazoo.cli", "run", str(suite), "--out", str(out), "--device", "cpu"]
    return [*start, "--methods", methods, *more]


def wait_for(what: Any) -> None:
    end = time.monotonic() + PATIENCE
    while not what():
        assert time.monotonic() < end
        time.sleep(0.1)


def alone(chosen: str, out: Path, suite: dict[str, Any]) -> dict[str, Any]:
    """The records of one process, which is not this one, so that methods of files stay out of it."""
    (out.parent / "alone.yaml").write_text(yaml.safe_dump(suite))
    subprocess.run(command(out.parent / "alone.yaml", out, chosen), check=True, capture_output=True)
    return plain_records(out)


@pytest.fixture(scope="module")
def address() -> Iterator[str]:
    """A Ray cluster of two nodes with a core each; on the second one the data set ``hidden`` is not there."""
    if find_spec("ray") is None:  # it is imported by the commands alone: what it imports reads the environment
        pytest.skip("the extra ray is not installed")
    folder = tempfile.mkdtemp(prefix="dz", dir="/tmp")  # the names of sockets must be short
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    place = f"127.0.0.1:{port}"
    node = [str(Path(sys.executable).parent / "ray"), "start", "--block", "--num-cpus=1", "--node-ip-address=127.0.0.1"]
    node += ["--object-store-memory=80000000"]
    head = [*node, "--head", f"--port={port}", "--include-dashboard=false", f"--temp-dir={folder}"]
    quiet: dict[str, Any] = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
    nodes: list[subprocess.Popen[bytes]] = []
    with pytest.MonkeyPatch.context() as patch:
        # nodes and commands know a secret of this cluster alone
        patch.setenv("RAY_AUTH_MODE", "token")
        patch.setenv("RAY_AUTH_TOKEN", secrets.token_hex(32))
        patch.setenv("RAY_USAGE_STATS_ENABLED", "0")
        try:
            nodes.append(subprocess.Popen(head, env={**os.environ, "HIDDEN_IS_HERE": "1"}, **quiet))
            wait_for(lambda: _answers(port))
            nodes.append(subprocess.Popen([*node, f"--address={place}"], **quiet))
            yield place
        finally:
            for process in reversed(nodes):
                process.terminate()
                process.wait()
            shutil.rmtree(folder, ignore_errors=True)


def _answers(port: int) -> bool:
    with socket.socket() as test:
        return test.connect_ex(("127.0.0.1", port)) == 0


def test_two_commands_on_one_folder_and_a_worker_that_is_killed(address: str, tmp_path: Path) -> None:
    chosen = ",".join(["source_only", "coral", fates.fateful(tmp_path, signal.SIGKILL)])
    (tmp_path / "fates.yaml").write_text(yaml.safe_dump(fates.suite(seeds=2)))
    ray = command(tmp_path / "fates.yaml", tmp_path / "out", chosen, "--executor", "ray", "--address", address)
    both = [subprocess.Popen(ray, stderr=subprocess.PIPE, stdout=subprocess.DEVNULL) for _ in range(2)]
    for process in both:
        log = process.communicate(timeout=PATIENCE)[1]
        assert process.returncode == 0, log.decode()
    assert plain_records(tmp_path / "out") == alone(chosen, tmp_path / "alone", fates.suite(seeds=2))
    assert not (tmp_path / "out" / "claims").exists() and list(tmp_path.glob("0.*"))


def test_a_command_that_is_killed_takes_its_actors_along_and_the_next_goes_on(address: str, tmp_path: Path) -> None:
    suite = fates.suite(methods=["source_only", "coral", "sa", "tca"], seeds=6)
    (tmp_path / "suite.yaml").write_text(yaml.safe_dump(suite))
    out, follower = tmp_path / "out", Follower(tmp_path / "out")
    ray = command(tmp_path / "suite.yaml", out, "*", "--executor", "ray", "--address", address, "--jobs", "2")
    process = subprocess.Popen(ray, stderr=subprocess.DEVNULL, stdout=subprocess.DEVNULL)
    wait_for(follower.new_keys)
    process.send_signal(signal.SIGKILL)
    process.wait()
    wait_for(lambda: not writing(out))
    assert 0 < len(prepare(suite, out=out).missing) < 72
    subprocess.run(ray, check=True, capture_output=True, timeout=PATIENCE)
    assert plain_records(out) == alone("*", tmp_path / "alone", suite)


def test_a_node_without_the_data_says_so_and_the_other_does_its_runs(address: str, tmp_path: Path) -> None:
    (tmp_path / "hidden.py").write_text(HIDDEN)
    suite = {**fates.suite(), "dataset": "hidden", "tasks": ["upright->noisy", "upright->rotated"]}
    (tmp_path / "suite.yaml").write_text(yaml.safe_dump(suite))
    more = ["--executor", "ray", "--address", address, "--jobs", "2"]
    ray = command(tmp_path / "suite.yaml", tmp_path / "out", str(tmp_path / "hidden.py"), *more)
    done = subprocess.run(ray, env={**os.environ, "HIDDEN_IS_HERE": "1"}, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    said = " ".join(done.stderr.split())
    assert "takes no part: it cannot read hidden/upright, which the command can: hidden: there is no folder" in said
    found = plain_records(tmp_path / "out")
    assert len(found) == 6 and {r["status"] for r in found.values()} == {"ok"}


def test_an_array_of_slurm_queues_again_what_is_told_to_go(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("submitit", reason="the extra slurm is not installed")
    fake_slurm.install(tmp_path / "bin")
    monkeypatch.setenv("PATH", f"{tmp_path / 'bin'}:{os.environ['PATH']}")
    chosen = ",".join(["source_only", fates.fateful(tmp_path, signal.SIGUSR2)])
    (tmp_path / "fates.yaml").write_text(yaml.safe_dump(fates.suite()))
    options = ["--with", "partition=short", "--with", "sbatch:reservation=ours", "--with", "minutes=0.05"]
    slurm = command(tmp_path / "fates.yaml", tmp_path / "out", chosen, "--executor", "slurm", "--jobs", "2", *options)
    done = subprocess.run(slurm, capture_output=True, text=True, timeout=PATIENCE)
    assert done.returncode == 0, done.stderr
    script = (tmp_path / "bin" / "submitted").read_text()
    assert "--partition=short" in script and "--reservation=ours" in script and "%2" in script
    assert plain_records(tmp_path / "out") == alone(chosen, tmp_path / "alone", fates.suite())
    assert not (tmp_path / "out" / "jobs").exists()
