"""Methods between different feature spaces on more samples than they compare pairs of."""

from __future__ import annotations

import pytest
import torch

from dazoo.contracts.toys import fit_toy, toy_task
from dazoo.core.setting import Setting
from dazoo.methods.base import METHODS
from dazoo.methods.heterogeneous import _augmented, _plans, dama, hfa, shfa
from dazoo.ops.across import alignment_pencil, alignment_pencil_of_moments

FEW = Setting.of("heterogeneous_few")


def test_the_sparse_pencil_of_manifold_alignment_is_the_dense_one():
    gen = torch.Generator().manual_seed(0)
    x, y = (torch.randn(n, d, generator=gen, dtype=torch.float64) for n, d in ((40, 3), (30, 2)))
    labels = [torch.arange(40) % 3, torch.where(torch.arange(30) < 25, -1, torch.arange(30) % 3)]
    w = torch.block_diag(dama.heat_graph(x, 5), dama.heat_graph(y, 5))
    moments = torch.block_diag(dama.graph_moment(x, 5), dama.graph_moment(y, 5))
    for mine, dense in zip(
        alignment_pencil_of_moments(x, y, *labels, moments, 0.7), alignment_pencil(x, y, *labels, w, 0.7)
    ):
        torch.testing.assert_close(mine, dense, rtol=1e-10, atol=1e-9)


@pytest.mark.parametrize("name", ["entropic_gw", "hfa", "shfa", "dama"])
def test_some_samples_stand_for_all(name, monkeypatch):
    """Where all pairs are too many, instead of an error; a warning says so."""
    task = toy_task(FEW, n=90)
    hidden = task.hidden()

    def fitted():
        found = fit_toy(METHODS.get(name), task)
        right = found.predictor.predict(hidden.x).labels == hidden.y
        return float(right.double().mean()), " ".join(found.warnings)

    whole, quiet = fitted()
    for module in (_plans, _augmented, hfa, shfa):
        monkeypatch.setattr(module, "MOST", 80)
    for module in (_plans, hfa, shfa):
        monkeypatch.setattr(module, "DRAWN", 30)
    monkeypatch.setattr(dama, "DENSE", 50)
    part, told = fitted()
    assert ("is sparse" if name == "dama" else "30 samples of each domain, drawn at random") in told
    assert "drawn" not in quiet and "sparse" not in quiet and part > whole - 0.1
