"""Methods that tell several targets apart, or look for them in one pool."""

from __future__ import annotations

import dataclasses
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from torch.nn.functional import cross_entropy, logsigmoid

from dazoo.contracts.toys import TINY
from dazoo.data.task import Task
from dazoo.engine.fit import Options, fit
from dazoo.methods.base import create_method
from dazoo.ops.entropy import entropy_of_logits
from tests.stage import Stage


class Told(Stage):
    """A stage whose target rows are of two targets in turns."""

    @property
    def batch(self):
        return dataclasses.replace(super().batch, dt=torch.arange(self.m) % 2)


def told(name: str, memory: dict[str, torch.Tensor], **options) -> Told:
    return Told(create_method(name, **options), memory=memory)


def two_targets(seed: int = 0) -> Task:
    rng = np.random.default_rng(seed)
    y = np.arange(30) % 3
    parts = [(rng.normal(size=(30, 4)) + 3 * np.eye(3, 4)[y] + move).astype(np.float32) for move in (0, 4, -4)]
    return Task.from_arrays(parts[0], y, parts[1:], [y, y])


def test_amean_terms() -> None:
    part = torch.tensor([0, 1, 2, 0, 1, 2])
    st = told("amean", {"part": part}, ent_weight=0.2, split_weight=0.5, trade_off=0.7)
    terms = st.terms(ramp=0.5, fraction=0.4)
    zs, zt = (st.net.disc(f).squeeze(-1) for f in (st.fs, st.ft))
    torch.testing.assert_close(terms["dom"], -0.5 * (logsigmoid(zs).mean() + logsigmoid(-zt).mean()))
    torch.testing.assert_close(terms["ent"], 0.2 * entropy_of_logits(st.net.head(st.ft)).mean())
    split = cross_entropy(st.net.parts(st.ft), part)
    torch.testing.assert_close(terms["split"], split)
    torch.testing.assert_close(st.grads(terms["split"])[1], -0.5 * 0.4 * torch.autograd.grad(split, st.ft)[0])


def test_amean_looks_for_parts_in_a_blind_pool() -> None:
    """Parts are the targets where they are known, else clusters, which keep their numbers."""
    task = two_targets()
    x = task.seen().target.x
    wide = x + 20 * torch.eye(4)[task.target.y]  # classes lie further apart than the targets
    look = SimpleNamespace(target=(wide, 9.0 * torch.eye(3)[task.target.y]), target_domain=None, memory={})
    method = create_method("amean", clusters=2)
    found = method.refresh(SimpleNamespace(n_targets=1), look)
    assert (found["part"] == task.target.member).double().mean() in (0.0, 1.0)
    look.memory = found
    assert torch.equal(method.refresh(SimpleNamespace(n_targets=1), look)["part"], found["part"])
    sizes = []
    for setting, clusters in (("multi_target", 5), ("blind_targets", 5)):
        method = create_method("amean", clusters=clusters)
        seen = task.change(setting=setting).seen()
        state = fit(method, seen, options=Options(recipe=TINY, backbone="mlp")).predictor.state
        sizes.append(max(len(v) for k, v in state.items() if k == "parts.4.bias"))
    assert sizes == [2, 5]


def test_dcl_takes_one_target_after_the_other() -> None:
    """Of two targets the surer is aligned first, then the other, beside pseudo-labels of the first, then both."""
    memory = {"rank": torch.tensor([1, 0]), "label": torch.tensor([0, 1, 2, 0, 1, 2]), "sure": torch.ones(6).double()}
    memory["sure"][1] = 0.0
    st = told("dcl", memory, pseudo_weight=0.5, curriculum=0.8)
    st.net.n_targets = 2
    p = st.net.head(st.ft).softmax(1)
    z = st.net.disc((p[:, :, None] * st.ft[:, None, :]).flatten(1)).squeeze(-1)
    ps = st.net.head(st.fs).softmax(1)
    zs = st.net.disc((ps[:, :, None] * st.fs[:, None, :]).flatten(1)).squeeze(-1)
    lost, ce = -logsigmoid(-z), cross_entropy(st.net.head(st.ft), memory["label"], reduction="none")
    dt = torch.arange(6) % 2
    for fraction, now, done in ((0.1, dt == 1, dt == 7), (0.5, dt == 0, dt == 1), (0.9, dt >= 0, dt >= 0)):
        terms = st.terms(fraction=fraction)
        torch.testing.assert_close(terms["dom"], 0.5 * (-logsigmoid(zs).mean() + lost[now].mean()))
        torch.testing.assert_close(terms["pseudo"], 0.5 * (done * memory["sure"] * ce).mean())


@pytest.mark.parametrize("name", ["amean", "dcl"])
def test_they_use_which_target_a_sample_is_of(name: str) -> None:
    task = two_targets()
    options = Options(recipe=TINY, backbone="mlp")
    known, blind = (
        fit(create_method(name), task.change(setting=s).seen(), options=options).predictor.predict(task.target.x).scores
        for s in ("multi_target", "blind_targets")
    )
    assert not torch.allclose(known, blind)
