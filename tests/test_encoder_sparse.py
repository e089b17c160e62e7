"""Sparse matrices through a truncated decomposition, and samples in files that are looked at where they are."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from scipy import sparse

import dazoo
from dazoo.core.errors import DazooError
from dazoo.data.raw import Sparse
from dazoo.encoders.base import create_encoder

RNG = np.random.default_rng(0)


def matrix(n: int, d: int = 300) -> sparse.csr_matrix:
    return sparse.random(n, d, 0.05, "csr", random_state=0)


def test_directions_are_the_leading_ones():
    wide = Sparse(matrix(80, 300))
    made = create_encoder("svd", dims=20).fit(wide[:50], wide[50:])
    exact = np.linalg.svd(wide.values.toarray())[1]
    assert made(wide).shape == (80, 20)
    assert np.allclose(np.linalg.svd(made(wide).numpy())[1][:5], exact[:5], rtol=0.05)


@pytest.mark.parametrize("shape", [(80, 15), (12, 300)])
def test_small_matrices_keep_all_distances(shape):
    rows = Sparse(matrix(*shape))
    made = create_encoder("svd", dims=20).fit(rows[:6], rows[6:])(rows)
    dense = torch.from_numpy(rows.values.toarray()).float()
    assert torch.allclose(torch.cdist(made, made), torch.cdist(dense, dense), atol=1e-4)


def test_nothing_but_zeros_is_refused():
    empty = Sparse(sparse.csr_matrix((5, 9)))
    with pytest.raises(DazooError, match="nothing but zeros"):
        create_encoder("svd").fit(empty, empty[:0])


def test_a_model_of_sparse_samples_from_matrices_to_a_saved_file(tmp_path):
    x, y = matrix(60), np.arange(60) % 2
    x = sparse.csr_matrix(x + sparse.csr_matrix((y[:, None] * (np.arange(300) < 5)).astype(float)))
    task = dazoo.Task.from_arrays(x[:40], y[:40], x[40:], y[40:], kind="sparse")
    assert task.target.kind == "sparse"
    model = dazoo.fit("coral", task)
    assert model.encoding.name == "svd" and dazoo.evaluate(model, task)["accuracy"] == 1.0
    dazoo.save(model, tmp_path / "m")
    assert torch.equal(dazoo.load(tmp_path / "m").predict(x[40:]).scores, model.predict(x[40:]).scores)


@pytest.mark.parametrize("mode", ["r", "c", "r+"])
@pytest.mark.parametrize("rows", [slice(None), slice(7, 33)])
def test_samples_in_a_file_are_not_copied(tmp_path, mode, rows):
    place = tmp_path / "x.npy"
    np.save(place, RNG.normal(size=(40, 3)).astype(np.float32))
    held = np.load(place, mmap_mode=mode)[rows]
    task = dazoo.Task.from_arrays(held, np.arange(len(held)) % 2, held)
    x = task.target.x
    assert torch.equal(x, torch.from_numpy(np.array(held)))
    file = np.load(place, mmap_mode="r+")
    file[rows][5] = 8.0
    file.flush()
    assert (x[5] == 8.0).all()  # a copy would not see it
    x[4] = 9.0  # and what is written stays in memory, unless the file was opened to be written to
    assert bool((np.load(place)[rows][4] == 9.0).all()) == (mode == "r+")
