"""Self-training methods: losses against slow transcriptions, limits, ramps, teachers and banks."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch

from dazoo.methods.base import create_method
from dazoo.methods.selftraining.cc_loss import confusion_consistency
from dazoo.ops import selftraining as ops
from tests.small import at, draw, small_batch, small_net


def probs(net, x):
    """Softmax predictions as numpy, by exponentials."""
    e = np.exp(net.head(net.body(x)).detach().numpy())
    return e / e.sum(1, keepdims=True)


def nll(p, y):
    return [-math.log(p[i][y[i]]) for i in range(len(p))]


def terms(name, fraction=0.5, net=None, batch=None, **hparams):
    method = create_method(name, **hparams)
    net, batch = net or small_net(method), batch or small_batch()
    out = method.losses(net, batch, at(fraction))
    return {k: v.detach() for k, v in out.items()}, net, batch


@pytest.mark.parametrize(
    "name",
    [
        "min_entropy",
        "info_max",
        "bnm",
        "fast_bnm",
        "afn",
        "pseudo_label",
        "fixmatch",
        "mean_teacher",
        "self_ensembling",
        "adamatch",
        "cst",
        "mstn",
        "cross_domain_mixup",
        "cc_loss",
    ],
)
def test_the_first_term_is_the_source_loss(name):
    out, net, b = terms(name)
    assert next(iter(out)) == "cls"
    assert float(out["cls"]) == pytest.approx(np.mean(nll(probs(net, b.xs), b.ys)), rel=1e-12)


def test_entropies_match_loops():
    out, net, b = terms("info_max", trade_off=0.3, diversity_weight=1.7)
    p = probs(net, b.xt)
    each = np.mean([-sum(q * math.log(q) for q in row) for row in p])
    mean = -sum(q * math.log(q + 1e-5) for q in p.mean(0))
    assert float(out["ent"]) == pytest.approx(0.3 * each, rel=1e-12)
    assert float(out["div"]) == pytest.approx(-0.3 * 1.7 * mean, rel=1e-12)
    single, _, _ = terms("min_entropy", trade_off=0.2, net=net, batch=b)
    assert float(single["ent"]) == pytest.approx(0.2 * each, rel=1e-12)


def test_information_of_balanced_certain_predictions_is_log_c():
    method = create_method("info_max", trade_off=1.0)
    net = small_net(method)
    net.body = torch.nn.Identity()
    net.head = torch.nn.Identity()
    b = small_batch()
    x = 200 * torch.eye(3, dtype=torch.float64).repeat(2, 1)
    b = type(b)(**{**vars(b), "xs": x, "xt": x})
    out = method.losses(net, b, at(0.5))
    assert float(out["ent"] + out["div"]) == pytest.approx(-math.log(3), abs=1e-4)


def test_nuclear_norms_match_numpy():
    out, net, b = terms("bnm", trade_off=2.0)
    p = probs(net, b.xt)
    assert float(out["nuclear"]) == pytest.approx(-2.0 * np.linalg.svd(p, compute_uv=False).sum() / len(p), rel=1e-10)
    fast, _, _ = terms("fast_bnm", trade_off=2.0, net=net, batch=b)
    columns = sorted((math.sqrt(sum(v * v for v in p[:, c])) for c in range(3)), reverse=True)
    assert float(fast["nuclear"]) == pytest.approx(-2.0 * sum(columns[: min(p.shape)]) / len(p), rel=1e-10)


@pytest.mark.parametrize("name", ["bnm", "fast_bnm"])
def test_balanced_one_hot_predictions_have_the_largest_nuclear_norm(name):
    from dazoo.ops.entropy import bnm, fbnm

    loss = {"bnm": bnm, "fast_bnm": fbnm}[name]
    best = loss(torch.eye(3, dtype=torch.float64).repeat(2, 1))
    for seed in range(20):
        assert float(best) < float(loss(torch.softmax(3 * draw(6, 3, seed=seed), 1)))
    assert float(best) < float(loss(torch.eye(3, dtype=torch.float64)[torch.zeros(6, dtype=torch.int64)]))


def test_feature_norms_grow_by_one_step():
    out, _, _ = terms("afn", trade_off=0.05, delta=2.0)
    assert float(out["norm"]) == pytest.approx(0.05 * 2 * 2.0**2, rel=1e-12)
    from dazoo.ops.norms import afn

    f = draw(6, 4).requires_grad_()
    (grad,) = torch.autograd.grad(afn(f, 2.0), f)
    expected = -2.0 * 2.0 * f.detach() / f.detach().norm(dim=1, keepdim=True) / 6
    torch.testing.assert_close(grad, expected, rtol=1e-10, atol=1e-12)


def test_pseudo_labels_match_loops_and_ramp():
    for fraction, weight in [(0.05, 0.0), (0.1, 0.0), (0.35, 0.5), (0.6, 1.0), (0.9, 1.0)]:
        out, net, b = terms("pseudo_label", fraction, trade_off=3.0)
        p = probs(net, b.xt)
        assert float(out["pseudo"]) == pytest.approx(3.0 * weight * np.mean(nll(p, p.argmax(1))), rel=1e-6, abs=1e-12)


def test_fixmatch_matches_loops():
    out, net, b = terms("fixmatch", trade_off=2.0, threshold=0.4)
    weak, strong = probs(net, b.xt), probs(net, b.xt_strong)
    kept = [nll(strong, weak.argmax(1))[i] if weak[i].max() >= 0.4 else 0.0 for i in range(len(weak))]
    assert sum(v > 0 for v in kept) > 0 and float(out["pseudo"]) == pytest.approx(2.0 * np.mean(kept), rel=1e-10)
    none, _, _ = terms("fixmatch", threshold=0.999, net=net, batch=b)
    assert float(none["pseudo"]) == 0.0


def test_cc_loss_matches_loops():
    out, net, b = terms("cc_loss", trade_off=2.0, consistency_weight=3.0, temperature=1.7, threshold=0.4)
    alone, _, _ = terms("mcc", trade_off=2.0, temperature=1.7, net=net, batch=b)
    assert float(out["mcc"]) == pytest.approx(float(alone["mcc"]), rel=1e-12)

    def soften(x):
        e = np.exp(net.head(net.body(x)).detach().numpy() / 1.7)
        return e / e.sum(1, keepdims=True)

    def confusion(p, rows):
        m = np.zeros((3, 3))
        for i in rows:
            weight = 1 + math.exp(sum(q * math.log(q + 1e-5) for q in p[i]))
            m += [[weight * p[i][a] * p[i][c] for c in range(3)] for a in range(3)]
        return m / m.sum(1, keepdims=True)

    weak, strong = soften(b.xt), soften(b.xt_strong)
    rows = [i for i in range(6) if weak[i].max() >= 0.4]
    assert 0 < len(rows) < 6
    expected = 3.0 * len(rows) / 6 * ((confusion(weak, rows) - confusion(strong, rows)) ** 2).sum() / 3
    assert float(out["agree"]) == pytest.approx(expected, rel=1e-10)
    none, _, _ = terms("cc_loss", threshold=0.999, net=net, batch=b)
    assert float(none["agree"]) == 0.0
    same = confusion_consistency(draw(6, 3), draw(6, 3), 2.0, 0.1)
    assert float(same) == 0.0 < float(confusion_consistency(draw(6, 3, seed=1), draw(6, 3), 2.0, 0.1))


def test_weak_views_get_no_gradient():
    weak, strong = draw(5, 3).requires_grad_(), draw(5, 3, seed=1).requires_grad_()
    for loss in (
        ops.fixmatch(strong, weak, 0.1),
        ops.adamatch(strong, weak, draw(4, 3), 0.1),
        confusion_consistency(strong, weak, 2.0, 0.1),
    ):
        got = torch.autograd.grad(loss, (strong, weak), allow_unused=True)
        assert got[0].abs().sum() > 0 and got[1] is None


def test_ramps():
    assert [float(ops.linear_ramp(x, 0.2, 0.7)) for x in (0.0, 0.2, 0.45, 0.7, 1.0)] == pytest.approx([0, 0, 0.5, 1, 1])
    assert float(ops.sigmoid_ramp(0.0, 0.5)) == pytest.approx(math.exp(-5)) and float(ops.sigmoid_ramp(0.7, 0.5)) == 1
    assert ops.cosine_ramp(0.0) == 0 and ops.cosine_ramp(0.25) == pytest.approx(0.5) and ops.cosine_ramp(0.9) == 1


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


def test_mme_terms_and_opposite_gradients():
    method = create_method("mme", trade_off=0.1, temperature=0.5)
    net, b = small_net(method), small_batch()
    out = method.losses(net, b, at(0.5))

    def predict(x):
        f = net.body(x)
        return torch.softmax(f / f.norm(dim=1, keepdim=True) @ net.head.weight.T / 0.5, 1)

    p = predict(b.xt)
    entropy = -(p * p.log()).sum(1).mean()
    assert out["ent"].item() == pytest.approx(-0.1 * entropy.item(), rel=1e-9)
    assert out["cls"].item() == pytest.approx(0.5 * np.mean(nll(predict(b.xs).detach().numpy(), b.ys)), rel=1e-9)
    assert out["few"].item() == pytest.approx(0.5 * np.mean(nll(predict(b.xf).detach().numpy(), b.yf)), rel=1e-9)
    parts = [net.head.weight, net.body.bottleneck[0].weight]
    got = torch.autograd.grad(out["ent"], parts)
    true = torch.autograd.grad(entropy, parts)
    torch.testing.assert_close(got[0], -0.1 * true[0])
    torch.testing.assert_close(got[1], 0.1 * true[1])
    torch.testing.assert_close(method.predict(net, b.xt).probs, p)


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
