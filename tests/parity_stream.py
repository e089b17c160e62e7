"""The recorded formulas of test-time adaptation; see ``tests.parity_settings``. Steps run the methods themselves."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn

from dazoo.methods.base import StreamState
from dazoo.methods.test_time import rotta
from dazoo.methods.test_time.cotta import CoTTA
from dazoo.methods.test_time.sar import SAR
from dazoo.methods.test_time.tent import TENT
from dazoo.nets.parts.norm_mode import mixed, norms_under
from dazoo.ops import batch_norm, entropy, memories, test_time


def stream_net(norm: nn.Module, gamma: Tensor, beta: Tensor, w: Tensor, b: Tensor) -> Any:
    """A network whose body is one normalisation and whose head is given, in double precision."""
    net: Any = nn.Module()
    net.body, net.head = norm, nn.Linear(w.shape[1], w.shape[0])
    net.double()
    with torch.no_grad():
        for mine, given in zip([norm.weight, norm.bias, net.head.weight, net.head.bias], [gamma, beta, w, b]):
            mine.copy_(given)
    return net.eval()


def sgd(method: Any, net: Any, lr: Tensor, **more: float) -> StreamState:
    """The state of a method before its first batch, with plain gradient steps."""
    moving = [p for n, p in net.named_parameters() if n in set(method.moves(net))]
    return StreamState(torch.Generator().manual_seed(0), torch.optim.SGD(moving, lr=float(lr), **more))


def _tent_entropy(x: Tensor, gamma: Tensor, beta: Tensor, w: Tensor, b: Tensor) -> Tensor:
    z = nn.functional.batch_norm(x, None, None, gamma, beta, training=True)
    return entropy.entropy_of_logits(z @ w.T + b).mean()


def _tent_steps(
    gamma: Tensor, beta: Tensor, w: Tensor, b: Tensor, xa: Tensor, xb: Tensor, lr: Tensor, probe_p: Tensor,
    probe_l: Tensor,
) -> Tensor:  # fmt: skip
    method, net = TENT(), stream_net(nn.BatchNorm1d(len(gamma)), gamma, beta, w, b)
    state = sgd(method, net, lr, momentum=0.9)
    scores = [method.step(net, x, state, t).scores for t, x in enumerate((xa, xb))]
    moved = torch.stack([net.body.weight, net.body.bias])
    return ((probe_p * moved).sum() + (probe_l * scores[1]).sum()).detach()


def _sar_step(
    x: Tensor, gamma: Tensor, beta: Tensor, w: Tensor, b: Tensor, e0: Tensor, rho: Tensor, lr: Tensor, probe: Tensor
) -> Tensor:
    margin = float(e0) / float(torch.log(torch.tensor(float(len(w)), dtype=torch.float64)))
    method, net = SAR(margin=margin, rho=float(rho), reset=0.0), stream_net(nn.LayerNorm(len(gamma)), gamma, beta, w, b)
    method.step(net, x, sgd(method, net, lr), 0)
    return (probe * torch.stack([net.body.weight, net.body.bias])).sum().detach()


class _Given(CoTTA):
    """CoTTA that restores what it is told to."""

    def returned(self, theta: list[Tensor], state: StreamState) -> list[Tensor]:
        back: list[Tensor] = state.memory["masks"]
        return back


def _cotta_step(
    x: Tensor, gamma: Tensor, beta: Tensor, w: Tensor, b: Tensor, views: Tensor, lr: Tensor, mt: Tensor, ap: Tensor,
    m_gamma: Tensor, m_beta: Tensor, m_w: Tensor, m_b: Tensor, probe_t: Tensor, probe_s: Tensor, probe_w: Tensor,
    probe_o: Tensor,
) -> Tensor:  # fmt: skip
    method = _Given(momentum=float(mt), confidence=float(ap), views=len(views))
    net = stream_net(nn.BatchNorm1d(len(gamma)), gamma, beta, w, b)
    method.setup(net)
    state = sgd(method, net, lr)
    state.memory["masks"] = [m > 0 for m in (m_gamma, m_beta, m_w, m_b)]
    state.view = iter(views).__next__
    out = method.step(net, x, state, 0).scores
    pairs: Sequence[tuple[Tensor, nn.Module]] = [(probe_t, net.teacher.body), (probe_s, net.body)]
    moved = sum((probe * torch.stack([part.weight, part.bias])).sum() for probe, part in pairs)  # type: ignore[list-item]
    return (moved + (probe_w * net.head.weight).sum() + (probe_o * out).sum()).detach()


def _eata(l: Tensor, m: Tensor, e0: Tensor, eps: Tensor, probe: Tensor) -> Tensor:  # noqa: E741
    loss, _, mean = test_time.reliable_entropy(l, m, e0, eps)
    return loss + (probe * mean).sum()


def _lame(affinity: Any) -> Any:
    def value(l: Tensor, f: Tensor, k: Tensor, probe: Tensor) -> Tensor:  # noqa: E741
        return (probe * test_time.laplacian_adjusted(l, affinity(f, int(k)))).sum()

    return value


def _t3a(z: Tensor, w: Tensor, b: Tensor, K: Tensor, probe: Tensor) -> Tensor:
    from dazoo.methods.test_time.t3a import T3A

    method, net = T3A(supports=int(K)), stream_net(nn.LayerNorm(w.shape[1]), w[0], w[0], w, b)
    net.body = nn.Identity()
    method.setup(net)
    state = StreamState(torch.Generator())
    return (probe * torch.stack([method.step(net, x, state, t).scores for t, x in enumerate(z)])).sum()


def _roid(l: Tensor, m: Tensor, T: Tensor, probe: Tensor) -> Tensor:  # noqa: E741
    weights = test_time.certain_and_diverse(l, m, T)
    loss = (weights * test_time.soft_likelihood_ratio(l)).mean()
    return loss + (probe * (0.9 * m + 0.1 * l.detach().softmax(-1).mean(0))).sum()


def norm_with(layer: Any, *values: Tensor) -> Any:
    """A batch normalisation, in double precision, with given scale, shift, mean and variance."""
    layer.double().eval()
    with torch.no_grad():
        for mine, given in zip([layer.weight, layer.bias, layer.running_mean, layer.running_var], values):
            mine.copy_(given)
    return layer


def _bn_alpha(
    x: Tensor, mean: Tensor, var: Tensor, gamma: Tensor, beta: Tensor, alpha: Tensor, probe: Tensor
) -> Tensor:
    layer = norm_with(nn.BatchNorm2d(len(mean)), gamma, beta, mean, var)
    with norms_under(layer, mixed(float(alpha)), len(x)):
        return (probe * layer(x)).sum()


def _rotta_bn(
    x: Tensor, mean: Tensor, var: Tensor, gamma: Tensor, beta: Tensor, alpha: Tensor, probe: Tensor, probe_m: Tensor,
    probe_v: Tensor,
) -> Tensor:  # fmt: skip
    layer = norm_with(nn.BatchNorm1d(len(mean)), gamma, beta, mean, var)
    out = rotta._steady(float(alpha), layer, x)
    return (probe * out).sum() + (probe_m * layer.running_mean).sum() + (probe_v * layer.running_var).sum()


def _rotta_memory(
    label: Tensor, unc: Tensor, cap: Tensor, lt: Tensor, lu: Tensor, probe: Tensor, n_classes: Tensor
) -> Tensor:
    kept: list[list[Any]] = [[], [], [], []]  # labels, ages, entropies, numbers
    for i, (y, u) in enumerate(zip(label.tolist(), unc.tolist())):
        row = memories.place_by_age(*kept[:3], y, u, int(cap), int(n_classes), float(lt), float(lu))
        if row is not None:
            kept = [rotta._replaced(rows, [one], row) for rows, one in zip(kept, (y, 0, u, i))]
        kept[1] = [age + 1 for age in kept[1]]
    return sum((probe[i] * (1 + age) for i, age in zip(kept[3], kept[1])), torch.zeros(()).double())


def _note_iabn(x: Tensor, mean: Tensor, var: Tensor, gamma: Tensor, beta: Tensor, k: Tensor, probe: Tensor) -> Tensor:
    moments = batch_norm.instance_aware_moments(x, mean, var, k)
    return (probe * batch_norm.normalise(x, *moments, gamma, beta)).sum()


STREAM: dict[str, Any] = {
    "tta_bn_alpha": _bn_alpha,
    "tta_rotta_bn": _rotta_bn,
    "tta_rotta_loss": lambda ls, lt, ages: test_time.timely_cross_entropy(ls, lt, memories.timeliness(ages)),
    "tta_rotta_memory": _rotta_memory,
    "tta_note_iabn": _note_iabn,
    "tta_tent_entropy": _tent_entropy,
    "tta_tent_steps": _tent_steps,
    "tta_sar_step": _sar_step,
    "tta_cotta_step": _cotta_step,
    "tta_eata": _eata,
    "tta_lame_knn": _lame(test_time.neighbour_affinity),
    "tta_lame_rbf": _lame(test_time.gaussian_affinity),
    "tta_t3a": _t3a,
    "tta_roid_slr": _roid,
    "tta_deyo": lambda l, lp, m1, e0, tau: test_time.shape_dependent_entropy(l, lp, m1, e0, tau)[0],  # noqa: E741
    "tta_sce": lambda x, y: test_time.symmetric_cross_entropy(x, y).mean(),
    "tta_gce": lambda l, q: test_time.generalised_cross_entropy(l, l.argmax(-1), q),  # noqa: E741
}
