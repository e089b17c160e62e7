"""Methods that adapt a source model without the source: their terms, and that without weights the model stays."""

import dataclasses
import math
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from torch import Tensor

from dazoo.contracts.toys import fit_toy, toy_task
from dazoo.core.hparam import space
from dazoo.core.portable import load, save
from dazoo.core.setting import Setting
from dazoo.data.task import Task
from dazoo.engine.fit import Options, fit, fit_group
from dazoo.engine.recipe import Recipe
from dazoo.methods.base import METHODS, Batch, Progress, create_method
from dazoo.ops import neighbourhood, source_free
from dazoo.ops.selftraining import step_draws

PARTS = ("body.", "head.")
ADAPTERS = ["shot", "nrc", "aad", "g_sfda", "cowa_jmds", "adacontrast", "plue"]
DECAYING = Recipe.named("frozen", steps=8, batch=16, bottleneck=6, few_steps=0, smooth=0.1, head="weight_norm")


def _weights(name: str) -> dict[str, float]:
    return {k: 0.0 for k in space(METHODS.get(name)) if k == "trade_off" or k.endswith("_weight")}


def _shared(state: dict[str, Tensor]) -> dict[str, Tensor]:
    return {k: v for k, v in state.items() if k.startswith(PARTS)}


@pytest.mark.parametrize("name", ADAPTERS)
def test_without_weights_the_source_model_stays(name: str) -> None:
    """Under weight decay and batch statistics too."""
    task = toy_task()
    source = _shared(fit_toy(METHODS.get("source_only"), task, recipe=DECAYING).predictor.state)
    still = _shared(fit_toy(METHODS.get(name), task, recipe=DECAYING, **_weights(name)).predictor.state)
    moved = _shared(fit_toy(METHODS.get(name), task, recipe=DECAYING).predictor.state)
    assert all(torch.equal(source[k], still[k]) for k in source)
    assert any(not torch.equal(source[k], moved[k]) for k in source)


def test_runs_that_learn_and_runs_that_do_not_are_no_group() -> None:
    methods = [create_method("shot"), create_method("shot", trade_off=0.0, pseudo_weight=0.0)]
    with pytest.raises(Exception, match="no group"):
        fit_group(methods, toy_task().seen(), seeds=[0, 0], options=Options(recipe=DECAYING, backbone="mlp"))


@pytest.mark.parametrize("name", ADAPTERS)
def test_losses_read_no_source(name: str) -> None:
    """The engine hands the methods no source batch at all, and batches of any size of the target do."""
    assert METHODS.get(name).uses_source is False and METHODS.get(name).start == "source_only"
    result = fit(
        create_method(name), toy_task(n=9).seen(), options=Options(recipe=DECAYING, backbone="mlp")
    )  # fewer samples than a batch or than voting neighbours
    assert torch.isfinite(result.predictor.predict(toy_task().target.x).scores).all()


class _Net(SimpleNamespace):
    """Linear body and head; the averaged network answers from a body of its own."""

    @staticmethod
    def made(seed: int = 0) -> "_Net":
        gen = torch.Generator().manual_seed(seed)
        w, v, u = (torch.randn(*shape, generator=gen).double() for shape in ((5, 4), (4, 3), (5, 4)))
        return _Net(body=lambda x: x @ w, head=lambda f: f @ v, teacher=lambda x: (x @ u @ v, x @ u))


def _batch(memory: dict[str, Tensor], rows: list[int], seed: int = 1) -> Batch:
    gen = torch.Generator().manual_seed(seed)
    x, strong = (torch.randn(len(rows), 5, generator=gen).double() for _ in range(2))
    none = torch.empty(0)
    return Batch(none, none, none, x, none, torch.tensor(rows), xt_strong=strong, memory=memory)


def _memory(n: int = 14, seed: int = 2) -> dict[str, Tensor]:
    gen = torch.Generator().manual_seed(seed)
    f = torch.nn.functional.normalize(torch.randn(n, 4, generator=gen).double(), dim=1)
    p = torch.randn(n, 3, generator=gen).double().softmax(-1)
    return {"bank_f": f, "bank_p": p, "keys": f.flip(0), "labels": torch.randint(0, 3, (n,), generator=gen)}


NOW = Progress(0.5, 3, 10, 1.0)


def _unit(x: Tensor) -> Tensor:
    return x / x.norm(dim=-1, keepdim=True)


def _vote(f: Tensor, memory: dict[str, Tensor], k: int) -> Tensor:
    sim = _unit(f) @ memory["bank_f"].T
    return torch.stack([memory["bank_p"][row.argsort(descending=True)[:k]].mean(0) for row in sim])


