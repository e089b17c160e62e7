"""Limits and invariances: zero at equality, symmetry, signs and sizes of gradients, transport plans, scores."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from dazoo.core.errors import DazooError
from dazoo.ops import (
    adversarial,
    classwise,
    discrepancy,
    entropy,
    kernels,
    mmd,
    moments,
    norms,
    perturb,
    reversal,
)
from dazoo.ops.linalg.linear import unit_rows


def normal(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


# -- reversal ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("s", [0.0, 0.3, 1.0, 5.0])
def test_reversal_is_the_identity_with_gradient_minus_s(s: float) -> None:
    x = normal(4, 3).requires_grad_()
    out = reversal.reverse_gradient(x, s)
    torch.testing.assert_close(out, x, rtol=1e-14, atol=1e-14)
    upstream = normal(4, 3, seed=1)
    (grad,) = torch.autograd.grad(out, x, upstream)
    torch.testing.assert_close(grad, -s * upstream)
    (scaled,) = torch.autograd.grad(reversal.scale_gradient(x, s), x, upstream)
    torch.testing.assert_close(scaled, s * upstream)


def test_reversal_under_vmap_with_a_strength_per_member() -> None:
    x, s = normal(3, 4), torch.tensor([0.0, 0.5, 2.0], dtype=torch.float64)
    grads = torch.func.vmap(torch.func.grad(lambda v, k: reversal.reverse_gradient(v, k).sum()))(x, s)
    torch.testing.assert_close(grads, -s[:, None].expand(3, 4))


def test_reversal_turns_the_body_against_the_discriminator() -> None:
    x, w = normal(6, 3), normal(3, 1, seed=1).requires_grad_()
    body = nn.Linear(3, 3, dtype=torch.float64)

    def grads(s: float | None) -> tuple[Tensor, Tensor]:
        f = body(x)
        z = (f if s is None else reversal.reverse_gradient(f, s)) @ w
        return torch.autograd.grad(adversarial.domain_bce(z, 3), (body.weight, w))

    plain, reversed_ = grads(None), grads(0.25)
    torch.testing.assert_close(reversed_[0], -0.25 * plain[0])
    torch.testing.assert_close(reversed_[1], plain[1])
    assert float(plain[0].norm()) > 0


# -- zero at equality, symmetry, invariance ---------------------------------------------------------------------------

DISTANCES = {
    "mmd": mmd.mmd,
    "linear_mmd": mmd.linear_mmd,
    "coral": moments.coral,
    "log_coral": moments.log_coral,
    "central_moments": moments.central_moments,
    "higher_order": moments.higher_order,
    "mean_difference": moments.mean_difference,
    "swd": lambda a, b: discrepancy.swd(a, b, normal(5, 4, seed=9)),
    "mcd": discrepancy.mcd,
    "symmetric_kl": discrepancy.symmetric_kl,
    "rsd": norms.rsd,
    "daregram": norms.daregram,
}


@pytest.mark.parametrize("name", sorted(DISTANCES))
def test_distances_vanish_at_equality_are_positive_and_symmetric(name: str) -> None:
    d = DISTANCES[name]
    n = 2 if name == "rsd" else 8
    a, b = normal(n, 5), normal(n, 5, seed=1) * 1.5 + 0.5
    # sines and norms of rounding errors are of the order of their square roots
    assert abs(float(d(a, a.clone()))) < 1e-6
    assert float(d(a, b)) > 1e-3
    if name != "rsd":
        assert float(d(a, b)) == pytest.approx(float(d(b, a)), rel=1e-10)


@pytest.mark.parametrize("name", ["mmd", "coral", "mean_difference", "central_moments", "higher_order", "log_coral"])
def test_order_of_rows_does_not_matter(name: str) -> None:
    a, b = normal(8, 5), normal(8, 5, seed=1)
    order = torch.tensor([3, 1, 0, 7, 5, 6, 2, 4])
    assert float(DISTANCES[name](a[order], b)) == pytest.approx(float(DISTANCES[name](a, b)), rel=1e-10)


def test_kernel_bandwidth_follows_the_scale_and_ignores_the_offset() -> None:
    a, b = normal(8, 5), normal(8, 5, seed=1) + 1.0
    base = float(mmd.mk_mmd(a, b))
    assert float(mmd.mk_mmd(100 * a, 100 * b)) == pytest.approx(base, rel=1e-10)
    assert float(mmd.mk_mmd(0.01 * a + 7, 0.01 * b + 7)) == pytest.approx(base, rel=1e-9)


def test_unbiased_mmd_is_zero_on_average_without_shift_and_positive_with_it() -> None:
    same = [float(mmd.mk_mmd(normal(16, 3, seed=2 * i), normal(16, 3, seed=2 * i + 1))) for i in range(200)]
    linear = [float(mmd.mk_mmd_linear(normal(16, 3, seed=2 * i), normal(16, 3, seed=2 * i + 1))) for i in range(200)]
    for values in (same, linear):
        assert abs(np.mean(values)) < 4 * np.std(values) / math.sqrt(200)
    assert float(mmd.mk_mmd(normal(16, 3), normal(16, 3, seed=1) + 1)) > 5 * np.std(same)


@pytest.mark.parametrize("name", ["mk_mmd", "coral", "central_moments", "log_coral", "swd", "daregram"])
def test_gradient_descent_closes_the_gap(name: str) -> None:
    d = DISTANCES.get(name, mmd.mk_mmd)
    a, b = normal(16, 5).requires_grad_(), normal(16, 5, seed=1) * 1.5 + 1.0
    (grad,) = torch.autograd.grad(d(a, b), a)
    step = 0.1 * float(a.detach().norm() / grad.norm()) * 0.1
    assert float(d(a.detach() - step * grad, b)) < float(d(a.detach(), b))


def test_entropy_limits() -> None:
    uniform, certain = torch.full((3, 4), 0.25, dtype=torch.float64), torch.eye(4, dtype=torch.float64)
    assert float(entropy.entropy_mean(uniform, 0)) == pytest.approx(math.log(4))
    assert float(entropy.entropy_mean(certain, 0)) == 0.0
    assert float(entropy.info_max(1e3 * certain, 0)) == pytest.approx(-math.log(4))
    assert float(entropy.mcc(1e4 * certain)) == pytest.approx(0.0, abs=1e-12)
    assert float(entropy.mcc(uniform)) == pytest.approx(3 / 4)
    assert float(entropy.mcc(torch.ones(3, 1, dtype=torch.float64))) == 0.0
    assert float(entropy.bnm(certain)) == pytest.approx(-1.0)
    assert float(entropy.tsallis(uniform, 1 + 1e-7)) == pytest.approx(math.log(4), rel=1e-5)
    assert float(entropy.entropy_weights(normal(6, 4).softmax(1)).sum()) == pytest.approx(6.0)
    with pytest.raises(DazooError, match="alpha = 1"):
        entropy.tsallis(uniform, 1.0)


def test_domain_loss_is_exact_where_logits_saturate() -> None:
    z = torch.tensor([-50.0, 200.0, 50.0, -200.0], dtype=torch.float64).requires_grad_()
    value = adversarial.domain_bce(z, 2)
    (grad,) = torch.autograd.grad(value, z)
    assert float(value.detach()) == pytest.approx(0.25 * 100.0)
    torch.testing.assert_close(grad, torch.tensor([-0.25, 0.0, 0.25, 0.0], dtype=torch.float64))
    # through the probability the logarithm is cut at -100 and the gradient is lost
    value = adversarial.domain_bce(z, 2, saturate=True)
    (grad,) = torch.autograd.grad(value, z)
    assert float(value.detach()) == pytest.approx(0.25 * 150.0)
    assert float(grad.abs().max()) < 1e-6
    with pytest.raises(DazooError, match="both domains"):
        adversarial.domain_bce(z, 4)


def test_stepwise_norm_grows_every_row_by_the_same_step() -> None:
    f = normal(5, 3).requires_grad_()
    value = norms.afn(f, 0.5)
    (grad,) = torch.autograd.grad(value, f)
    assert float(value.detach()) == pytest.approx(0.25)
    torch.testing.assert_close(grad, -2 * 0.5 / 5 * f.detach() / f.detach().norm(dim=1, keepdim=True))


def test_rsd_is_the_sum_of_the_sines_of_the_angles() -> None:
    angle = 0.4
    a = torch.zeros(2, 6, dtype=torch.float64)
    b = torch.zeros(2, 6, dtype=torch.float64)
    a[0, 0], a[1, 1] = 2.0, 1.0
    b[0, 0], b[0, 2], b[1, 3] = 2 * math.cos(angle), 2 * math.sin(angle), 1.0
    assert float(norms.rsd(a, b, 0.0)) == pytest.approx(math.sin(angle) + 1.0)


def test_errors_name_the_sizes() -> None:
    a = normal(4, 3)
    with pytest.raises(DazooError, match="as many source as target rows, not 4 and 3"):
        mmd.mk_mmd_linear(a, a[:3])
    with pytest.raises(DazooError, match="one kernel per layer"):
        mmd.joint_mmd((a, a), (a, a), (kernels.multi_gaussian,))
    with pytest.raises(DazooError, match="equally many rows"):
        discrepancy.swd(a, a[:3], normal(3, 2))


# -- classes ----------------------------------------------------------------------------------------------------------


def test_class_losses_do_not_mix_up_absent_classes() -> None:
    f, g = normal(6, 3), normal(6, 3, seed=1)
    few = classwise.one_hot(torch.tensor([0, 0, 1, 1, 1, 0]), 2, torch.float64)
    many = torch.cat([few, torch.zeros(6, 5, dtype=torch.float64)], 1)
    for loss in (classwise.lmmd, classwise.cdd):
        assert float(loss(f, g, few, few.flip(0))) == pytest.approx(float(loss(f, g, many, many.flip(0))), rel=1e-12)
    nothing = torch.zeros_like(few)
    assert float(classwise.lmmd(f, g, nothing, few)) == 0.0
    assert float(classwise.cdd(f, g, few, nothing)) == 0.0


def test_local_mmd_of_one_class_is_the_biased_mmd() -> None:
    f, g, one = normal(6, 3), normal(7, 3, seed=1), torch.ones(7, 1, dtype=torch.float64)
    k = kernels.multi_gaussian(kernels.squared_distances(torch.cat([f, g])))
    assert float(classwise.lmmd(f, g, one[:6], one)) == pytest.approx(float(mmd.mmd_of_kernel(k, 6)), rel=1e-12)


def test_cdd_rewards_separated_aligned_classes() -> None:
    hot = classwise.one_hot(torch.arange(8) % 2, 2, torch.float64)
    centres = torch.tensor([[4.0, 0.0], [-4.0, 0.0]], dtype=torch.float64)
    aligned = classwise.cdd(hot @ centres + 0.1 * normal(8, 2), hot @ centres + 0.1 * normal(8, 2, seed=1), hot, hot)
    swapped = classwise.cdd(hot @ centres + 0.1 * normal(8, 2), hot @ -centres + 0.1 * normal(8, 2, seed=1), hot, hot)
    assert float(aligned) < -1.0 < 1.0 < float(swapped)


# -- perturbations ----------------------------------------------------------------------------------------------------


def test_virtual_adversarial_direction_beats_random_ones() -> None:
    w = normal(10, 4)
    x = normal(6, 10, seed=1)

    def f(v: Tensor) -> Tensor:
        return v @ w

    d = perturb.vat_direction(f, x, normal(6, 10, seed=2), steps=5)
    torch.testing.assert_close(d.norm(dim=1), torch.ones(6, dtype=torch.float64))

    def change(direction: Tensor) -> float:
        return float(perturb.kl_of_logits(f(x), f(x + 0.1 * direction)))

    others = [change(unit_rows(normal(6, 10, seed=s))) for s in range(3, 30)]
    assert change(d) > max(others)
    assert float(perturb.vat(f, x, normal(6, 10, seed=2), 0.1, steps=5)) == pytest.approx(change(d), rel=1e-10)


def test_virtual_adversarial_loss_trains_the_network_and_not_the_input() -> None:
    net = nn.Sequential(nn.Linear(4, 8), nn.BatchNorm1d(8), nn.ReLU(), nn.Linear(8, 3)).double()
    x = normal(6, 4).requires_grad_()
    loss = perturb.vat(net, x, normal(6, 4, seed=1), 0.5)
    grads = torch.autograd.grad(loss, [x, *net.parameters()], allow_unused=True)
    assert grads[0] is None
    assert all(g is not None and bool(torch.isfinite(g).all()) for g in grads[1:])
    assert float(grads[1].norm()) > 0  # type: ignore[union-attr]
