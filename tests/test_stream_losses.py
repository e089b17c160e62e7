"""Stream methods that learn: what they are without their rules, one step by hand, and what stays where it was."""

from __future__ import annotations

import copy
import math
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from dazoo.methods.base import StreamState, create_method
from dazoo.methods.test_time._moves import trained_parts
from dazoo.ops import test_time
from dazoo.ops.entropy import entropy_of_logits
from dazoo.ops.perturb import soft_cross_entropy
from tests.parity_stream import stream_net
from tests.test_stream_rules import draw, rng

D, K = 5, 4


def net_of(norm: nn.Module | None = None) -> Any:
    norm = norm or nn.BatchNorm1d(D)
    net = stream_net(norm, 1 + 0.1 * draw(D), draw(D, seed=1), 2 * draw(K, D, seed=2), draw(K, seed=3))
    net.requires_grad_(False)
    return net


def begun(method: Any, net: Any) -> StreamState:
    """The state before the first batch, as the engine makes it."""
    method.setup(net)
    names = set(method.moves(net))
    for name, p in net.named_parameters():
        p.requires_grad_(name in names)
    moving = [p for name, p in net.named_parameters() if name in names]
    return StreamState(rng(), method.optimizer(moving) if moving else None)


def after(method: Any, norm: nn.Module | None = None, batches: int = 3, **more: Any) -> tuple[Any, list[Tensor]]:
    """The network and the answers after some batches."""
    net = net_of(norm)
    state = begun(method, net)
    for name, value in more.items():
        setattr(state, name, value)
    answers = []
    for t in range(batches):
        x = draw(8, D, seed=10 + t)
        state.view = lambda x=x: x + 0.1 * draw(*x.shape, seed=99)  # type: ignore[misc]
        answers.append(method.step(net, x, state, t).scores.detach())
    return net, answers


def same(one: tuple[Any, list[Tensor]], other: tuple[Any, list[Tensor]]) -> bool:
    mine, its = one[0].state_dict(), other[0].state_dict()
    return all(torch.allclose(v, its[k], atol=1e-10) for k, v in mine.items() if k in its) and all(
        torch.allclose(a, b, atol=1e-10) for a, b in zip(one[1], other[1])
    )


NO_RULES = {
    "eata": {"margin": 2.0, "redundancy": 10.0, "weighted": False, "fisher_weight": 0.0},
    "sar": {"margin": 2.0, "rho": 0.0, "reset": 0.0},
}


def unchecked(name: str, **values: Any) -> Any:
    """A method at values outside of what a user may set."""
    method = create_method(name)
    for key, value in values.items():
        object.__setattr__(method, key, value)
    return method


@pytest.mark.parametrize("name", sorted(NO_RULES))
@pytest.mark.parametrize("norm", [nn.BatchNorm1d, nn.LayerNorm])
def test_without_its_rules_it_is_tent(name: str, norm: type[nn.Module]) -> None:
    plain = after(create_method("tent", lr=0.01), norm(D))
    assert same(after(unchecked(name, lr=0.01, **NO_RULES[name]), norm(D)), plain)
    assert not same(after(create_method(name, lr=0.01), norm(D)), plain)


@pytest.mark.parametrize("name", ["tent", "rpl", "eata", "sar", "deyo", "roid", "cmf"])
def test_scales_and_shifts_move_and_nothing_else(name: str) -> None:
    net, _ = after(unchecked(name, lr=0.01, **({"margin": 1.0, "drop": -1.0} if name == "deyo" else {})))
    source = net_of().state_dict()
    moved = {k for k, v in net.state_dict().items() if not torch.equal(v, source[k])}
    assert moved == {"body.weight", "body.bias"}


