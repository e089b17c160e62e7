"""Open-set methods: who moves which way, terms against transcriptions, and what they call unknown."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from dazoo.core import portable
from dazoo.methods.base import METHODS, create_method
from dazoo.ops.source_free import two_means
from tests.small import at, draw, small_batch, small_net
from tests.toys import fit_toy, task_for

SCORED = ["energy", "knn_distance", "max_logit", "msp"]
EXTRA = ["osbp", "sta", "normality_split"]


def gradient(value, net, part):
    leaves = list(net.get_submodule(part).parameters())
    found = torch.autograd.grad(value, leaves, retain_graph=True, allow_unused=True)
    return torch.cat([(torch.zeros_like(p) if g is None else g).flatten() for p, g in zip(leaves, found)])


def full(net, x):
    """Scores (n, K + 1)."""
    f = net.body(x)
    return torch.cat([net.head(f), net.extra(f)], 1)


def test_body_and_classifier_of_osbp_pull_the_unknown_probability_apart():
    method = create_method("osbp", trade_off=0.7)
    net, b = small_net(method), small_batch()
    value = method.losses(net, b, at(0.5))["unknown"]
    q = full(net, b.xt).softmax(1)[:, -1]
    plain = -(0.5 * q.log() + 0.5 * (1 - q).log()).mean()
    assert value.item() == pytest.approx(plain.item(), rel=1e-4)  # 1e-6 inside the logarithms
    for part in ("head", "extra"):
        torch.testing.assert_close(gradient(value, net, part), gradient(plain, net, part), rtol=1e-3, atol=1e-6)
    reversed_ = -0.7 * 0.5 * gradient(plain, net, "body")
    torch.testing.assert_close(gradient(value, net, "body"), reversed_, rtol=1e-3, atol=1e-6)


@pytest.mark.parametrize("name", EXTRA)
def test_unknown_is_what_the_extra_class_wins(name):
    method = create_method(name)
    net, x = small_net(method), 3 * draw(40, 5)
    torch.nn.init.normal_(net.extra.weight)
    assert torch.equal(method.predict(net, x).labels, full(net, x).argmax(1))


def test_stages_of_sta():
    method = create_method("sta")
    net, b = small_net(method), small_batch()
    assert set(method.losses(net, b, at(0.1))) == {"cls", "ova", "split"}
    assert set(method.losses(net, b, at(0.5))) == {"cls", "ova", "split", "dom", "ent"}
    late = method.losses(net, b, at(0.9))
    assert set(late) == {"cls", "ova", "split", "dom", "ent", "unknown"}
    for term, part in (("ova", "ova"), ("split", "split")):
        assert gradient(late[term], net, "body").abs().sum() == 0
        assert gradient(late[term], net, part).abs().sum() > 0


def test_sta_separates_by_the_extremes_of_a_batch():
    method = create_method("sta", share=0.34)
    net, b = small_net(method), small_batch()
    f = net.body(b.xt)
    order = net.ova(f).amax(1).argsort()
    z = net.split(f).squeeze(1)
    expected = torch.nn.functional.softplus(-z[order[-2:]]).mean() + torch.nn.functional.softplus(z[order[:2]]).mean()
    assert method.losses(net, b, at(0.5))["split"].item() == pytest.approx(expected.item())


def test_normality_split_is_a_transcription():
    method = create_method("normality_split", trade_off=0.3, unknown_weight=0.7)
    net = small_net(method)
    known = torch.tensor([1.0, 0, 0, 1, 1, 0], dtype=torch.float64)
    b = small_batch(memory={"known": known, "unknown": torch.tensor([0, 1.0, 1.0, 0, 0, 0], dtype=torch.float64)})
    p = full(net, b.xt).softmax(1).detach().numpy()
    terms = method.losses(net, b, at(0.5))
    ent = np.mean([-(p[i] * np.log(p[i])).sum() for i in (0, 3, 4)])
    assert terms["ent"].item() == pytest.approx(0.3 * ent)
    assert terms["unknown"].item() == pytest.approx(0.7 * np.mean([-np.log(p[i, 3]) for i in (1, 2)]))
    b.memory["unknown"][:] = 0
    assert method.losses(net, b, at(0.5))["unknown"].item() == 0


class Looked:
    """A look with a given target."""

    def __init__(self, net, method, xs, xt):
        self.source, self.target = ((o.features, o.scores) for o in (method.predict(net, xs), method.predict(net, xt)))


@pytest.mark.parametrize("name", SCORED)
def test_scores_of_being_unknown(name):
    method = create_method(name)
    net, x = small_net(method), draw(30, 5)
    with torch.no_grad():
        method.finish(net, Looked(net, method, draw(20, 5, seed=4), x))
        out = method.predict(net, x)
    scores = out.scores
    z, zs = (torch.nn.functional.normalize(net.body(v), dim=1) for v in (x, draw(20, 5, seed=4)))
    expected = {
        "energy": -scores.exp().sum(1).log(),
        "max_logit": -scores.max(1).values,
        "msp": (1 - scores.softmax(1).max(1).values) * 1.5,
        "knn_distance": torch.cdist(z, zs).sort(1).values[:, 4],
    }[name]
    torch.testing.assert_close(out.unknown, expected.detach(), rtol=1e-6, atol=1e-7)
    low, high, _ = two_means(expected.detach())
    assert out.threshold == pytest.approx(0.5 if name == "msp" else ((low + high) / 2).item(), abs=1e-6)


def test_the_scale_of_msp_reaches_from_zero_to_one():
    method = create_method("msp")
    for k in (2, 9):
        doubt = method.unknown(None, torch.stack([torch.zeros(k), 1e4 * torch.eye(k)[0]]), None)
        torch.testing.assert_close(doubt, torch.tensor([1.0, 0.0]))


@pytest.mark.parametrize("name", ["knn_distance", "energy", "dcc", "uniot"])
def test_a_loaded_model_calls_the_same_samples_unknown(name, tmp_path):
    cls = METHODS.get(name)
    task, model = task_for(cls), fit_toy(name).predictor
    portable.save(model, tmp_path / "m.safetensors")
    x = task.seen().target.x
    before, after = model.predict(x), portable.load(tmp_path / "m.safetensors").predict(x)
    torch.testing.assert_close(before.unknown, after.unknown)
    assert before.threshold == after.threshold
    assert torch.equal(before.labels, after.labels)
