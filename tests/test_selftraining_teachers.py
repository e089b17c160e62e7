"""Self-training with a memory: teachers, moving centroids, banks and mixed samples against transcriptions."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch

from dazoo.methods.base import create_method
from dazoo.ops import selftraining as ops
from tests.small import at, draw, small_batch, small_net
from tests.transcribed import probs

# -- teachers -----------------------------------------------------------------------------------------------------


def test_mean_teacher_loss_and_average_match_transcriptions():
    method = create_method("mean_teacher", trade_off=100.0, decay=0.9, ramp_end=0.5)
    net, b = small_net(method), small_batch()
    with torch.no_grad():
        net.head.weight.mul_(2.0)
    out = method.losses(net, b, at(0.25))
    student = probs(net, b.xt_strong)
    e = np.exp(net.teacher.head(net.teacher.body(b.xt)).numpy())
    teacher = e / e.sum(1, keepdims=True)
    expected = 100 * math.exp(-5 * 0.25) * np.mean([np.mean((s - q) ** 2) for s, q in zip(student, teacher)])
    assert float(out["agree"].detach()) == pytest.approx(expected, rel=1e-6)
    before = net.teacher.head.weight.clone()
    method.after_step(net, b, at(0.5))
    torch.testing.assert_close(net.teacher.head.weight, 0.9 * before + 0.1 * net.head.weight.detach())
    method.after_step(net, b, at(0.0))
    torch.testing.assert_close(net.teacher.head.weight, net.head.weight.detach())
    assert not any(p.requires_grad for p in net.teacher.parameters())


def test_the_teacher_predicts():
    method = create_method("mean_teacher")
    net, b = small_net(method), small_batch()
    with torch.no_grad():
        net.head.weight.zero_()
    out = method.predict(net, b.xt)
    torch.testing.assert_close(out.scores, net.teacher.head(net.teacher.body(b.xt)))
    assert out.scores.std() > 0.01


def test_self_ensembling_matches_loops():
    net, b = small_net(create_method("self_ensembling")), small_batch()
    middle = float(np.median(probs(net, b.xt).max(1)))
    method = create_method("self_ensembling", trade_off=3.0, balance_weight=0.1, threshold=middle)
    out = method.losses(net, b, at(0.5))
    p, q = probs(net, b.xt_strong), probs(net, b.xt)
    w = [1.0 if row.max() >= middle else 0.0 for row in q]
    assert 0 < sum(w) < len(w)
    agree = np.mean([wi * np.mean((s - r) ** 2) for wi, s, r in zip(w, p, q)])
    mean = p.mean(0)
    even = sum(-(1 / 3) * math.log(m + 1e-6) - (2 / 3) * math.log(1 - m + 1e-6) for m in mean)
    assert float(out["agree"].detach()) == pytest.approx(3.0 * agree, rel=1e-10)
    assert float(out["balance"].detach()) == pytest.approx(3.0 * 0.1 * np.mean(w) * even, rel=1e-10)


def test_class_balance_is_least_for_the_uniform_mean():
    uniform = ops.class_balance(torch.full((4, 3), 1 / 3, dtype=torch.float64))
    for seed in range(20):
        assert float(uniform) < float(ops.class_balance(torch.softmax(draw(4, 3, seed=seed), 1)))


# -- centroids ----------------------------------------------------------------------------------------------------


def test_mstn_centroids_match_loops_over_two_steps():
    method = create_method("mstn", semantic_weight=2.0, decay=0.7)
    net = small_net(method)
    mu = {"s": np.zeros((3, 7)), "t": np.zeros((3, 7))}
    for step in range(2):
        b = small_batch(seed=10 * step)
        out = method.losses(net, b, at(0.5))
        for key, x, y in (("s", b.xs, b.ys.numpy()), ("t", b.xt, probs(net, b.xt).argmax(1))):
            f = net.body(x).detach().numpy()
            for c in set(y.tolist()):
                mu[key][c] = 0.7 * mu[key][c] + 0.3 * np.mean([f[i] for i in range(6) if y[i] == c], axis=0)
        gap = np.mean(((mu["s"] - mu["t"]) ** 2).sum(1))
        assert out["sem"].item() == pytest.approx(2.0 * 0.5 * gap, rel=1e-9)
    torch.testing.assert_close(net.centroids_s.mu.numpy(), mu["s"])
    net.eval()
    method.losses(net, small_batch(seed=30), at(0.5))
    torch.testing.assert_close(net.centroids_t.mu.numpy(), mu["t"])


def test_mstn_averages_of_the_program():
    method = create_method("mstn", semantic_weight=2.0, decay=0.7, as_program=True)
    net, plain = small_net(method), create_method("mstn")
    mu = {"s": np.zeros((3, 7)), "t": np.zeros((3, 7))}
    for step in range(2):
        b = small_batch(seed=10 * step)
        b = type(b)(**{**vars(b), "ys": b.ys.clamp(max=1)})  # no class 2 in the source
        for key, x, y in (("s", b.xs, b.ys.numpy()), ("t", b.xt, probs(net, b.xt).argmax(1))):
            f = net.body(x).detach().numpy()
            for c in range(3):
                new = np.mean([f[i] for i in range(6) if y[i] == c], axis=0) if c in y else np.zeros(7)
                mu[key][c] = 0.7 * mu[key][c] + 0.3 * new
        out = method.losses(net, b, at(0.5))
        assert out["sem"].item() == pytest.approx(2.0 * 0.5 * np.mean((mu["s"] - mu["t"]) ** 2), rel=1e-9)
        d = torch.sigmoid(net.disc(net.body(torch.cat([b.xs, b.xt])))).detach().numpy()[:, 0]
        both = -np.log(d[:6]).mean() - np.log(1 - d[6:]).mean()
        assert out["dom"].item() == pytest.approx(0.1 * both, rel=1e-9)
        assert plain.losses(net, b, at(0.5))["dom"].item() == pytest.approx(0.5 * both, rel=1e-9)
        for part, key in ((net.centroids_s, "s"), (net.centroids_t, "t")):
            part.mu.copy_(torch.from_numpy(mu[key]))  # the call of the plain method moved them once more


# -- banks --------------------------------------------------------------------------------------------------------


def _bank(n=12):
    f = draw(n, 7, seed=5)
    return {
        "bank_f": torch.nn.functional.normalize(f, dim=1),
        "bank_p": ops.balanced_square(torch.softmax(draw(n, 3), 1)),
    }


def test_atdoc_labels_match_loops():
    method = create_method("atdoc", trade_off=0.2, neighbours=3)
    net, memory = small_net(method), _bank()
    b = small_batch(memory=memory)
    out = method.losses(net, b, at(0.5))
    f, bank_f, bank_p = net.body(b.xt).detach().numpy(), memory["bank_f"].numpy(), memory["bank_p"].numpy()
    p, total, mass = probs(net, b.xt), 0.0, 0.0
    for i in range(6):
        others = [j for j in range(12) if j != i]
        near = sorted(others, key=lambda j: -(f[i] @ bank_f[j]) / np.linalg.norm(f[i]))[:3]
        q = np.mean([bank_p[j] for j in near], axis=0)
        q = q / q.sum()
        total += q.max() * -math.log(p[i][q.argmax()])
        mass += q.max()
    assert out["pseudo"].item() == pytest.approx(0.2 * 0.5 * total / mass, rel=1e-9)


def test_atdoc_weights_of_the_program():
    method = create_method("atdoc", trade_off=0.2, neighbours=3, as_program=True)
    net, memory = small_net(method), _bank()
    b = small_batch(memory=memory)
    f, bank_f, bank_p = net.body(b.xt).detach().numpy(), memory["bank_f"].numpy(), memory["bank_p"].numpy()
    p, total, mass = probs(net, b.xt), 0.0, 0.0
    for i in range(6):
        near = sorted((j for j in range(12) if j != i), key=lambda j: -(f[i] @ bank_f[j]))[:3]
        q = np.mean([bank_p[j] for j in near], axis=0)
        total += q.max() * -math.log(p[i][q.argmax()])
        mass += q.max()
    assert method.losses(net, b, at(0.5))["pseudo"].item() == pytest.approx(0.2 * 0.5 * total / mass, rel=1e-9)


def test_atdoc_renews_the_rows_of_the_batch_only():
    method = create_method("atdoc")
    net, memory = small_net(method), _bank()
    old = {k: v.clone() for k, v in memory.items()}
    with torch.no_grad():
        method.after_step(net, small_batch(memory=memory), at(0.5))
    for key in old:
        assert torch.equal(memory[key][6:], old[key][6:]) and not torch.equal(memory[key][:6], old[key][:6])
    torch.testing.assert_close(memory["bank_f"].norm(dim=1), torch.ones(12, dtype=torch.float64))


def test_balanced_square_gives_classes_equal_mass():
    p = torch.softmax(draw(20, 4) + torch.tensor([2.0, 0, 0, 0]), 1)
    q = ops.balanced_square(p)
    torch.testing.assert_close(q.mean(0), torch.ones(4, dtype=torch.float64))
    q5 = ops.balanced_square(5 * p)
    torch.testing.assert_close(q5, q)


# -- mixtures -----------------------------------------------------------------------------------------------------


def test_mixup_terms_match_transcriptions():
    method = create_method("cross_domain_mixup", trade_off=2.0, intra_weight=0.5, feature_weight=0.1, temperature=0.5)
    net, b = small_net(method), small_batch()
    out = method.losses(net, b, at(0.5))
    draws = ops.step_draws(50, 2001)
    u = draws.beta(0.2, 0.2)
    lam, order = max(u, 1 - u), draws.permutation(6)
    p = probs(net, b.xt)
    q = np.array([row**2 / sum(row**2) for row in p])
    mixed = probs(net, lam * b.xs + (1 - lam) * b.xt)
    inter = np.mean([-sum((lam * np.eye(3)[b.ys[i]] + (1 - lam) * q[i]) * np.log(mixed[i])) for i in range(6)])
    inner = probs(net, torch.stack([lam * b.xt[i] + (1 - lam) * b.xt[order[i]] for i in range(6)]))
    intra = np.mean([sum((inner[i] - lam * q[i] - (1 - lam) * q[order[i]]) ** 2) for i in range(6)])
    bent = net.body(lam * b.xs + (1 - lam) * b.xt) - lam * net.body(b.xs) - (1 - lam) * net.body(b.xt)
    assert out["inter"].item() == pytest.approx(2.0 * 0.5 * inter, rel=1e-9)
    assert out["intra"].item() == pytest.approx(0.5 * 0.5 * intra, rel=1e-9)
    assert out["linear"].item() == pytest.approx(0.1 * 0.5 * (bent**2).sum(1).mean().item(), rel=1e-9)


def test_a_linear_body_has_no_feature_term():
    method = create_method("cross_domain_mixup")
    net = small_net(method)
    net.body = torch.nn.Linear(5, 7).double()
    out = method.losses(net, small_batch(), at(0.5))
    assert out["linear"].item() == pytest.approx(0.0, abs=1e-20) and out["inter"].item() > 0


def test_draws_belong_to_the_step():
    assert ops.step_draws(3, 1).random() == ops.step_draws(3, 1).random() != ops.step_draws(4, 1).random()
    state = torch.get_rng_state()
    ops.step_draws(3, 1).random(5)
    assert torch.equal(state, torch.get_rng_state())
