"""Methods that may only ask the source's model: what they take of it, and what they learn."""

import dataclasses
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from dazoo.contracts.toys import toy_task
from dazoo.core.memo import Memo
from dazoo.core.setting import Setting
from dazoo.engine.fit import Options, fit
from dazoo.engine.predictor import NetPredictor
from dazoo.engine.recipe import Recipe
from dazoo.engine.start import starting
from dazoo.methods.base import METHODS, Batch, Progress, create_method
from dazoo.ops.selftraining import step_draws

RECIPE = Recipe.named("frozen", steps=6, batch=16, bottleneck=6, few_steps=0)
OPTIONS = Options(recipe=RECIPE, backbone="mlp")
BLACK_BOX = Setting.of("black_box")
ASKERS = [n for n in METHODS.names() if METHODS.get(n).handles.asks_only]


@pytest.mark.parametrize("name", ASKERS)
def test_no_parameter_of_the_source_model_is_reached(name: str) -> None:
    """Not by the network that is trained, and not by what the method sees."""
    task, method = toy_task(BLACK_BOX), create_method(name)
    start, seen = starting(method, task.seen(), 0, OPTIONS, Memo(), fit)
    assert start is not None and seen.source is None and seen.source_val is None and seen.origin is None
    assert {f.name for f in dataclasses.fields(seen) if callable(getattr(seen, f.name))} == {"teacher"}
    assert seen.teacher is not None
    p = seen.teacher(seen.target.x)
    assert torch.allclose(p.sum(1), torch.ones(len(p)), atol=1e-5)
    torch.testing.assert_close(p, start.predictor.predict(seen.target.x).probs)
    model = fit(method, task.seen(), options=OPTIONS).predictor
    assert isinstance(model, NetPredictor) and isinstance(start.predictor, NetPredictor)
    theirs = [v for v in start.predictor.state.values() if v.numel() > 1]
    for key, mine in model.state.items():
        for other in theirs:
            constant = bool((mine == mine.reshape(-1)[0]).all()) if mine.numel() else True
            assert constant or mine.shape != other.shape or not torch.equal(mine, other), key


@pytest.mark.parametrize("name", ASKERS)
def test_nothing_but_the_answers_counts(name: str) -> None:
    """Another source whose model gives the same answers gives the same model."""
    seen = toy_task(BLACK_BOX).seen()
    answers = torch.eye(3)[torch.arange(60) % 3] * 0.7 + 0.1
    results = []
    for seed in (0, 1):
        from_other = dataclasses.replace(toy_task(BLACK_BOX, seed=seed).seen().origin, key=str(seed))
        asked = dataclasses.replace(seen, origin=from_other)

        class Told(type(create_method(name))):  # type: ignore[misc]
            def refresh(self, net, look):  # type: ignore[no-untyped-def]
                told = SimpleNamespace(
                    teacher=answers, target=look.target, memory=look.memory, inputs=look.inputs, step=look.step
                )
                return super().refresh(net, told)

        results.append(fit(Told(), asked, options=OPTIONS).predictor.predict(seen.target.x).scores)
    assert torch.equal(*results)


class _Net(SimpleNamespace):
    @staticmethod
    def made() -> "_Net":
        torch.manual_seed(0)
        body, head = nn.Linear(5, 4).double(), nn.Linear(4, 3).double()
        return _Net(body=body, head=head, parameters=lambda: iter([*body.parameters()]))


def _batch(memory: dict[str, Tensor], rows: list[int]) -> Batch:
    x = torch.randn(len(rows), 5, generator=torch.Generator().manual_seed(1)).double()
    none = torch.empty(0)
    return Batch(none, none, none, x, none, torch.tensor(rows), memory=memory)


def test_dine_equals_loops() -> None:
    net, rows = _Net.made(), [4, 0, 2]
    q = torch.randn(6, 3, generator=torch.Generator().manual_seed(2)).double().softmax(-1)
    b = _batch({"targets": q}, rows)
    p = net.head(net.body(b.xt)).softmax(-1).detach()
    draws = step_draws(3, 2104)
    share, order = float(draws.beta(0.3, 0.3)), draws.permutation(3)
    distil = mix = 0.0
    for i, j in enumerate(order):
        distil += float((q[rows[i]] * (q[rows[i]] / p[i]).log()).sum()) / 3
        wanted = share * p[i] + (1 - share) * p[j]
        got = net.head(net.body(share * b.xt[i] + (1 - share) * b.xt[j])).softmax(-1).detach()
        mix += float((wanted * (wanted / got).log()).sum()) / 3
    method = create_method("dine", trade_off=2.0, mix_weight=3.0)
    terms = method.losses(net, b, Progress(0.2, 3, 10, 1.0))
    assert np.isclose(float(terms["distil"]), 2 * distil) and np.isclose(float(terms["mix"]), 3 * mix)
    assert set(method.losses(net, b, Progress(0.9, 9, 10, 1.0))) == {"info"}


def test_dine_averages_its_labels() -> None:
    net, method = _Net.made(), create_method("dine", ema=0.75)
    answers = torch.tensor([[0.5, 0.3, 0.2], [0.1, 0.1, 0.8]]).double()
    scores = torch.tensor([[2.0, 0.0, 0.0], [0.0, 1.0, 0.0]]).double()
    look = SimpleNamespace(teacher=answers, target=(None, scores), memory={})
    first = method.refresh(net, look)["targets"]
    assert torch.allclose(first, torch.tensor([[0.5, 0.25, 0.25], [0.1, 0.1, 0.8]]).double())
    look.memory = {"targets": first}
    assert torch.allclose(method.refresh(net, look)["targets"], 0.75 * first + 0.25 * scores.softmax(-1))