def test_local_clustering_equals_loops() -> None:
    net, memory, rows = _Net.made(), _memory(), [3, 9, 0]
    b = _batch(memory, rows)
    p = net.head(net.body(b.xt)).softmax(-1)
    expected = 0.0
    for i, row in enumerate(rows):
        sim = memory["bank_f"] @ _unit(net.body(b.xt)[i])
        near = [int(j) for j in sim.argsort(descending=True) if j != row][:2]
        expected -= sum(math.log(float(p[i] @ memory["bank_p"][j]) + 1e-5) for j in near) / len(rows)
    mean = p.mean(0)
    terms = create_method("g_sfda", trade_off=2.0, div_weight=3.0).losses(net, b, NOW)
    assert np.isclose(float(terms["cluster"]), 2 * expected)
    assert np.isclose(float(terms["div"]), 3 * float((mean * torch.log(mean + 1e-5)).sum()))


def test_weighted_mixtures_equal_loops() -> None:
    net, rows = _Net.made(), [3, 9, 0, 7]
    memory = {"labels": torch.tensor([0, 1, 2] * 5), "weights": torch.linspace(0, 1, 15).double()}
    b = _batch(memory, rows)
    draws = step_draws(NOW.step, 2022)
    share, order = draws.beta(0.2, 0.2, 4), draws.permutation(4)
    expected = 0.0
    for i, j in enumerate(order):
        s, y, w = float(share[i]), memory["labels"][rows], memory["weights"][rows]
        log_p = net.head(net.body(s * b.xt[i] + (1 - s) * b.xt[j])).log_softmax(-1)
        mixed = s * float(w[i]) + (1 - s) * float(w[j])
        expected -= mixed * float(s * log_p[y[i]] + (1 - s) * log_p[y[j]]) / 4
    assert np.isclose(float(create_method("cowa_jmds").losses(net, b, NOW)["cls"]), expected)


def _contrast(z: Tensor, keys: Tensor, bank: Tensor, other: Tensor, temperature: float) -> float:
    total = 0.0
    for i in range(len(z)):
        own = math.exp(float(_unit(z[i]) @ keys[i]) / temperature)
        rest = sum(math.exp(float(_unit(z[i]) @ bank[j]) / temperature) for j in range(len(bank)) if other[i, j])
        total -= math.log(own / (own + rest)) / len(z)
    return total


def test_adacontrast_equals_loops() -> None:
    net, memory = _Net.made(), _memory()
    b = _batch(memory, [3, 9, 0])
    y = _vote(net.body(b.xt), memory, 4).argmax(-1)
    scores = net.head(net.body(b.xt_strong))
    terms = create_method("adacontrast", neighbours=4, temperature=0.2).losses(net, b, NOW)
    assert np.isclose(float(terms["cls"]), -float(scores.log_softmax(-1).gather(1, y[:, None]).mean()))
    keys, other = _unit(net.teacher(b.xt)[1]), y[:, None] != memory["labels"]
    assert np.isclose(float(terms["contrast"]), _contrast(net.body(b.xt_strong), keys, memory["bank_f"], other, 0.2))


def test_plue_equals_loops() -> None:
    net, memory = _Net.made(), _memory()
    memory["labels"] = torch.randint(0, 3, (14, 2), generator=torch.Generator().manual_seed(8))
    b = _batch(memory, [3, 9, 0])
    q = _vote(net.body(b.xt), memory, 4)
    wrong = (q.argmax(-1).numpy() + step_draws(NOW.step, 2023).integers(1, 3, 3)) % 3
    p = net.head(net.body(b.xt_strong)).softmax(-1)
    expected = 0.0
    for i in range(3):
        assert wrong[i] != int(q[i].argmax())
        w = math.exp(float((q[i] * torch.log(q[i] + 1e-5)).sum()) / math.log(3))
        expected -= w * math.log(1 - float(p[i, wrong[i]])) / 3
    terms = create_method("plue", neighbours=4, temperature=0.2).losses(net, b, NOW)
    assert np.isclose(float(terms["cls"]), expected)
    past = memory["labels"]
    other = torch.stack([(past[r] != past).all(1) for r in (3, 9, 0)])
    keys = _unit(net.teacher(b.xt)[1])
    assert np.isclose(float(terms["contrast"]), _contrast(net.body(b.xt_strong), keys, memory["keys"], other, 0.2))


def test_plue_remembers_the_labels_of_the_last_epochs() -> None:
    net, method = _Net.made(), create_method("plue", neighbours=3, history=2)
    x = torch.randn(12, 5, generator=torch.Generator().manual_seed(4)).double()
    look = SimpleNamespace(target=(net.body(x), net.head(net.body(x))), inputs=lambda part: iter([x]), memory={})
    first = method.refresh(net, look)["labels"]
    assert first.shape == (12, 1)
    look.memory = {"labels": torch.tensor([[7, 8]] * 12)}
    second = method.refresh(net, look)["labels"]
    assert second.shape == (12, 2) and (second[:, 0] == 8).all() and torch.equal(second[:, 1:], first)


