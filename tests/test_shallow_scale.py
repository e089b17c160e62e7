"""Methods of second moments work on many samples: nothing of size samples x samples is ever held."""

from __future__ import annotations

import resource

import pytest
import torch

from dazoo.core.setting import UNSUPERVISED
from dazoo.core.types import Labeled, Seen, Unlabeled
from dazoo.methods.base import create_method
from tests.test_subspace import context

N = 40_000  # one N x N matrix of float64 is 12.8 GB


@pytest.mark.slow
@pytest.mark.parametrize(
    "name", ["sa", "coral", "tca", "gfk", "pca", "jda", "bda", "easytl", "sca", "jgsa", "mida", "fmmd", "ot_linear"]
)
def test_many_samples_need_little_memory(name):
    gen = torch.Generator().manual_seed(0)
    y = torch.arange(N) % 3
    centres = 4 * torch.randn(3, 6, generator=gen, dtype=torch.float64)
    xs = centres[y] + torch.randn(N, 6, generator=gen, dtype=torch.float64)
    xt = 1.1 * centres[y] + torch.randn(N, 6, generator=gen, dtype=torch.float64)
    seen = Seen(Labeled(xs, y, torch.zeros_like(y)), Unlabeled(xt), None, 3, "vector", UNSUPERVISED)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    model = create_method(name).fit(seen, context("ridge"))
    assert (model.predict(xt).labels == y).double().mean() > 0.8
    grown = (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) / 1e6  # KiB on Linux
    assert grown < 1.0, f"{name} took {grown:.1f} GB more for {N} samples per domain"


@pytest.mark.slow
def test_nearest_neighbours_of_many_samples_need_little_memory():
    gen = torch.Generator().manual_seed(0)
    x = torch.randn(N, 4, generator=gen, dtype=torch.float64)
    y = torch.arange(N) % 3
    head = context("1nn").classifier.fit(x, y, 3)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    assert torch.equal(head(x[::7]).argmax(1), y[::7])
    assert (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) / 1e6 < 1.0
