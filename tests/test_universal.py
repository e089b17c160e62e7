"""Universal methods: limits where they are known methods, terms against transcriptions, and what they call unknown."""

from __future__ import annotations

from types import SimpleNamespace

import pytest
import torch
from torch.nn.functional import normalize

from dazoo.methods.base import create_method
from dazoo.methods.universal.cmu import certainty
from tests.small import at, draw, small_batch, small_net
from tests.toys import fit_toy, is_gradient


def dann(net, b, method, t):
    """The game of DANN with the method's discriminator, without reversal."""
    fs, ft = net.body(b.xs), net.body(b.xt)
    z = torch.nn.functional.softplus
    return (z(-net.disc(fs)).mean() + z(net.disc(ft)).mean()) / 2


def test_uan_with_equal_weights_is_dann():
    method = create_method("uan")
    net, b = small_net(method), small_batch()
    for part in (net.head, net.judge[-1]):
        torch.nn.init.zeros_(part.weight)
    value = method.losses(net, b, at(0.5))["dom"]
    assert value.item() == pytest.approx(dann(net, b, method, at(0.5)).item())


def test_cmu_with_all_weights_one_is_dann():
    method = create_method("cmu", known=0.0)
    net = small_net(method)
    zeros = torch.zeros(3, dtype=torch.float64)
    b = small_batch(memory={"low": zeros, "high": zeros + 9, "shares": zeros + 1})
    assert method.losses(net, b, at(0.5))["dom"].item() == pytest.approx(dann(net, b, method, at(0.5)).item())


def test_constant_weights_of_uan_warn():
    method = create_method("uan")
    net, said = small_net(method), []
    f = draw(6, 7)
    look = SimpleNamespace(source=(f, draw(6, 3)), target=(f[:1].expand(6, 7), torch.zeros(6, 3)), warn=said.append)
    method.finish(net, look)
    assert len(said) == 1 and "target samples have one weight" in said[0]


def test_judge_of_uan_moves_nothing_else():
    method = create_method("uan")
    net, b = small_net(method), small_batch()
    value = method.losses(net, b, at(0.5))["judge"]
    found = torch.autograd.grad(value, list(net.body.parameters()), allow_unused=True)
    assert all(g is None for g in found)


def test_certainty_uses_the_ranges_and_no_range_counts_as_sure():
    found = torch.tensor([[0.0, 2.0, 5.0], [1.0, 4.0, 5.0]])
    low, high = found.amin(0), found.amax(0)
    torch.testing.assert_close(certainty(found, low, high), torch.tensor([1.0, 1.0 / 3.0]))


def test_the_closed_answer_of_ovanet_is_the_heads():
    method = create_method("ovanet")
    net, x = small_net(method), draw(50, 5)
    out = method.predict(net, x)
    assert torch.equal(out.scores, net.head(net.body(x)))
    no = net.ova(net.body(x)).view(50, 3, 2).softmax(2)[:, :, 0]
    winner = out.scores.argmax(1)
    torch.testing.assert_close(out.unknown, torch.stack([row[c] for row, c in zip(no, winner)]))
    assert out.threshold == 0.5


def test_dance_with_an_infinite_margin_is_clustering_only():
    wide, plain = (create_method("dance", margin=m) for m in (1e9, 0.1))
    net = small_net(wide)
    b = small_batch(memory={"bank": normalize(draw(9, 7, seed=5), dim=-1)})
    assert wide.losses(net, b, at(0.5))["separate"].item() == 0
    first, second = wide.losses(net, b, at(0.5)), plain.losses(net, b, at(0.5))
    assert first["cluster"].item() == second["cluster"].item() and second["separate"].item() < 0


def test_the_batchs_rows_of_the_bank_are_renewed():
    for name in ("dance", "uniot"):
        method = create_method(name)
        net = small_net(method)
        bank = normalize(draw(9, 7, seed=5), dim=-1)
        b = small_batch(memory={"bank": bank.clone()})
        method.after_step(net, b, at(0.5))
        torch.testing.assert_close(b.memory["bank"][:6], normalize(net.body(b.xt), dim=-1))
        assert torch.equal(b.memory["bank"][6:], bank[6:])


def test_an_answer_of_uniot_does_not_depend_on_the_other_rows():
    method = create_method("uniot")
    net, x = small_net(method), draw(40, 5)
    with torch.no_grad():
        method.finish(net, SimpleNamespace(target=(normalize(net.body(x), dim=-1), None)))
        whole, one = method.predict(net, x), method.predict(net, x[3:4])
    torch.testing.assert_close(one.unknown, whole.unknown[3:4])
    torch.testing.assert_close(one.scores, whole.scores[3:4])


def test_uniot_accepts_rows_of_the_whole_targets_plan():
    """unknown is -log(m max_c Q_jc) of the plan that was solved on all rows."""
    method = create_method("uniot", gamma=0.99)
    net, x = small_net(method), draw(40, 5)
    z = normalize(net.body(x), dim=-1).detach()
    with torch.no_grad():
        method.finish(net, SimpleNamespace(target=(z, None)))
        plan, _, share = method._plan(z, normalize(net.head.weight, dim=-1), net.shares.pi)
        torch.testing.assert_close(method.predict(net, x).unknown, -plan.amax(1), rtol=1e-4, atol=1e-4)
    assert share.sum().item() == pytest.approx(1.0)


def test_filling_of_uniot_adds_the_scarcer_kind():
    """Rows that all lie at classes get rows half way to their least similar class beside them, of the same weight."""
    method = create_method("uniot")
    w = torch.eye(3, dtype=torch.float64)
    z = w[torch.arange(12) % 3]
    near, _, _ = method._plan(z, w, torch.full((3,), 1 / 3))
    assert (near.amax(1) > 0).all()  # the made rows, less similar to any class, are what is left out
    assert torch.equal(near.argmax(1), torch.arange(12) % 3)


@pytest.mark.parametrize("name", ["glc", "lead"])
def test_the_head_keeps_its_bits_without_source(name):
    assert is_gradient(name)
    start, end = fit_toy("source_only").predictor.state, fit_toy(name).predictor.state
    for key in ("head.weight", "head.bias"):
        assert torch.equal(start[key], end[key])
    assert not torch.equal(start["body.bottleneck.0.weight"], end["body.bottleneck.0.weight"])


@pytest.mark.parametrize("name", ["ovanet", "dcc"])
def test_with_all_weights_zero_it_is_source_only(name):
    zero = {"ovanet": {"open_weight": 0.0}, "dcc": {"cluster_weight": 0.0}}[name]
    found, plain = fit_toy(name, trade_off=0.0, **zero).predictor, fit_toy("source_only").predictor
    for key, value in plain.state.items():
        if key.startswith(("body.", "head.")):
            assert torch.equal(found.state[key], value)
