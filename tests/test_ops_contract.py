"""What every training loss owes: right gradients, also under vmap, both precisions, no NaN on degenerate batches."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import Tensor

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
    openset,
    partial,
    perturb,
    reversal,
)

N, D, C = 6, 14, 4
Loss = Callable[[Tensor, Tensor, Tensor], Tensor]


def head(x: Tensor) -> Tensor:
    """Logits (n, C) that depend on all features."""
    weights = torch.sin(torch.arange(x.shape[1] * C, dtype=x.dtype) + 1.0).reshape(x.shape[1], C)
    return x @ weights


def prob(x: Tensor) -> Tensor:
    return torch.softmax(head(x), 1)


def hot(y: Tensor, x: Tensor) -> Tensor:
    return classwise.one_hot(y, C, x.dtype)


def directions(x: Tensor) -> Tensor:
    return torch.nn.functional.normalize(torch.cos(torch.arange(C * 3, dtype=x.dtype)).reshape(C, 3), dim=0)


def both(s: Tensor, t: Tensor) -> Tensor:
    return torch.cat([s, t])


def median_mmd(s: Tensor, t: Tensor, y: Tensor) -> Tensor:
    sq = kernels.squared_distances(both(s, t))
    return mmd.mmd_of_kernel(kernels.rbf(both(s, t), gamma=1.0 / kernels.median_distance(sq).clamp_min(1e-6)), len(s))


def cdan_e(s: Tensor, t: Tensor, y: Tensor) -> Tensor:
    p = prob(both(s, t)).detach()
    z = torch.tanh(adversarial.conditional_map(p, both(s, t))).sum(1)
    return adversarial.domain_bce_joint(z, len(s), entropy.entropy_weights(p))


def random_cdan(s: Tensor, t: Tensor, y: Tensor) -> Tensor:
    rf = torch.cos(torch.arange(s.shape[1] * 5, dtype=s.dtype)).reshape(s.shape[1], 5)
    rp = torch.sin(torch.arange(C * 5, dtype=s.dtype)).reshape(C, 5)
    z = adversarial.random_map(prob(both(s, t)), both(s, t), rp, rf).sum(1)
    return adversarial.domain_bce(z, len(s))


def centroids(s: Tensor, t: Tensor, y: Tensor) -> Tensor:
    mu_s, in_s = classwise.class_means(s, hot(y, s))
    mu_t, in_t = classwise.class_means(t, prob(t))
    return classwise.centroid_distance(classwise.moving_means(mu_s * 0.5, mu_s, in_s, 0.7), mu_t, in_s * in_t)


def hard(x: Tensor) -> Tensor:
    return classwise.one_hot(prob(x).argmax(1), C, x.dtype)


SMOOTH: dict[str, Loss] = {
    "linear_mmd": lambda s, t, y: mmd.linear_mmd(s, t),
    "linear_kernel": lambda s, t, y: mmd.mmd(s, t, kernels.linear_kernel),
    "mmd": lambda s, t, y: mmd.mmd_of_kernel(kernels.rbf(both(s, t), gamma=0.05), len(s)),
    "mmd_unbiased": lambda s, t, y: mmd.mmd_of_kernel(kernels.rbf(both(s, t), gamma=0.05), len(s), unbiased=True),
    "coral": lambda s, t, y: moments.coral(s, t),
    "central_moments": lambda s, t, y: moments.central_moments(s, t),
    "higher_order": lambda s, t, y: moments.higher_order(s, t),
    "higher_order_index": lambda s, t, y: moments.higher_order(s, t, index=torch.tensor([[0, 1, 0], [1, 1, 1]])),
    "domain_bce": lambda s, t, y: adversarial.domain_bce(both(s, t)[:, 0], len(s)),
    "domain_confusion": lambda s, t, y: adversarial.domain_confusion(s[:, 0]),
    "least_squares_domain": lambda s, t, y: adversarial.least_squares_domain(both(s, t)[:, :1], len(s)),
    "critic_gap": lambda s, t, y: adversarial.critic_gap(both(s, t)[:, 0] ** 2, len(s)),
    "random_cdan": random_cdan,
    "entropy_mean": lambda s, t, y: entropy.entropy_mean(prob(s)),
    "entropy_exact": lambda s, t, y: entropy.entropy_mean(prob(s), 0),
    "entropy_of_logits": lambda s, t, y: entropy.entropy_of_logits(head(s)).mean(),
    "diversity": lambda s, t, y: entropy.diversity(prob(s)),
    "info_max": lambda s, t, y: entropy.info_max(head(s)),
    "bnm": lambda s, t, y: entropy.bnm(prob(s)),
    "fbnm": lambda s, t, y: entropy.fbnm(prob(s)),
    "tsallis": lambda s, t, y: entropy.tsallis(prob(s), 1.7),
    "max_square": lambda s, t, y: entropy.max_square(prob(s)),
    "mcd": lambda s, t, y: discrepancy.mcd(prob(s), prob(t)),
    "mdd": lambda s, t, y: discrepancy.mdd(head(s).detach(), head(s) * 2, head(t).detach(), head(t) * 0.5),
    "swd": lambda s, t, y: discrepancy.swd(prob(s), prob(t), directions(s)),
    "nwd": lambda s, t, y: discrepancy.nwd(prob(s), prob(t)),
    "symmetric_kl": lambda s, t, y: discrepancy.symmetric_kl(head(s), head(t)),
    "osbp": lambda s, t, y: openset.osbp(head(s)),
    "one_vs_all": lambda s, t, y: openset.one_vs_all(torch.stack([head(s), head(-(s**2))], 2), hot(y, s)),
    "one_vs_all_entropy": lambda s, t, y: openset.one_vs_all_entropy(torch.stack([head(s), head(-s)], 2)),
    "afn_hard": lambda s, t, y: norms.afn_hard(s, 3.0),
    "bsp": lambda s, t, y: norms.bsp(s, t),
    "bss": lambda s, t, y: norms.bss(s, 2),
    "rsd": lambda s, t, y: norms.rsd(s, t),
    "centroids": centroids,
    "center_loss": lambda s, t, y: classwise.center_loss(s, hot(y, s), t[:C]),
    "center_separation": lambda s, t, y: classwise.center_separation(s, 40.0),
    "prototype_logits": lambda s, t, y: classwise.prototype_logits(s, t, 1.0).square().mean(),
    "supervised_contrastive": lambda s, t, y: classwise.supervised_contrastive(s, hot(y, s), 0.5),
    "kl_of_logits": lambda s, t, y: perturb.kl_of_logits(head(s), head(t)),
    "weighted_cross_entropy": lambda s, t, y: partial.weighted_cross_entropy(head(s), y, hot(y, s)[:, 0] + 0.5),
    "leaky_one_vs_rest": lambda s, t, y: partial.leaky_one_vs_rest(head(s), hot(y, s)),
    "leaky_domain_bce": lambda s, t, y: partial.leaky_domain_bce(head(s), head(t)),
    "mixup": lambda s, t, y: perturb.mixup(s, 0.3, torch.arange(len(s) - 1, -1, -1)).square().mean(),
    # with fixed kernels: the classes' weights are constants
    "lmmd": lambda s, t, y: classwise.lmmd(
        s, t, hot(y, s), prob(t).detach().round(), kernels.rbf(both(s, t), gamma=0.05)
    ),
    "cdd": lambda s, t, y: classwise.cdd(s, t, hot(y, s), hard(t), kernels.rbf(both(s, t), gamma=0.05)),
}

# parts of these carry no gradient on purpose, or the pseudo-inverse changes rank: finite differences do not apply
DETACHED: dict[str, Loss] = {
    "cdan_e": cdan_e,
    "soft_cross_entropy": lambda s, t, y: perturb.soft_cross_entropy(head(s), prob(t).detach()),
    "selected_domain_bce": lambda s, t, y: partial.selected_domain_bce(
        head(both(s, t)), len(s), prob(both(s, t)), partial.class_weights(head(t))
    ),
    "complement_entropy": lambda s, t, y: partial.complement_entropy(head(s), y, partial.mean_prediction(head(t))[y]),
    "borrowed_domain_bce": lambda s, t, y: partial.borrowed_domain_bce(
        both(both(s, t), s)[:, 0], len(s), len(t), both(both(s, t), s).square().mean(1), 0.5
    ),
    "outlier_weights": lambda s, t, y: (partial.outlier_weights(s[:, 0]) * t[:, 0]).mean(),
    "transferability": lambda s, t, y: (partial.transferability(head(s)) * t[:, 0]).mean(),
    "mk_mmd": lambda s, t, y: mmd.mk_mmd(s, t),
    "mk_mmd_linear": lambda s, t, y: mmd.mk_mmd_linear(s, t),
    "joint_mmd": lambda s, t, y: mmd.joint_mmd((s, prob(s)), (t, prob(t))),
    "mmd_default": lambda s, t, y: mmd.mmd(s, t),
    "median_mmd": median_mmd,
    "log_coral": lambda s, t, y: moments.log_coral(s, t),
    "domain_bce_saturate": lambda s, t, y: adversarial.domain_bce(both(s, t)[:, 0], len(s), saturate=True),
    "reversed": lambda s, t, y: adversarial.domain_bce(reversal.reverse_gradient(both(s, t), 0.3)[:, 0], len(s)),
    "scaled": lambda s, t, y: reversal.scale_gradient(s, 0.3).square().mean(),
    "mcc": lambda s, t, y: entropy.mcc(head(s)),
    "afn": lambda s, t, y: norms.afn(s),
    "daregram": lambda s, t, y: norms.daregram(s, t),
    "lmmd_default": lambda s, t, y: classwise.lmmd(s, t, hot(y, s), prob(t)),
    "cdd_default": lambda s, t, y: classwise.cdd(s, t, hot(y, s), hard(t)),
    "vat": lambda s, t, y: perturb.vat(lambda x: head(torch.tanh(x)), s * 1.0, t, 0.5),
}

ALL = SMOOTH | DETACHED
# vat differentiates with respect to the network, not to its input
WITH_GRADIENT = {name: loss for name, loss in ALL.items() if name != "vat"}
NEEDS_TWO_ROWS = {"mmd_unbiased", "mk_mmd", "mk_mmd_linear", "joint_mmd", "coral", "log_coral"}


def batch(*lead: int, n: int = N, d: int = D, dtype: torch.dtype = torch.float64) -> tuple[Tensor, Tensor, Tensor]:
    gen = torch.Generator().manual_seed(0)
    s = torch.randn(*lead, n, d, generator=gen, dtype=torch.float64)
    t = torch.randn(*lead, n, d, generator=gen, dtype=torch.float64) + 0.3
    return s.to(dtype), t.to(dtype), torch.randint(0, C, (*lead, n), generator=gen)


@pytest.mark.parametrize("name", sorted(SMOOTH))
def test_gradients_match_finite_differences(name: str) -> None:
    s, t, y = batch(n=5, d=12 if name == "rsd" else 4)
    assert torch.autograd.gradcheck(lambda a, b: SMOOTH[name](a, b, y), (s.requires_grad_(), t.requires_grad_()))


@pytest.mark.parametrize("name", sorted(ALL))
def test_vmap_equals_loop(name: str) -> None:
    s, t, y = batch(3)
    grads, values = torch.func.vmap(torch.func.grad_and_value(ALL[name], argnums=(0, 1)))(s, t, y)
    for i in range(3):
        a, b = s[i].clone().requires_grad_(), t[i].clone().requires_grad_()
        value = ALL[name](a, b, y[i])
        torch.testing.assert_close(values[i], value.detach(), rtol=1e-10, atol=1e-12)
        if name in WITH_GRADIENT:
            expected = torch.autograd.grad(value, (a, b), allow_unused=True)
            for got, want, like in zip(grads, expected, (a, b)):
                want = torch.zeros_like(like) if want is None else want
                torch.testing.assert_close(got[i], want, rtol=1e-8, atol=1e-10)


@pytest.mark.parametrize("name", sorted(ALL))
def test_single_precision_agrees_with_double(name: str) -> None:
    s, t, y = batch()
    value = ALL[name](s.float(), t.float(), y)
    assert value.dtype == torch.float32 and value.dim() == 0
    torch.testing.assert_close(value.double(), ALL[name](s, t, y), rtol=2e-4, atol=2e-5)


DEGENERATE = {
    "equal domains": lambda s, t: (s, s.clone()),
    "all rows equal": lambda s, t: (s[:1].expand_as(s).clone(), s[:1].expand_as(s).clone()),
    "all zero": lambda s, t: (0.0 * s, 0.0 * s),
    "tiny": lambda s, t: (1e-6 * s, 1e-6 * t),
    "large": lambda s, t: (1e3 * s, 1e3 * t),
}
# equal singular values or angles have no singular vectors of their own, so the gradients do not exist
UNDEFINED = {("rsd", "all rows equal"), ("rsd", "all zero"), ("rsd", "equal domains")}


@pytest.mark.parametrize("kind", sorted(DEGENERATE))
@pytest.mark.parametrize("name", sorted(ALL))
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_degenerate_batches_stay_finite(name: str, kind: str, dtype: torch.dtype) -> None:
    s, t, y = batch(dtype=dtype)
    s, t = DEGENERATE[kind](s, t)
    s.requires_grad_(), t.requires_grad_()
    value = ALL[name](s, t, y)
    assert torch.isfinite(value)
    if value.requires_grad and (name, kind) not in UNDEFINED:
        grads = torch.autograd.grad(value, (s, t), allow_unused=True)
        assert all(g is None or bool(torch.isfinite(g).all()) for g in grads)


@pytest.mark.parametrize("name", sorted(ALL))
def test_one_row_is_finite_or_a_clear_error(name: str) -> None:
    s, t, y = batch(n=1)
    if name in NEEDS_TWO_ROWS:
        with pytest.raises(DazooError, match="at least 2"):
            ALL[name](s, t, y)
        return
    if name == "center_loss":
        t = t.expand(C, -1)
    s.requires_grad_(), t.requires_grad_()
    value = ALL[name](s, t, y)
    assert torch.isfinite(value)
    if value.requires_grad:
        grads = torch.autograd.grad(value, (s, t), allow_unused=True)
        assert all(g is None or bool(torch.isfinite(g).all()) for g in grads)


@pytest.mark.parametrize("name", sorted(set(ALL) - {"center_loss", "swd", "mdd", "higher_order_index"}))
def test_one_class_and_one_feature_are_finite(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tests.test_ops_contract.C", 1)
    s, t, _ = batch(d=1)
    s.requires_grad_(), t.requires_grad_()
    value = ALL[name](s, t, torch.zeros(N, dtype=torch.long))
    assert torch.isfinite(value)
    if value.requires_grad:
        grads = torch.autograd.grad(value, (s, t), allow_unused=True)
        assert all(g is None or bool(torch.isfinite(g).all()) for g in grads)


def test_importing_ops_loads_no_solver() -> None:
    import subprocess
    import sys

    code = (
        "import sys; from dazoo.ops import classwise, perturb, transport;"
        "print([m for m in ('ot', 'sklearn', 'scipy') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
