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
from dazoo.ops.source_free import lower_gaussian

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
    found = {k: float(v.detach()) for k, v in terms.items()}
    assert np.isclose(found["distil"], 2 * distil) and np.isclose(found["mix"], 3 * mix)
    assert set(method.losses(net, b, Progress(0.9, 9, 10, 1.0))) == {"info"}


def test_the_lower_gaussian_is_the_lower_cluster() -> None:
    gen = torch.Generator().manual_seed(3)
    x = torch.cat([0.1 * torch.randn(40, generator=gen), 3 + 0.5 * torch.randn(20, generator=gen)]).double()
    r = lower_gaussian(x)
    assert (r[:40] > 0.99).all() and (r[40:] < 0.01).all()
    torch.testing.assert_close(lower_gaussian(100 * x - 7), r)
    assert (lower_gaussian(torch.ones(5)) == 1).all()


def _second(net: _Net) -> _Net:
    torch.manual_seed(5)
    body, head = nn.Linear(5, 4).double(), nn.Linear(4, 3).double()
    second = nn.Module()
    second.body, second.head = body, head
    second.forward = lambda x: (body(x), head(body(x)))  # type: ignore[method-assign]
    net.second = second
    return net


def test_beta_equals_loops() -> None:
    net, rows, t = _second(_Net.made()), [4, 0, 2], Progress(0.2, 3, 10, 1.0)
    gen = torch.Generator().manual_seed(2)
    q = torch.randn(6, 3, generator=gen).double().softmax(-1)
    easy = torch.tensor([[0.9, 0.1, 0.95, 0.2, 0.3, 0.9], [0.9, 0.9, 0.2, 0.2, 0.85, 0.1]]).double()
    memory = {"targets": q, "labels": torch.tensor([0, 1, 2, 0, 1, 2]), "easy": easy}
    b = _batch(memory, rows)
    strong = torch.randn(3, 5, generator=gen).double()
    b = dataclasses.replace(b, xt_strong=strong)
    nets = [lambda x: net.head(net.body(x)), lambda x: net.second(x)[1]]
    p = [(one(b.xt).softmax(-1).detach(), one(strong).softmax(-1).detach()) for one in nets]
    draws = step_draws(3, 2205)
    u = float(draws.beta(1.0, 1.0))
    m, order = max(u, 1 - u), draws.permutation(6)
    x = torch.cat([b.xt, strong])
    cls = prior = 0.0
    for k, one in enumerate(nets):
        labels = []
        for i, row in enumerate(rows):
            own = (p[k][0][i] + p[k][1][i]) / 2
            if easy[k, row] >= 0.8:
                w = easy[1 - k, row]
                label = w * torch.eye(3).double()[memory["labels"][row]] + (1 - w) * own
            else:
                label = (own + (p[1 - k][0][i] + p[1 - k][1][i]) / 2) / 2
            labels.append(label.square() / label.square().sum())
        chosen, got = [], []
        for i, j in enumerate(order):
            if easy[k, rows[i % 3]] >= 0.8:
                answer = one(m * x[i] + (1 - m) * x[j]).softmax(-1).detach()
                wanted = m * labels[i % 3] + (1 - m) * labels[j % 3]
                chosen.append(-float((wanted * answer.log()).sum()))
                got.append(answer)
        cls += np.mean(chosen) if chosen else 0.0
        if got:
            mean = torch.stack(got).mean(0)
            prior += float((torch.log(1 / 3 / mean) / 3).sum())
    terms = create_method("beta", easy_weight=2.0, prior_weight=3.0).losses(net, b, t)
    assert np.isclose(float(terms["easy"].detach()), 2 * cls)
    assert np.isclose(float(terms["prior"].detach()), 3 * prior)
    assert set(create_method("beta").losses(net, b, Progress(0.9, 9, 10, 1.0))) == {"info"}
    nobody = dataclasses.replace(b, memory=dict(memory, easy=torch.zeros(2, 6).double()))
    quiet = create_method("beta").losses(net, nobody, t)
    assert float(quiet["easy"].detach()) == 0 and float(quiet["prior"].detach()) == 0


def test_dine_averages_its_labels() -> None:
    net, method = _Net.made(), create_method("dine", ema=0.75)
    answers = torch.tensor([[0.5, 0.3, 0.2], [0.1, 0.1, 0.8]]).double()
    scores = torch.tensor([[2.0, 0.0, 0.0], [0.0, 1.0, 0.0]]).double()
    look = SimpleNamespace(teacher=answers, target=(None, scores), memory={})
    first = method.refresh(net, look)["targets"]
    assert torch.allclose(first, torch.tensor([[0.5, 0.25, 0.25], [0.1, 0.1, 0.8]]).double())
    look.memory = {"targets": first}
    assert torch.allclose(method.refresh(net, look)["targets"], 0.75 * first + 0.25 * scores.softmax(-1))
