"""Methods with a few target labels, against transcriptions in loops; fits of toys for what spans a whole run."""

from __future__ import annotations

import dataclasses
import math

import numpy as np
import pytest
import torch
from torch.nn import functional

from dazoo.contracts.toys import fit_toy
from dazoo.methods.base import METHODS, Batch, create_method
from dazoo.nets.net import Net
from dazoo.ops import perturb
from dazoo.ops import semi_supervised as ops
from tests.small import at, draw, small_batch, small_net
from tests.transcribed import nll

NAMES = ("s_plus_t", "ent", "mme", "ape", "cdac", "clda", "sla")
T = 0.1


def views(seed: int = 0) -> Batch:
    """A batch with two strong views of the target."""
    return dataclasses.replace(small_batch(seed=seed), xt_more=draw(6, 1, 5, seed=40))


def made(name: str, memory: dict | None = None, seed: int = 0, **hparams: float) -> tuple[dict[str, float], Net, Batch]:
    method = create_method(name, **{"temperature": T, **hparams})
    net, b = small_net(method, seed), dataclasses.replace(views(), memory=memory or {})
    out = method.losses(net, b, at(0.2))
    return {k: float(v.detach()) for k, v in out.items()}, net, b


def cosine(net: Net, x: torch.Tensor) -> np.ndarray:
    f = net.body(x).detach().numpy()
    return np.array([[w @ v / np.linalg.norm(v) / T for w in net.head.weight.detach().numpy()] for v in f])


def softmax(z: np.ndarray) -> np.ndarray:
    e = np.exp(z - z.max(1, keepdims=True))
    return e / e.sum(1, keepdims=True)


@pytest.mark.parametrize("name", NAMES)
def test_labels_of_both_domains_count_alike_under_a_cosine_classifier(name: str) -> None:
    out, net, b = made(name, **({"warm_up": 0.5} if name == "sla" else {}))
    for term, x, y in (("cls", b.xs, b.ys), ("few", b.xf, b.yf)):
        assert out[term] == pytest.approx(0.5 * np.mean(nll(softmax(cosine(net, x)), y)), rel=1e-9)
    answered = create_method(name, temperature=T).predict(net, b.xt).scores.detach().numpy()
    assert np.allclose(answered, cosine(net, b.xt))
    scaled = create_method(name, temperature=T / 2).predict(net, b.xt).scores.detach().numpy()
    assert np.allclose(scaled, 2 * answered)


def test_s_plus_t_reads_no_unlabelled_sample() -> None:
    cls = METHODS.get("s_plus_t")
    assert not cls.uses_target and set(made("s_plus_t")[0]) == {"cls", "few"}


def test_ent_is_minimax_entropy_with_a_head_that_descends() -> None:
    out, net, b = made("ent", trade_off=0.3)
    p = softmax(cosine(net, b.xt))
    assert out["ent"] == pytest.approx(-0.3 * np.mean([sum(q * math.log(q) for q in row) for row in p]), rel=1e-9)
    parts = [net.head.weight, net.body.bottleneck[0].weight]
    grads = [
        torch.autograd.grad(create_method(n, temperature=T).losses(net, b, at(0.2))["ent"], parts)
        for n in ("ent", "mme")
    ]
    assert torch.allclose(grads[0][0], -grads[1][0]) and torch.allclose(grads[0][1], grads[1][1])


# -- ape --------------------------------------------------------------------------------------------------------------


def test_ape_terms_match_loops() -> None:
    out, net, b = made("ape", trade_off=2.0, explore_weight=3.0, perturb_weight=5.0, threshold=0.75, radius=0.2)
    unit = [[v / np.linalg.norm(v) for v in net.body(x).detach().numpy()] for x in (b.xs, b.xf, b.xt)]
    known, open_ = [*unit[0], *unit[1]], unit[2]

    def kernel(left: list, right: list) -> float:
        return np.mean([sum(math.exp(-((u - v) ** 2).sum() / (2 * s * s)) for s in (1, 2, 5, 10))
                        for u in left for v in right])  # fmt: skip

    assert out["attract"] == pytest.approx(
        2 * (kernel(known, known) + kernel(open_, open_) - 2 * kernel(known, open_)), rel=1e-8
    )
    p = softmax(cosine(net, b.xt))
    entropy = -(p * np.log(p)).sum(1)
    sure = [-math.log(row.max()) for row, h in zip(p, entropy) if h < 0.75 * math.log(3)]
    assert 0 < len(sure) < len(p) and out["explore"] == pytest.approx(3 * np.mean(sure), rel=1e-9)

    x = torch.cat([b.xf, b.xt])
    length, moved = 0.2 * float(np.mean([np.linalg.norm(v) for v in x.numpy()])), []
    for v in x:
        probe = v[None].clone().requires_grad_()
        f = net.body(probe)
        z = functional.normalize(f) @ net.head.weight.T / T
        g = torch.autograd.grad(-(z.softmax(1) * z.log_softmax(1)).sum(), probe)[0][0]
        before, after = (softmax(cosine(net, w[None]))[0] for w in (v, v + length * g / g.norm()))
        moved.append(sum(q * math.log(q / r) for q, r in zip(before, after)))
    assert out["perturb"] == pytest.approx(5 * np.mean(moved) / 3, rel=1e-7)