def test_one_step_of_rpl_and_deyo_and_roid_by_hand() -> None:
    x = draw(8, D, seed=10)

    def scores(net: Any, inputs: Tensor) -> Tensor:
        z = nn.functional.batch_norm(inputs, None, None, net.body.weight, net.body.bias, training=True)
        return net.head(z)

    def rpl(net: Any) -> Tensor:
        p = scores(net, x).softmax(-1).amax(-1)
        return ((1 - p**0.8) / 0.8).mean()

    def deyo(net: Any) -> Tensor:
        from dazoo.nets.augment import shuffled_pieces

        out = scores(net, x)
        h, p = entropy_of_logits(out), out.softmax(-1)
        broken = scores(net, shuffled_pieces(x, rng())).softmax(-1)
        total, count = torch.zeros((), dtype=torch.float64), 0
        for i in range(len(x)):
            y = int(p[i].argmax())
            d, sure = (p[i, y] - broken[i, y]).item(), h[i].item()
            if sure < math.log(K) and d > 0.1:
                total = total + (math.exp(0.4 * math.log(K) - sure) + math.exp(d)) * h[i]
                count += 1
        assert 0 < count < 8
        return total / count

    def roid(net: Any) -> Tensor:
        out = scores(net, x)
        viewed = scores(net, x + 0.1 * draw(*x.shape, seed=99))
        w = test_time.certain_and_diverse(out, torch.full((K,), 1 / K, dtype=torch.float64), 1 / 3)
        p, q = out.softmax(-1), viewed.softmax(-1)
        agreed = -0.5 * ((p * q.log()).sum(1) + (q * p.log()).sum(1))
        cut = p.clamp(max=0.99)
        return (w * (-(cut * (cut / (1 - cut) + 1e-5).log()).sum(1) + 2.0 * agreed)).mean()

    made = {"rpl": (rpl, {}), "deyo": (deyo, {"margin": 1.0, "drop": 0.1}), "roid": (roid, {"consistency": 2.0})}
    for name, (loss, values) in made.items():
        method, net = create_method(name, lr=0.01, **values), net_of()
        theta = [net.body.weight.requires_grad_(), net.body.bias.requires_grad_()]
        begin = [p.detach().clone() for p in theta]
        loss(net).backward()
        torch.optim.Adam(theta, lr=0.01).step()
        if name == "roid":
            with torch.no_grad():
                for p, p0 in zip(theta, begin):
                    p.copy_(0.99 * p + 0.01 * p0)
        found, _ = after(method, batches=1)
        assert torch.allclose(found.body.weight, net.body.weight, atol=1e-9), name
        assert torch.allclose(found.body.bias, net.body.bias, atol=1e-9), name


def test_a_large_fisher_weight_holds_what_matters() -> None:
    batches = [(draw(8, D, seed=s), torch.zeros(8, dtype=torch.int64)) for s in (1, 2)]
    far = {}
    for weight in (0.0, 1e6):
        method, net = unchecked("eata", lr=0.01, margin=2.0, redundancy=10.0, fisher_weight=weight), net_of()
        begun(method, net)
        source = method.source_stats(net, batches)
        assert [f.shape for f in source["fisher"]] == [(D,), (D,)] and all((f >= 0).all() for f in source["fisher"])
        moved, _ = after(method, batches=30, source=source)
        far[weight] = (moved.body.weight - net_of().body.weight).norm().item()
    assert far[1e6] < 0.5 * far[0.0]


def test_importance_is_the_mean_square_of_gradients_of_own_labels() -> None:
    method, net = create_method("eata"), net_of()
    begun(method, net)
    batches = [(draw(8, D, seed=s), torch.zeros(8, dtype=torch.int64)) for s in (1, 2)]
    expected = torch.zeros(D, dtype=torch.float64)
    for x, _ in batches:
        z = nn.functional.batch_norm(x, None, None, net.body.weight, net.body.bias, training=True)
        out = net.head(z)
        loss = -out.log_softmax(-1)[torch.arange(8), out.argmax(-1)].mean()
        expected += torch.autograd.grad(loss, net.body.weight)[0].square() / 2
    assert torch.allclose(method.source_stats(net, batches)["fisher"][0], expected, atol=1e-12)


def test_collapse_brings_back_the_source() -> None:
    method = unchecked("sar", lr=0.05, margin=2.0, reset=1.0)
    net, _ = after(method)
    assert all(torch.equal(v, net_of().state_dict()[k]) for k, v in net.state_dict().items())
    assert not same(after(unchecked("sar", lr=0.05, margin=2.0, reset=0.0)), (net, []))


