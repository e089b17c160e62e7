"""Gradient methods on domains that stay on disk: any file, windows in memory, the same bits after a kill."""

from __future__ import annotations

import io
import signal
import subprocess
import sys
import tarfile
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch

import dazoo
from dazoo.contracts.failure import difference
from dazoo.core.blocks import Blocks
from dazoo.core.errors import DazooError
from dazoo.data import block_files
from dazoo.data.block_files import open_blocks
from dazoo.data.windows import Windows
from dazoo.engine.feed import Feed
from dazoo.engine.fit import fit
from dazoo.engine.train import Loop
from dazoo.methods.base import create_method
from dazoo.ops.rows import drawn_rows
from tests.toys import options_for

N, D, WINDOW = 160, 6, 48
X = np.random.default_rng(0).standard_normal((N, D)).astype(np.float32) + (np.arange(N) % 2)[:, None]
Y = np.arange(N) % 2


def written(folder: Path, kind: str) -> Path:
    """The same samples in four files of a kind."""
    folder = folder / kind
    folder.mkdir()
    for k, rows in enumerate(np.array_split(np.arange(N), 4)):
        path = folder / f"part{k}.{kind}"
        if kind == "npy":
            np.save(path, X[rows].astype(np.float16))
        elif kind == "parquet":
            frame = pd.DataFrame(X[rows], columns=[f"f{i}" for i in range(D)]).assign(label=Y[rows])
            frame.to_parquet(path, row_group_size=7)
        else:
            with tarfile.open(path, "w") as tar:
                for i in rows:
                    buffer = io.BytesIO()
                    np.save(buffer, X[i])
                    for ending, data in (("npy", buffer.getvalue()), ("cls", str(Y[i]).encode())):
                        entry = tarfile.TarInfo(f"{i:06d}.{ending}")
                        entry.size = len(data)
                        tar.addfile(entry, io.BytesIO(data))
    return folder


def task_of(blocks: Blocks) -> dazoo.Task:
    return dazoo.Task.from_arrays(blocks, Y, X + 0.5)


@pytest.mark.parametrize("kind", ["npy", "parquet", "tar"])
def test_all_files_hold_the_same_samples(kind, tmp_path):
    blocks = open_blocks(written(tmp_path, kind))
    wanted = torch.from_numpy(X.astype(np.float16)) if kind == "npy" else torch.from_numpy(X)
    assert torch.equal(torch.cat(list(blocks.blocks(9))), wanted)
    rows = torch.tensor([159, 3, 4, 5, 80, 3])
    assert torch.equal(blocks[rows], wanted[rows]) and torch.equal(blocks[37:45], wanted[37:45])
    assert torch.equal(blocks.chosen(rows)[1:4], wanted[rows[1:4]])
    assert kind == "npy" or np.array_equal(blocks.y, Y)
    assert blocks.cuts(10)[-1] == N