def test_no_short_step_raises_the_entropy_more() -> None:
    weight, x = draw(4, 3, seed=1), draw(5, 4, seed=2)
    d = perturb.entropy_direction(lambda z: z @ weight, x)
    assert torch.allclose(d.norm(dim=1), torch.ones(5, dtype=torch.float64))

    def entropy(z: torch.Tensor) -> torch.Tensor:
        return -((z @ weight).softmax(1) * (z @ weight).log_softmax(1)).sum(1)

    for seed in range(20):
        other = functional.normalize(draw(5, 4, seed=50 + seed), dim=1)
        assert (entropy(x + 1e-5 * d) >= entropy(x + 1e-5 * other) - 1e-12).all()


# -- cdac -------------------------------------------------------------------------------------------------------------


def test_cdac_terms_match_loops() -> None:
    out, net, b = made("cdac", trade_off=2.0, pseudo_weight=3.0, consistency_weight=5.0, threshold=0.6, top=2, ramp=0.8)
    p, q, r = (softmax(cosine(net, x)) for x in (b.xt, b.xt_strong, b.xt_more[:, 0]))
    best = [set(np.argsort(-f, kind="stable")[:2]) for f in net.body(b.xt).detach().numpy()]
    pairs = []
    for i in range(6):
        for j in range(6):
            agree = p[i] @ q[j]
            pairs.append(math.log((agree if best[i] == best[j] else 1 - agree) + 1e-7))
    assert len({frozenset(s) for s in best}) > 1 and out["cluster"] == pytest.approx(
        2 * 3 / 126 * np.mean(pairs), rel=1e-9
    )
    taught = [-math.log(r[i, p[i].argmax()]) if p[i].max() >= 0.6 else 0.0 for i in range(6)]
    assert 0 < sum(map(bool, taught)) < 6 and out["pseudo"] == pytest.approx(3 * np.mean(taught), rel=1e-9)
    weight = math.exp(-5 * (1 - 0.2 / 0.8) ** 2)
    assert out["consistency"] == pytest.approx(5 * weight * np.mean((q - r) ** 2), rel=1e-6)


def test_cdac_moves_body_and_head_in_opposite_directions() -> None:
    method = create_method("cdac", temperature=T, top=2)
    net, b = small_net(method), views()
    parts = [net.head.weight, net.body.bottleneck[0].weight]
    got = torch.autograd.grad(method.losses(net, b, at(0.2))["cluster"], parts)
    p, q = (method.predict(net, x).scores.softmax(1) for x in (b.xt, b.xt_strong))
    plain = torch.autograd.grad(ops.pairwise_clusters(p, q, ops.same_largest(net.body(b.xt), 2)), parts)
    share = 3 / 126  # of the weight for 126 classes
    assert torch.allclose(got[0], -share * plain[0]) and torch.allclose(got[1], share * plain[1])


def test_samples_are_similar_where_their_largest_entries_are_the_same() -> None:
    f = torch.tensor([[9.0, 8, 1, 0], [3, 5, 1, 2], [9, 1, 8, 0], [0, 0, 0, 0]])
    assert ops.same_largest(f, 2).tolist() == [[1, 1, 0, 1], [1, 1, 0, 1], [0, 0, 1, 0], [1, 1, 0, 1]]
    assert ops.same_largest(f, 9).tolist() == ops.same_largest(f, 3).tolist() != torch.ones(4, 4).tolist()


# -- clda -------------------------------------------------------------------------------------------------------------


def contrast_by_loops(a: np.ndarray, b: np.ndarray, temperature: float, rows: list[int]) -> float:
    def h(u: np.ndarray, v: np.ndarray) -> float:
        return math.exp(u @ v / np.linalg.norm(u) / np.linalg.norm(v) / temperature)

    each = []
    for i in rows:
        below = sum(h(a[i], b[r]) for r in rows) + sum(h(a[i], a[r]) for r in rows if r != i)
        each.append(-math.log(h(a[i], b[i]) / below))
    return float(np.mean(each))


def test_contrast_of_pairs_matches_loops_and_leaves_absent_rows_out() -> None:
    a, b = draw(5, 4, seed=3), draw(5, 4, seed=4)
    assert float(ops.paired_contrast(a, b, 0.7)) == pytest.approx(
        contrast_by_loops(a.numpy(), b.numpy(), 0.7, [0, 1, 2, 3, 4]), rel=1e-9
    )
    present = torch.tensor([1.0, 0, 1, 1, 0], dtype=torch.float64)
    a[1], b[4] = 0.0, float("1e6")  # what is absent may be anything
    some = ops.paired_contrast(a.requires_grad_(), b, 0.7, present)
    assert some.item() == pytest.approx(contrast_by_loops(a.detach().numpy(), b.numpy(), 0.7, [0, 2, 3]), rel=1e-9)
    grad = torch.autograd.grad(some, a)[0]
    assert torch.isfinite(grad).all() and not grad[[1, 4]].any() and grad[[0, 2, 3]].any()
    assert ops.paired_contrast(a, b, 0.7, 0 * present).item() == 0.0