def test_restoring_everything_keeps_the_student_and_nothing_moves_the_anchor() -> None:
    net, _ = after(create_method("cotta", restore=1.0, lr=0.01, views=2))
    source = net_of().state_dict()
    assert all(torch.equal(net.state_dict()[k], v) for k, v in source.items())
    free, _ = after(create_method("cotta", restore=0.0, lr=0.01, views=2))
    assert not torch.equal(free.body.weight, source["body.weight"])
    assert torch.equal(free.anchor.body.weight, source["body.weight"])
    assert not torch.equal(free.teacher.body.weight, source["body.weight"])


def test_the_student_of_cotta_learns_what_its_teacher_answers() -> None:
    for confidence in (0.0, 0.95):
        method, net = unchecked("cotta", lr=0.01, restore=0.0, confidence=confidence, views=3), net_of()
        x = draw(8, D, seed=10)
        views = [x + 0.1 * draw(*x.shape, seed=99)] * 3 if confidence else [x]

        def scores(inputs: Tensor, net: Any = net) -> Tensor:
            z = nn.functional.batch_norm(inputs, None, None, net.body.weight, net.body.bias, training=True)
            return net.head(z)

        taught = (sum(scores(v) for v in views) / len(views)).detach()  # type: ignore[union-attr]
        net.requires_grad_(True)
        soft_cross_entropy(scores(x), taught.softmax(-1)).backward()
        torch.optim.Adam([p for _, p in net.named_parameters()], lr=0.01).step()
        found, answers = after(method, batches=1)
        assert torch.allclose(answers[0], taught, atol=1e-9)
        assert torch.allclose(found.head.weight, net.head.weight, atol=1e-9)


def test_source_share_one_is_the_source_with_corrected_shares() -> None:
    net, answers = after(create_method("roid", source_share=1.0, correct=False, lr=0.1))
    # one batch at a time is answered by the source's weights
    _, still = after(unchecked("roid", correct=False, lr=0.0))
    assert all(torch.allclose(a, b) for a, b in zip(answers, still))
    assert torch.allclose(net.body.weight, net_of().body.weight)


def test_the_filter_of_cmf_by_hand() -> None:
    method, state = create_method("cmf", recall=0.9, noise=0.05, keep=0.8), StreamState(rng())
    source, theta = 1.0, torch.tensor([2.0], dtype=torch.float64)
    phi, v = source, 0.0
    for moved in (2.0, 5.0):
        theta.fill_(moved)
        method.settle([theta], [torch.tensor([source], dtype=torch.float64)], state)
        predicted, v = 0.9 * phi + 0.1 * source, 0.81 * v + 0.05
        k = 0.95 / (v + 0.95)
        phi, v = k * predicted + (1 - k) * moved, k * v
        assert 0.89 < k < 0.9999 and float(theta) == pytest.approx(0.8 * moved + 0.2 * phi)


def test_cmf_that_keeps_its_steps_is_roid_that_has_no_source() -> None:
    assert same(after(create_method("cmf", lr=0.01, keep=1.0)), after(create_method("roid", lr=0.01, source_share=0.0)))
    assert not same(after(create_method("cmf", lr=0.01)), after(create_method("roid", lr=0.01, source_share=0.0)))


def test_memo_lowers_the_entropy_of_identical_views_and_leaves_the_network() -> None:
    method, net, x = create_method("memo", lr=0.01, views=4), net_of(nn.LayerNorm(D)), draw(3, D, seed=10)
    state = begun(method, net)
    state.view = lambda: x
    before = {k: v.clone() for k, v in net.state_dict().items()}
    found = method.step(net, x, state, 0).scores
    assert all(torch.equal(v, before[k]) for k, v in net.state_dict().items())
    for i in range(3):
        one = net_of(nn.LayerNorm(D)).requires_grad_(True)
        loss = entropy_of_logits(one.head(one.body(x[i : i + 1]))).mean()
        torch.optim.SGD(one.parameters(), lr=0.01).zero_grad()
        loss.backward()
        torch.optim.SGD(one.parameters(), lr=0.01).step()
        assert torch.allclose(found[i : i + 1], one.head(one.body(x[i : i + 1])), atol=1e-9)
    state.view = lambda: x[1:2]
    assert torch.allclose(method.step(net, x[1:2], state, 1).scores, found[1:2], atol=1e-9)


