"""Stream methods of normalisation, memories and plain self-training: formulas, limits, and what they leave alone."""

from __future__ import annotations

import math
from functools import partial

import torch
from torch import Tensor, nn
from torch.nn.functional import batch_norm, cross_entropy

from dazoo.methods.base import StreamState, create_method
from dazoo.methods.test_time import rotta
from dazoo.nets.parts.norm_mode import BATCH, norms_under
from dazoo.ops import batch_norm as ops
from dazoo.ops import memories
from dazoo.ops.entropy import entropy_of_logits, info_max

D, C = 5, 4


def rng(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def draw(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(*shape, generator=rng(seed), dtype=torch.float64)


def fresh(flat: bool = True) -> nn.Module:
    """A network whose body is a layer and its normalisation, with statistics that are not 0 and 1."""
    net: nn.Module = nn.Module()
    first, norm = (nn.Linear(D, D), nn.BatchNorm1d(D)) if flat else (nn.Conv2d(2, D, 3), nn.BatchNorm2d(D))
    net.body = nn.Sequential(first, norm, *([] if flat else [nn.AdaptiveAvgPool2d(1), nn.Flatten()]))
    net.head = nn.Linear(D, C)
    with torch.no_grad():
        for i, p in enumerate(net.parameters()):
            p.copy_(0.7 * draw(*p.shape, seed=i) + (1.0 if p is norm.weight else 0.0))
        norm.running_mean.copy_(draw(D, seed=20))
        norm.running_var.copy_(draw(D, seed=21).square() + 0.5)
    return net.double().eval()


def begun(name: str, net: nn.Module, **hparams: object) -> tuple[object, StreamState]:
    """A method with a network that is set up, and its state before the first batch."""
    method = create_method(name, **hparams)
    method.setup(net)
    net.double()
    names = set(method.moves(net))
    for n, p in net.named_parameters():
        p.requires_grad_(n in names)
    moving = [p for n, p in net.named_parameters() if n in names]
    state = StreamState(rng(), method.optimizer(moving) if moving else None)
    state.strong = lambda raw: raw + 0.01
    return method, state


def run(
    name: str, batches: list[Tensor], net: nn.Module | None = None, **hparams: object
) -> tuple[list[Tensor], nn.Module]:
    net = net or fresh()
    method, state = begun(name, net, **hparams)
    found = []
    for t, x in enumerate(batches):
        state.raw = x
        found.append(method.step(net, x, state, t).scores.detach())
    return found, net


def stream(count: int, rows: int = 12) -> list[Tensor]:
    return [2 * draw(rows, D, seed=100 + t) + 1 for t in range(count)]


def same(a: nn.Module, b: nn.Module, name: str) -> bool:
    return torch.equal(a.state_dict()[name], b.state_dict()[name])


# -- normalisation ----------------------------------------------------------------------------------------------------


def test_bn_alpha_lies_between_the_source_and_the_batch() -> None:
    x, net = stream(1)[0], fresh()
    source = net.head(net.body(x))
    method = create_method("bn_alpha")
    object.__setattr__(method, "prior", math.inf)
    assert torch.equal(method.step(net, x, StreamState(rng()), 0).scores, source)
    near = run("bn_alpha", [x], prior=1e12)[0][0]
    assert torch.allclose(near, source, atol=1e-9)
    with norms_under(net, BATCH, len(x)):
        batch = net.head(net.body(x))
    layer = net.body[1]
    z = net.body[0](x)
    by_hand = (z - z.mean(0)) / torch.sqrt(z.var(0) + layer.eps) * layer.weight + layer.bias
    assert torch.allclose(run("bn_alpha", [x], prior=1e-9)[0][0], net.head(by_hand), atol=1e-6)
    assert not torch.allclose(net.head(by_hand), batch)
    one = run("bn_alpha", [x[:1]])[0][0]
    assert torch.isfinite(one).all()


def test_instance_aware_moments_are_the_stored_ones_where_chance_explains_the_rest() -> None:
    x, mean, var = draw(6, 3, 4, 4), torch.zeros(3).double(), torch.ones(3).double()
    assert torch.allclose(torch.stack(ops.instance_aware_moments(x, mean, var, 50.0)), torch.stack(
        [mean.expand(6, 3), var.expand(6, 3)]
    ))  # fmt: skip
    own = ops.instance_aware_moments(x, mean, var, 0.0)
    assert torch.allclose(own[0], x.mean((2, 3))) and torch.allclose(own[1], x.flatten(2).var(2))
    single = ops.instance_aware_moments(draw(6, 3), mean, var, 0.0)
    assert torch.equal(single[0], mean.expand(6, 3)) and torch.equal(single[1], var.expand(6, 3))


def test_renormalised_values_are_those_of_the_moments_and_gradients_those_of_the_batch() -> None:
    x, mean, var, gamma, beta = draw(9, 3).requires_grad_(), *(draw(3, seed=s).abs() + 0.5 for s in range(4))
    found = ops.renormalised(x, mean, var, gamma, beta)
    assert torch.allclose(found, ops.normalise(x, mean, var, gamma, beta))
    probe = draw(9, 3, seed=7)
    (grad,) = torch.autograd.grad((probe * found).sum(), x)
    plain = batch_norm(x, None, None, gamma, beta, training=True)
    (own,) = torch.autograd.grad((probe * plain).sum(), x)
    own_dev = torch.sqrt(x.var(0, correction=0) + 1e-5)
    assert torch.allclose(grad, own * (own_dev / torch.sqrt(var + 1e-5)))


def test_note_answers_a_sample_by_itself_and_takes_statistics_of_its_memory() -> None:
    batches = [2 * draw(8, 2, 6, 6, seed=t) + 1 for t in range(3)]
    whole, net = run("note", batches, fresh(flat=False), memory=16, lr=0.01, momentum=0.1)
    first = fresh(flat=False)
    singles = torch.cat([create_method("note").predict(first, one[None]).scores for one in batches[0]])
    assert torch.allclose(whole[0], singles) and torch.allclose(
        whole[1], create_method("note").predict(first, batches[1]).scores
    )
    assert not torch.allclose(whole[2], create_method("note").predict(first, batches[2]).scores)
    z = first.body[0](torch.cat(batches[:2]))
    assert torch.allclose(net.body[1].running_mean, 0.9 * first.body[1].running_mean + 0.1 * z.mean((0, 2, 3)))
    assert same(net, first, "head.weight") and not same(net, first, "body.1.weight")
    still, _ = run("note", batches, fresh(flat=False), memory=16, lr=1e-5, momentum=0.001, k=1e12)
    assert torch.allclose(still[0], first.head(first.body(batches[0])))


def test_delta_begins_as_the_batch_and_then_moves_slowly() -> None:
    batches = stream(3)
    found, net = run("delta_tta", batches, lr=1e-5)
    with norms_under(source := fresh(), BATCH, 12):
        assert torch.allclose(found[0], source.head(source.body(batches[0])), atol=1e-9)
        assert not torch.allclose(found[1], source.head(source.body(batches[1])), atol=1e-2)
    z = [source.body[0](x).mean(0) for x in batches]
    mean = z[0]
    for other in z[1:]:
        mean = 0.95 * mean + 0.05 * other
    assert torch.allclose(net.body[1].ema_mean, mean) and same(net, source, "body.1.running_mean")
    method, _ = begun("delta_tta", net)
    assert torch.allclose(method.answer(net, batches[0][:1]).scores, method.answer(net, batches[0]).scores[:1])
    assert torch.isfinite(run("delta_tta", [batches[0][:1]])[0][0]).all()


def test_delta_weighs_classes_down_that_come_often() -> None:
    batches, net = stream(4), fresh()
    method, state = begun("delta_tta", net, frequency=0.5)
    seen = torch.full((C,), 1 / C, dtype=torch.float64)
    for t, x in enumerate(batches):
        seen = 0.5 * seen + 0.5 * method.step(net, x, state, t).probs.detach().mean(0)
    assert torch.allclose(state.memory["shares"], seen)
    x, rows, moved = batches[0], fresh(), []
    for shares in (torch.full((C,), 1 / C).double(), torch.tensor([0.97, 0.01, 0.01, 0.01]).double()):
        method, state = begun("delta_tta", net := fresh())
        state.memory["shares"] = shares
        state.optimizer = torch.optim.SGD(net.body[1].parameters(), lr=1.0)
        out = method.step(net, x, state, 0)
        weights = 1 / shares[out.scores.argmax(-1)]
        moved.append(net.body[1].bias - rows.body[1].bias)
        with norms_under(other := fresh(), BATCH, len(x)):
            h = entropy_of_logits(other.head(other.body(x)))
        (grad,) = torch.autograd.grad((weights / weights.mean() * h).mean(), other.body[1].bias)
        assert torch.allclose(moved[-1], -grad, atol=1e-6)
    assert not torch.allclose(*moved)


# -- memories ---------------------------------------------------------------------------------------------------------


def test_a_reservoir_is_balanced_and_fair() -> None:
    gen, labels, rows, seen = rng(), [], [], [0, 0, 0]
    given = torch.cat([torch.zeros(300), torch.ones(300), torch.full((5,), 2.0)]).long().tolist()
    for i, y in enumerate(given):
        seen[y] += 1
        at = memories.place_by_reservoir(labels, seen, y, 30, gen)
        if at == len(labels):
            labels, rows = [*labels, y], [*rows, i]
        elif at is not None:
            labels[at], rows[at] = y, i
    counts = [labels.count(c) for c in range(3)]
    assert len(labels) == 30 and counts[2] == 5 and abs(counts[0] - counts[1]) <= 1
    kept = []
    for s in range(60):  # of one class: every sample stays with the same chance
        gen, labels, rows = rng(s), [], []
        for i in range(40):
            at = memories.place_by_reservoir(labels, [i + 1], 0, 10, gen)
            if at == len(labels):
                labels, rows = [*labels, 0], [*rows, i]
            elif at is not None:
                rows[at] = i
        kept += rows
    share = torch.tensor(kept).bincount(minlength=40).reshape(4, 10).sum(1) / len(kept)
    assert float((share - 0.25).abs().max()) < 0.06


def test_a_memory_by_age_gives_every_class_its_share_and_lets_the_stale_go() -> None:
    place = partial(memories.place_by_age, capacity=4, n_classes=2)
    assert place([], [], [], 0, 0.5) == 0 and place([0], [3], [0.1], 0, 0.1) == 1
    assert place([0, 0], [3, 9], [0.1, 0.1], 0, 0.1) == 1  # no room in its class: the older goes
    assert place([0, 0], [0, 0], [0.1, 0.1], 0, 0.5) is None  # both are surer and as young
    crowded = ([0, 0, 0, 1], [5, 5, 9, 9], [0.1, 0.6, 0.1, 0.6])
    assert memories.place_by_age(*crowded, 1, 0.1, 4, 2) == 1  # of the largest class, the one that was unsure
    ages = torch.tensor([0.0, 1.0, 3.0])
    assert torch.allclose(memories.timeliness(ages), torch.exp(-ages) / (1 + torch.exp(-ages)))


def test_rotta_without_steps_and_statistics_is_the_source() -> None:
    batches, first = stream(4), fresh()
    source = [first.head(first.body(x)) for x in batches]
    method = create_method("rotta", memory=16)
    object.__setattr__(method, "alpha", 0.0)
    net = fresh()
    _, state = begun("rotta", net, memory=16)
    for group in state.optimizer.param_groups:
        group["lr"] = 0.0
    for t, x in enumerate(batches):
        state.raw = x
        assert torch.allclose(method.step(net, x, state, t).scores, source[t], atol=1e-12)
    assert same(net, first, "body.1.running_mean") and same(net, first, "body.1.running_var")


def test_rotta_learns_from_its_memory_by_steady_statistics() -> None:
    batches = stream(3)
    found, net = run("rotta", batches, memory=24, nu=0.5, lr=0.01, alpha=0.3)
    first = fresh()
    assert torch.allclose(found[1], first.head(first.body(batches[1])))  # the first step comes after two batches
    assert not torch.allclose(found[2], first.head(first.body(batches[2])))
    assert same(net, first, "head.weight") and not same(net, first, "body.1.weight")
    half = 0.5 * first.body[1].weight + 0.5 * net.body[1].weight
    assert torch.allclose(net.teacher.body[1].weight, half)
    assert not torch.equal(net.teacher.body[1].running_mean, net.body[1].running_mean)  # the student sees a view
    layer = fresh().body[1]
    z = draw(7, D, seed=5)
    rotta._steady(0.3, layer, z)
    assert torch.allclose(layer.running_var, 0.7 * fresh().body[1].running_var + 0.3 * z.var(0, correction=0))


# -- self-training ----------------------------------------------------------------------------------------------------


def by_hand(loss, names: str, lr: float, x: Tensor) -> nn.Module:
    """A fresh network after one step of Adam on ``loss`` of its scores under batch statistics."""
    net = fresh()
    moving = [p for n, p in net.named_parameters() if n.startswith(names)]
    with norms_under(net, BATCH, len(x)):
        loss(net.head(net.body(x))).backward()
    torch.optim.Adam(moving, lr=lr).step()
    return net


def test_one_step_of_pseudo_labels_and_of_information_maximisation_is_as_written() -> None:
    x = stream(1)[0]

    def sure(scores: Tensor) -> Tensor:
        p, y = scores.softmax(-1).max(-1)
        return cross_entropy(scores[p > 0.5], y[p > 0.5])

    for name, hparams, loss, part in [
        ("pseudo_label_online", {"threshold": 0.5}, sure, "body.1"),
        ("shot_im_online", {}, info_max, "body."),
    ]:
        _, net = run(name, [x], lr=0.01, **hparams)
        expected = by_hand(loss, part, 0.01, x)
        for key, value in expected.state_dict().items():
            assert torch.allclose(net.state_dict()[key].double(), value.double()), (name, key)
    none, net = run("pseudo_label_online", [x], threshold=1.0)
    assert all(same(net, fresh(), key) for key in fresh().state_dict()) and len(none) == 1


def test_rdumb_is_eata_without_fisher_until_it_begins_anew() -> None:
    batches = stream(5)
    common = {"margin": 2.0, "redundancy": 2.0, "lr": 0.01}
    found, _ = run("rdumb", batches, every=3, **common)
    eata, _ = run("eata", batches, fisher_weight=0.0, **common)
    assert all(torch.allclose(a, b) for a, b in zip(found[:3], eata[:3]))
    assert not torch.allclose(found[3], eata[3])
    again, _ = run("rdumb", batches[3:], **common)
    assert all(torch.equal(a, b) for a, b in zip(found[3:], again))


def test_entropy_goes_down_where_that_is_what_is_minimised() -> None:
    x = stream(1)[0]
    for name in ("delta_tta", "pseudo_label_online", "shot_im_online"):
        hparams = {"threshold": 0.3} if name == "pseudo_label_online" else {}
        found, _ = run(name, [x] * 30, lr=0.01, **hparams)
        assert entropy_of_logits(found[-1]).mean() < entropy_of_logits(found[0]).mean(), name