def test_clda_terms_match_loops() -> None:
    out, net, b = made("clda", seed=3, trade_off=2.0, instance_weight=3.0, contrast_temperature=0.7, decay=0.4)
    source, weak, strong = (cosine(net, x) for x in (b.xs, b.xt, b.xt_strong))
    label = weak.argmax(1)
    rows = [k for k in range(3) if (label == k).any() and (b.ys.numpy() == k).any()]
    centres = np.array([weak[label == k].mean(0) if (label == k).any() else np.zeros(3) for k in range(3)])
    near = np.array([0.6 * source[b.ys.numpy() == k].mean(0) if (b.ys == k).any() else np.zeros(3) for k in range(3)])
    assert len(rows) > 1 and out["classes"] == pytest.approx(2 * contrast_by_loops(centres, near, 0.7, rows), rel=1e-6)
    assert out["samples"] == pytest.approx(3 * contrast_by_loops(strong, weak, 0.7, list(range(6))), rel=1e-9)


# -- decota -----------------------------------------------------------------------------------------------------------


def test_decota_terms_match_loops_and_each_network_is_taught_by_the_other() -> None:
    method = create_method("decota", temperature=T, trade_off=2.0, threshold=0.55)
    net, b = small_net(method), views()
    with torch.no_grad():
        net.body_s.bottleneck[0].weight.add_(0.3 * draw(*net.body_s.bottleneck[0].weight.shape, seed=9))

    class Other:
        body, head = net.body_s, net.head_s

    f, g = (lambda x, n=n: softmax(cosine(n, x)) for n in (net, Other))
    out = method.losses(net, b, at(0.2))
    share = float(np.random.default_rng([2021, at(0.2).step]).beta(1.0, 1.0))
    for term, model, teacher, x, y, own in (
        ("mix_f", f, g, b.xf, b.yf, share), ("mix_g", g, f, b.xs, b.ys, 1 - share),
    ):  # fmt: skip
        taught, mixed = teacher(b.xt), model(own * x + (1 - own) * b.xt)
        each = [
            -own * math.log(mixed[i, y[i]]) - (1 - own) * math.log(mixed[i, taught[i].argmax()])
            for i in range(6) if taught[i].max() >= 0.55
        ]  # fmt: skip
        assert 0 < len(each) < 6 and out[term].item() == pytest.approx(2 * np.mean(each), rel=1e-9)
    assert out["few"].item() == pytest.approx(np.mean(nll(f(b.xf), b.yf)), rel=1e-9)
    assert out["cls"].item() == pytest.approx(np.mean(nll(g(b.xs), b.ys)), rel=1e-9)
    target, source = [net.head.weight], [net.head_s.weight]
    for term, mine, other in (("mix_f", target, source), ("mix_g", source, target)):
        assert torch.autograd.grad(out[term], other, retain_graph=True, allow_unused=True)[0] is None
        assert torch.autograd.grad(out[term], mine, retain_graph=True)[0].any()
    both = method.predict(net, b.xt).scores.softmax(1).detach().numpy()
    assert np.allclose(both, (f(b.xt) + g(b.xt)) / 2)


# -- sla --------------------------------------------------------------------------------------------------------------


def test_sla_mixes_source_labels_with_what_target_centres_say() -> None:
    centres, present = draw(3, 7, seed=8), torch.tensor([1.0, 0, 1], dtype=torch.float64)
    memory = {"centres": centres, "present": present}
    out, net, b = made("sla", memory, mix=0.4, sharpness=0.7, warm_up=0.1)
    plain, _, _ = made("mme")
    assert out["cls"] == pytest.approx(0.6 * plain["cls"], rel=1e-9) and out["ent"] == pytest.approx(plain["ent"])
    each = []
    for v, p in zip(net.body(b.xs).detach().numpy(), softmax(cosine(net, b.xs))):
        u = v / np.linalg.norm(v) / T
        q = [math.exp(-0.7 * np.linalg.norm(u - c)) * keep for c, keep in zip(centres.numpy(), present.numpy())]
        each.append(-sum(a / sum(q) * math.log(s) for a, s in zip(q, p)))
    assert out["adapted"] == pytest.approx(0.5 * 0.4 * np.mean(each), rel=1e-9)


def test_sla_before_its_warm_up_ends_is_mme() -> None:
    one, other = fit_toy(METHODS.get("sla"), warm_up=1.0), fit_toy(METHODS.get("mme"))
    x = draw(9, 8).float()
    assert torch.equal(one.predictor.predict(x).scores, other.predictor.predict(x).scores)
