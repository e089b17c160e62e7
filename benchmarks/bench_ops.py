"""Time of the pure functions on batches of the usual size: 64 samples a domain, 256 features, 31 classes."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from pytest_benchmark.fixture import BenchmarkFixture
from torch import Tensor

from dazoo.nets import augment
from dazoo.ops import adversarial, classwise, discrepancy, entropy, kernels, mmd, moments, transport
from dazoo.ops.linalg import linear, spectral

torch.set_num_threads(1)
GEN = torch.Generator().manual_seed(0)
FS, FT = (torch.randn(64, 256, generator=GEN) + shift for shift in (0.0, 0.3))
LS, LT = torch.randn(64, 31, generator=GEN), torch.randn(64, 31, generator=GEN)
PS, PT = LS.softmax(1), LT.softmax(1)
Y = torch.randint(0, 31, (64,), generator=GEN)
DOMAIN = torch.randn(128, generator=GEN)
XS, XT = (torch.randn(n, 800, generator=GEN, dtype=torch.float64) for n in (958, 295))
PHOTOS = torch.randint(0, 256, (32, 256, 256, 3), generator=GEN, dtype=torch.uint8)
VIEW = augment.ImageView(224, crop=0.875)

OPS: dict[str, Callable[[], object]] = {
    "squared_distances": lambda: kernels.squared_distances(FS, FT),
    "mk_mmd": lambda: mmd.mk_mmd(FS, FT),
    "mk_mmd_linear": lambda: mmd.mk_mmd_linear(FS, FT),
    "coral": lambda: moments.coral(FS, FT),
    "central_moments": lambda: moments.central_moments(FS, FT),
    "lmmd": lambda: classwise.lmmd(FS, FT, classwise.one_hot(Y, 31), PT),
    "domain_bce": lambda: adversarial.domain_bce(DOMAIN, 64),
    "conditional_map": lambda: adversarial.conditional_map(PS, FS),
    "mcc": lambda: entropy.mcc(LT),
    "bnm": lambda: entropy.bnm(PT),
    "info_max": lambda: entropy.info_max(LT),
    "mcd": lambda: discrepancy.mcd(PS, PT),
    "joint_cost_and_emd": lambda: transport.emd_plan(transport.feature_cost(FS, FT)),
    "sinkhorn_plan": lambda: transport.sinkhorn_plan(transport.feature_cost(FS, FT)),
}
LARGE: dict[str, Callable[[], object]] = {
    "squared_distances_958x295x800": lambda: linear.distances_between(XS, XT),
    "covariance_958x800": lambda: linear.mean_and_covariance(XS),
    "ridge_power_958x800": lambda: linear.ridge_power(XS, 1.0, -0.5),
    "principal_components_958x800": lambda: spectral.principal_components(XS, 20),
    "eval_images_32x224": lambda: augment.eval_images(PHOTOS, VIEW),
    "weak_images_32x224": lambda: augment.weak_images(PHOTOS, VIEW, GEN),
    "strong_images_32x224": lambda: augment.strong_images(PHOTOS, VIEW, GEN),
}


@pytest.mark.parametrize("name", OPS)
def test_op(benchmark: BenchmarkFixture, name: str) -> None:
    benchmark.group = "ops, one batch"
    benchmark.pedantic(OPS[name], rounds=30, iterations=3, warmup_rounds=3)


@pytest.mark.parametrize("name", LARGE)
def test_large_op(benchmark: BenchmarkFixture, name: str) -> None:
    benchmark.group = "ops, whole domains"
    benchmark.pedantic(LARGE[name], rounds=3, warmup_rounds=1)


@pytest.mark.parametrize("loss", [mmd.mk_mmd, moments.coral], ids=["mk_mmd", "coral"])
def test_gradient(benchmark: BenchmarkFixture, loss: Callable[[Tensor, Tensor], Tensor]) -> None:
    def both_ways() -> object:
        f = FS.clone().requires_grad_(True)
        return torch.autograd.grad(loss(f, FT), f)

    benchmark.group = "ops, forward and backward"
    benchmark.pedantic(both_ways, rounds=30, iterations=3, warmup_rounds=3)
