"""Self-training by labels: alignment, thresholds, centroids and cycles against slow transcriptions."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch

from dazoo.methods.base import create_method
from dazoo.ops import selftraining as ops
from tests.small import at, draw, small_batch, small_net
from tests.transcribed import nll, probs, terms

# -- alignment of label distributions -----------------------------------------------------------------------------


def test_adamatch_matches_loops():
    out, net, b = terms("adamatch", 0.25, trade_off=2.0, threshold=1.0, strong_weight=0.5)
    ps, pt, strong = probs(net, b.xs), probs(net, b.xt), probs(net, b.xt_strong)
    ratio = ps.mean(0) / pt.mean(0)
    q = np.array([row * ratio / sum(row * ratio) for row in pt])
    least = np.mean([row.max() for row in ps])
    values = [-sum(q[j] * np.log(strong[j])) if q[j].max() >= least else 0.0 for j in range(len(q))]
    assert 0 < sum(v > 0 for v in values) < len(values)
    assert float(out["pseudo"]) == pytest.approx(2.0 * 0.5 * np.mean(values), rel=1e-10)
    assert float(out["strong"]) == pytest.approx(0.5 * np.mean(nll(probs(net, b.xs_strong), b.ys)), rel=1e-10)


def test_alignment_gives_the_wanted_mean_for_certain_predictions_and_divides_out_class_weights():
    p = torch.softmax(draw(8, 3), 1)
    wanted = torch.tensor([0.5, 0.3, 0.2], dtype=torch.float64)
    q = ops.align_distribution(p, wanted, p.mean(0))
    torch.testing.assert_close(q.sum(1), torch.ones(8, dtype=torch.float64))
    tilt = torch.tensor([1.0, 5.0, 0.2], dtype=torch.float64)
    torch.testing.assert_close(ops.align_distribution(p * tilt, wanted, (p * tilt).mean(0)), q)


def test_adamatch_mixes_scores_where_there_is_batch_normalisation():
    method = create_method("adamatch")
    net, b = small_net(method, norm="batch"), small_batch()
    first, again, later = (method.losses(net, b, at(f))["cls"].item() for f in (0.25, 0.25, 0.5))
    both = net.head(net.body(torch.cat([b.xs, b.xs_strong, b.xt, b.xt_strong])))[:6]
    alone = net.head(net.body(torch.cat([b.xs, b.xs_strong])))[:6]
    share = torch.as_tensor(ops.step_draws(25, 2106).random((12, 3)))[:6]
    mixed = net.criterion(share * both + (1 - share) * alone, b.ys).item()
    assert first == again == pytest.approx(mixed, rel=1e-12) and later != first


# -- cycle self-training ------------------------------------------------------------------------------------------


def test_cycle_matches_the_normal_equations():
    method = create_method("cst", trade_off=2.0, ridge=0.3)
    net, b = small_net(method), small_batch()
    out = method.losses(net, b, at(0.5))
    fs, ft = (np.c_[net.body(x).detach().numpy(), np.ones(6)] for x in (b.xs, b.xt))
    labels = np.eye(3)[probs(net, b.xt).argmax(1)]
    r = 0.3 * np.mean((ft**2).sum(1))
    w = np.linalg.inv(ft.T @ ft + r * np.eye(8)) @ ft.T @ labels
    gap = sum(sum((fs[i] @ w - np.eye(3)[b.ys[i]]) ** 2) for i in range(6)) / 6
    assert float(out["cycle"].detach()) == pytest.approx(2.0 * gap, rel=1e-9)


def test_cycle_gradient_passes_through_the_solution():
    y = torch.eye(3, dtype=torch.float64)[torch.tensor([0, 1, 2, 0, 1])]
    assert torch.autograd.gradcheck(
        lambda ft, fs: ops.ridge_transfer(ft, y, fs, 0.1),
        (draw(5, 4).requires_grad_(), draw(6, 4, seed=1).requires_grad_()),
    )


def test_cycle_of_the_program_fits_cosines_and_centred_labels():
    method = create_method("cst", trade_off=2.0, ridge=0.001, as_program=True)
    net, b = small_net(method), small_batch()
    zs, zt = (
        f / np.linalg.norm(f, axis=1, keepdims=True) for f in (net.body(x).detach().numpy() for x in (b.xs, b.xt))
    )
    ys, yt = np.eye(3)[b.ys.numpy()] - 1 / 3, np.eye(3)[probs(net, b.xt).argmax(1)] - 1 / 3
    w = np.linalg.solve(zt.T @ zt + 0.001 * np.eye(7), zt.T @ yt)  # the primal solution of the same problem
    assert method.losses(net, b, at(0.5))["cycle"].item() == pytest.approx(2.0 * np.mean((zs @ w - ys) ** 2), rel=1e-7)


def test_balanced_tsallis_matches_loops_and_is_class_confusion_at_order_two():
    from dazoo.ops.entropy import entropy_weights, mcc

    z = draw(7, 4)
    p = torch.softmax(z / 2.5, 1)
    w = entropy_weights(p).numpy()
    p = p.numpy()
    share = [sum(w[i] * p[i, c] ** 1.9 for i in range(7)) / sum(w[i] * p[i, c] for i in range(7)) for c in range(4)]
    assert ops.balanced_tsallis(z, 1.9, 2.5).item() == pytest.approx(sum(1 - s for s in share) / (4 * 0.9), rel=1e-10)
    torch.testing.assert_close(ops.balanced_tsallis(z, 2.0, 2.5), mcc(z, 2.5))


# -- curricula, source-free, few labels ---------------------------------------------------------------------------


@pytest.mark.parametrize("mapping", ["paper", "half"])
def test_flexmatch_matches_loops(mapping):
    latest = torch.tensor([0, 0, 0, 0, 1, 1, -1, -1, -1, 2, -1, -1])
    learned = [4 / 5, 2 / 5, 1 / 5]
    shares = [v / (2 - v) for v in learned]
    torch.testing.assert_close(ops.flexible_thresholds(latest, 3), torch.tensor(shares))
    most = ops.flexible_thresholds(torch.tensor([0, 0, 0, 1]), 2)
    torch.testing.assert_close(most, torch.tensor([1.0, (1 / 3) / (2 - 1 / 3)]))
    cold = ops.flexible_thresholds(torch.tensor([0, 1, 1, -1, -1, -1]), 2, warm_up=False)
    torch.testing.assert_close(cold, torch.tensor([0.5 / 1.5, 1.0]))
    method = create_method("flexmatch", trade_off=2.0, threshold=0.7, mapping=mapping)
    shares = shares if mapping == "paper" else [1 / (2 - v) for v in learned]
    net, b = small_net(method), small_batch(memory={"latest": latest})
    out = method.losses(net, b, at(0.5))["pseudo"].item()
    weak, strong = probs(net, b.xt), probs(net, b.xt_strong)
    kept = []
    for w, s in zip(weak, strong):
        y = w.argmax()
        kept.append(-math.log(s[y]) if w[y] >= 0.7 * shares[y] else 0.0)
    assert sum(v > 0 for v in kept) > 0 and out == pytest.approx(2.0 * np.mean(kept), rel=1e-9)


def test_flexmatch_keeps_the_latest_confident_predictions():
    method = create_method("flexmatch", threshold=0.4)
    net = small_net(method)
    b = small_batch(memory={"latest": torch.full((12,), -1)})
    with torch.no_grad():
        method.after_step(net, b, at(0.5))
    p = probs(net, b.xt)
    expected = [int(row.argmax()) if row.max() >= 0.4 else -1 for row in p] + [-1] * 6
    assert b.memory["latest"].tolist() == expected and max(expected) >= 0


def test_centroid_labels_match_loops():
    f, p = draw(15, 4), torch.softmax(2 * draw(15, 3, seed=1), 1)
    unit = np.c_[f.numpy(), np.ones(15)]
    unit /= np.linalg.norm(unit, axis=1, keepdims=True)

    def nearest(centres):
        cosine = [[u @ c / np.linalg.norm(c) if c is not None else -9.0 for c in centres] for u in unit]
        return np.argmax(cosine, axis=1)

    def twice(p, threshold):
        first = np.bincount(p.argmax(1), minlength=3) > threshold
        means = [sum(p[i, c].item() * unit[i] for i in range(15)) if first[c] else None for c in range(3)]
        labels = nearest(means)
        second = np.bincount(labels, minlength=3) > threshold
        return nearest([unit[labels == c].mean(0) if second[c] else None for c in range(3)]).tolist()

    counts = sorted(np.bincount(p.argmax(1), minlength=3))
    found = [twice(p.numpy(), threshold) for threshold in (0, int(counts[0]))]
    assert [ops.centroid_labels(f, p, threshold).tolist() for threshold in (0, int(counts[0]))] == found
    assert found[0] != found[1]
    # class 2 has a sixth of every row's probability and is nobody's prediction: it takes no part in the first round
    unseen = torch.tensor([[0.5, 1 / 3, 1 / 6], [1 / 3, 0.5, 1 / 6]], dtype=torch.float64).repeat(8, 1)[:15]
    assert ops.centroid_labels(f, unseen).tolist() == twice(unseen.numpy(), 0) and max(twice(unseen.numpy(), 0)) == 1
    alone = ops.centroid_labels(f, torch.tensor([1.0, 0, 0], dtype=torch.float64).expand(15, 3), 100)
    assert alone.tolist() == [0] * 15


def test_shot_keeps_the_head_and_never_reads_the_source():
    from tests.toys import fit_toy, toy_task

    task = toy_task()
    start, end = fit_toy("source_only", task).predictor.state, fit_toy("shot", task).predictor.state
    assert torch.equal(start["head.weight"], end["head.weight"]) and torch.equal(start["head.bias"], end["head.bias"])
    assert not torch.equal(start["body.bottleneck.0.weight"], end["body.bottleneck.0.weight"])
    method = create_method("shot", trade_off=2.0, pseudo_weight=0.5)
    net = small_net(method)
    b = small_batch(memory={"labels": torch.tensor([2, 1, 0, 0, 1, 2])})
    blind = type(b)(**{**vars(b), "xs": torch.empty(0), "ys": torch.empty(0)})
    out, p = method.losses(net, blind, at(0.5)), probs(net, b.xt)
    assert out["ent"].item() == pytest.approx(2.0 * np.mean([-sum(r * np.log(r)) for r in p]), rel=1e-9)
    assert out["div"].item() == pytest.approx(2.0 * sum(m * math.log(m + 1e-5) for m in p.mean(0)), rel=1e-9)
    assert out["pseudo"].item() == pytest.approx(0.5 * np.mean(nll(p, b.memory["labels"])), rel=1e-9)


@pytest.mark.parametrize("seed", [0, 1])
def test_flexmatch_does_not_learn_the_guesses_of_an_untrained_network(seed):
    """Thresholds are 0 at the start; in a short run the source must speak first."""
    from dazoo.data.registry import load_task
    from dazoo.engine.fit import Options, fit
    from dazoo.engine.recipe import Recipe

    task = load_task("digits/upright->blurred")
    options = Options(recipe=Recipe.named("digits", steps=60, bottleneck=32), backbone="mlp")
    hidden, right = task.hidden(), {}
    for name in ("source_only", "flexmatch"):
        model = fit(create_method(name), task.seen(), seed=seed, options=options).predictor
        right[name] = float((model.predict(hidden.x).labels == hidden.y).double().mean())
    assert right["flexmatch"] > right["source_only"] - 0.1, right