def test_rmt_contrasts_three_features_of_a_sample_and_moves_with_each_term() -> None:
    method, net = create_method("rmt", lr=0.01), net_of()
    net.projector = method.build(D, K)["projector"].double()
    state = begun(method, net)
    assert {n.split(".")[0] for n in method.moves(net)} == {"body", "head", "projector"}
    assert set(trained_parts(net)) <= set(method.moves(net))
    x = draw(8, D, seed=10)
    batches = [(x, torch.arange(8) % 3), (draw(8, D, seed=11), torch.arange(8) % 3)]
    state.source = method.source_stats(net, batches)
    z = torch.cat([nn.functional.batch_norm(b, None, None, net.body.weight, net.body.bias, training=True)
                   for b, _ in batches])  # fmt: skip
    y = torch.cat([y for _, y in batches])
    # class 3 has no sample, hence no prototype
    assert torch.allclose(state.source["prototypes"], torch.stack([z[y == c].mean(0) for c in range(3)]))
    state.view = lambda: x + 0.1 * draw(*x.shape, seed=99)
    teacher = net.teacher.body.weight.clone()
    before = {k: v.clone() for k, v in net.state_dict().items()}
    out = method.step(net, x, state, 0)
    changed = {k.split(".")[0] for k, v in net.state_dict().items() if not torch.equal(v, before[k])}
    assert changed == {"body", "head", "projector", "teacher"}
    assert torch.allclose(net.teacher.body.weight, 0.999 * teacher + 0.001 * net.body.weight)
    source = net_of()
    with torch.no_grad():
        z = nn.functional.batch_norm(x, None, None, source.body.weight, source.body.bias, training=True)
        assert torch.allclose(out.scores, source.head(z))


def test_one_step_of_santa_by_hand() -> None:
    method, net, x = create_method("santa", lr=0.01, contrast_weight=2.0), net_of(), draw(8, D, seed=10)
    torch.manual_seed(0)
    net.projector = method.build(D, K)["projector"].double()
    state = begun(method, net)
    state.source = method.source_stats(net, [(draw(8, D, seed=11), torch.arange(8) % K)])
    state.view = lambda: x + 0.1 * draw(*x.shape, seed=99)
    twin = copy.deepcopy(net)

    def passed(inputs: Tensor) -> tuple[Tensor, Tensor]:
        z = nn.functional.batch_norm(inputs, None, None, twin.body.weight, twin.body.bias, training=True)
        return z, twin.head(z)

    (f, out), (g, viewed) = passed(x), passed(state.view())
    anchor = out.detach().log_softmax(-1)
    means = state.source["prototypes"]
    near = torch.stack([max(means, key=lambda m: torch.cosine_similarity(m, row, dim=0).item()) for row in f.detach()])
    z = nn.functional.normalize(twin.projector(torch.cat([near, f, g])), dim=-1)
    contrast = torch.zeros((), dtype=torch.float64)
    for a in range(24):
        every = torch.logsumexp(torch.stack([z[a] @ z[c] / 0.1 for c in range(24) if c != a]), 0)
        contrast = contrast - sum(z[a] @ z[c] / 0.1 - every for c in range(24) if c != a and c % 8 == a % 8) / 48
    both = out.softmax(-1) + viewed.softmax(-1)
    (2.0 * contrast - 0.5 * (both * anchor).sum(-1).mean()).backward()
    torch.optim.Adam([p for p in twin.parameters() if p.requires_grad], lr=0.01).step()
    found = method.step(net, x, state, 0)
    assert torch.allclose(found.scores, out, atol=1e-9)
    for name, value in twin.state_dict().items():
        assert torch.allclose(net.state_dict()[name], value, atol=1e-8), name
    assert torch.equal(net.anchor.body.weight, net_of().body.weight)
    assert not torch.equal(net.body.weight, net_of().body.weight)