def test_parquet_holds_features_as_lists_too(tmp_path):
    table = pd.DataFrame({"embedding": list(X.astype(np.float64)), "age": Y, "label": Y})
    table.to_parquet(tmp_path / "x.parquet", row_group_size=50)
    blocks = open_blocks(tmp_path / "x.parquet")
    assert blocks.shape == (N, D + 1) and torch.equal(blocks[40:60], torch.from_numpy(np.c_[X, Y])[40:60].double())
    table["embedding"] = [v[: D - i // 60] for i, v in enumerate(table["embedding"])]
    for rows, said in ((slice(None), "every row"), (slice(0, 120), "another")):
        table[rows].to_parquet(tmp_path / "x.parquet", row_group_size=60 if said == "another" else N)
        with pytest.raises(DazooError, match=said):
            open_blocks(tmp_path / "x.parquet")[0:120]


def test_opening_shards_decodes_none(tmp_path, monkeypatch):
    """Their heads say how many samples they hold and of which shape."""
    Image = pytest.importorskip("PIL.Image")
    for k in range(2):
        with tarfile.open(tmp_path / f"{k}.tar", "w") as tar:
            for i in range(3):
                buffer = io.BytesIO()
                Image.fromarray(np.full((4, 5, 3), 10 * i, np.uint8)).save(buffer, "PNG")
                entry = tarfile.TarInfo(f"{i}.png")
                entry.size = len(buffer.getvalue())
                tar.addfile(entry, io.BytesIO(buffer.getvalue()))
    with monkeypatch.context() as patch:
        patch.setattr(block_files, "_whole", None)
        blocks = open_blocks(tmp_path)
    assert blocks.shape == (6, 4, 5, 3) and blocks.dtype == torch.uint8 and blocks.y is None
    monkeypatch.setattr(block_files, "RECENT_BYTES", 1)
    assert torch.equal(blocks[2:5][:, 0, 0, 0], torch.tensor([20, 0, 10])) and len(block_files._RECENT) == 1


def test_a_draw_decodes_each_shard_once(tmp_path, monkeypatch):
    """Without a reservoir: the number of samples is known, so rows are drawn first, and read in their order."""
    blocks, whole, read = open_blocks(written(tmp_path, "tar")), block_files._whole, []
    monkeypatch.setattr(block_files, "_whole", lambda *given: read.append(1) or whole(*given))
    monkeypatch.setattr(block_files, "RECENT", 1)
    rows = drawn_rows(N, N // 2, torch.Generator().manual_seed(0))
    assert len(rows.unique()) == N // 2 and torch.equal(blocks[rows], torch.from_numpy(X)[rows])
    assert len(read) == N


def test_what_is_no_data_gets_a_sentence(tmp_path):
    with pytest.raises(DazooError, match="one kind"):
        open_blocks(tmp_path)
    (tmp_path / "x.tar").write_bytes(b"no archive")
    with pytest.raises(DazooError, match="no readable shard"):
        open_blocks(tmp_path)


def test_windows_of_a_pass_are_random_and_disjoint():
    windows = Windows(np.linspace(0, N, 41).astype(np.int64), WINDOW, 0)
    parts = [windows.rows(k) for k in range(windows.per_pass)]
    every = torch.cat(parts)
    assert len(every.unique()) == len(every) > N - WINDOW and max(map(len, parts)) <= WINDOW
    assert not torch.equal(windows.rows(0), windows.rows(windows.per_pass))
    assert torch.equal(Windows(windows.cuts, N, 0).rows(5), torch.arange(N))
    uneven = Windows(np.array([0, 30, 32, 40, 45, 60, 61, N]), WINDOW + 60, 0)
    held = [uneven.rows(k) for k in range(uneven.per_pass)]
    assert max(map(len, held)) <= uneven.size and len(torch.cat(held).unique()) == sum(map(len, held))


def test_one_window_of_all_is_training_in_memory(tmp_path):
    blocks = open_blocks(written(tmp_path, "tar"))
    inside, outside = (
        fit(create_method("dann"), task_of(x).seen(), seed=0, options=options_for("dann")) for x in (X, blocks)
    )
    assert not difference(inside.predictor, outside.predictor)


@pytest.mark.parametrize(("name", "kind"), [("dann", "npy"), ("atdoc", "parquet"), ("dine", "npy")])
def test_a_stopped_run_reads_its_windows_again(name, kind, tmp_path, monkeypatch):
    """With banks and pseudo-labels of what is in memory, and never more than a window of it."""
    blocks = open_blocks(written(tmp_path, kind))
    task = dazoo.Task.from_arrays(blocks, Y, blocks)
    if name == "dine":
        task = task.change(setting="black_box")
    options = options_for(name, save_every=0.0, window=WINDOW)
    held: list[int] = []
    call = Feed.__call__

    def counted(self, memory):
        held.extend(len(v) for v in (*self.x.values(), *memory.values()) if v.ndim)
        return call(self, memory)

    monkeypatch.setattr(Feed, "__call__", counted)
    whole = fit(create_method(name), task.seen(), seed=0, options=options)
    assert max(held) <= WINDOW
    save = Loop._save

    def save_and_stop(self, path):
        save(self, path)
        if self.step == 7:
            raise KeyboardInterrupt

    state = tmp_path / "state.pt"
    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(Loop, "_save", save_and_stop)
        fit(create_method(name), task.seen(), seed=0, options=options, state=state)
    again = fit(create_method(name), task.seen(), seed=0, options=options, state=state)
    assert not difference(whole.predictor, again.predictor) and whole.curves == again.curves


KILLED = """
import os, signal, sys
from pathlib import Path
from dazoo.engine.train import Loop
from tests.test_on_disk_training import killable
save = Loop._save
def save_and_die(self, path):
    save(self, path)
    if self.step == 7:
        os.kill(os.getpid(), signal.SIGKILL)
Loop._save = save_and_die
killable(Path(sys.argv[1]), Path(sys.argv[2]))
"""


def killable(folder: Path, state: Path | None):
    """A run on tar shards in windows of a shard."""
    task = task_of(open_blocks(folder))
    return fit(
        create_method("dann"), task.seen(), options=options_for("dann", save_every=0.0, window=WINDOW), state=state
    )


def test_a_killed_process_goes_on_with_the_same_bits(tmp_path):
    folder, state = written(tmp_path, "tar"), tmp_path / "state.pt"
    ended = subprocess.run([sys.executable, "-c", KILLED, str(folder), str(state)], capture_output=True, text=True)
    assert ended.returncode == -signal.SIGKILL, ended.stderr
    assert state.is_file()
    assert not difference(killable(folder, state).predictor, killable(folder, None).predictor)