def test_negative_learning_is_bounded_and_contrast_without_others_is_zero() -> None:
    sure = torch.tensor([[1000.0, 0.0]])
    loss = source_free.negative_learning(sure, torch.tensor([0]), torch.ones(1))
    assert np.isclose(float(loss), -math.log(1e-5), rtol=1e-4)
    f = torch.randn(3, 4, generator=torch.Generator().manual_seed(0))
    nobody = torch.zeros(3, 6, dtype=torch.bool)
    assert float(neighbourhood.contrast(f, _unit(f), torch.eye(4)[[0, 1, 2, 3, 0, 1]], nobody, 0.1).abs()) < 1e-6


def test_label_smoothing_belongs_to_the_source_model_alone() -> None:
    """Labels that were given are smoothed; labels that a method gives itself are not."""
    scores = torch.tensor([[3.0, 0.0, 0.0]]).double()
    f = torch.eye(3).double()[:1]
    net = SimpleNamespace(body=lambda x: f, head=lambda _: scores, criterion=None)
    b = _batch({"labels": torch.tensor([1])}, [0])
    term = create_method("shot", pseudo_weight=1.0).losses(net, b, NOW)["pseudo"]
    assert np.isclose(float(term), -float(scores.log_softmax(-1)[0, 1]))


def _look(setting: str, p: Tensor, f: Tensor) -> SimpleNamespace:
    return SimpleNamespace(target=(f, p.log()), setting=Setting.of(setting), memory={})


def test_shot_of_partial_targets_wants_no_diversity_and_frequent_classes() -> None:
    gen = torch.Generator().manual_seed(3)
    f, p = torch.randn(60, 4, generator=gen).double(), torch.full((60, 3), 0.1).double()
    p[torch.arange(60), torch.tensor([0] * 40 + [1] * 16 + [2] * 4)] = 0.8
    closed = create_method("shot").refresh(_Net.made(), _look("source_free", p, f))
    partial = create_method("shot").refresh(_Net.made(), _look("source_free_partial", p, f))
    assert set(closed) == {"labels"} and partial["diverse"] == 0 and set(closed["labels"].tolist()) == {0, 1, 2}
    # a fifth of 60 / 3 samples: the third class has exactly as many, which is not more
    assert set(partial["labels"].tolist()) == {0, 1}
    memory = {k: v.double() if v.is_floating_point() else v for k, v in partial.items()}
    assert float(create_method("shot").losses(_Net.made(), _batch(memory, [3, 9, 0]), NOW)["div"]) == 0


def test_shot_of_open_targets_learns_from_the_known_alone() -> None:
    gen = torch.Generator().manual_seed(4)
    f, p = torch.randn(12, 4, generator=gen).double(), torch.full((12, 3), 1 / 3).double()
    p[:8] = torch.eye(3).double()[torch.arange(8) % 3] * 0.97 + 0.01
    method, net = create_method("shot"), _Net.made()
    made = method.refresh(net, _look("source_free_open", p, f))
    assert made["known"].tolist() == [1.0] * 8 + [0.0] * 4
    b = _batch({k: v.double() if k != "labels" else v for k, v in made.items()}, [3, 9, 0])
    scores = net.head(net.body(b.xt))
    expected = -scores.log_softmax(-1)[[0, 2], made["labels"][[3, 0]]].mean()
    assert np.isclose(float(method.losses(net, b, NOW)["pseudo"]), 0.3 * float(expected))
    nobody = _batch(dict(b.memory, known=torch.zeros(12).double()), [3, 9, 0])
    assert all(torch.isfinite(v) for v in method.losses(net, nobody, NOW).values())


def test_shot_remembers_which_entropy_is_unknown(tmp_path) -> None:
    task = toy_task()
    y = np.where(task.target.y == 2, "new", np.array(["a", "b", "c"])[task.target.y])
    keep = task.sources[0].y != 2
    names = np.array(["a", "b", "c"])[task.sources[0].y[keep]]
    open_task = Task.from_arrays(
        task.sources[0].x[keep].numpy(), names, task.target.x.numpy(), y, setting="source_free_open"
    )
    model = fit(create_method("shot"), open_task.seen(), options=Options(recipe=DECAYING, backbone="mlp")).predictor
    out = model.predict(open_task.target.x)
    assert out.unknown is not None and 0 < out.threshold < 1 and set(out.labels.tolist()) <= {0, 1, 2}
    save(model, tmp_path / "model.safetensors")
    again = load(tmp_path / "model.safetensors").predict(open_task.target.x[:1])
    assert again.threshold == out.threshold and torch.allclose(again.unknown, out.unknown[:1])


def test_models_of_before_open_targets_are_read() -> None:
    model = fit(create_method("shot"), toy_task().seen(), options=Options(recipe=DECAYING, backbone="mlp")).predictor
    old = dataclasses.replace(model, state={k: v for k, v in model.state.items() if k != "cut"})
    x = toy_task().target.x
    assert torch.equal(old.predict(x).scores, model.predict(x).scores)
