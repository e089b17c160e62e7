"""The formulas of the adversarial family in plain NumPy, loops and all: what ``test_adversarial`` compares with."""

from __future__ import annotations

import numpy as np
import torch

from dazoo.ops import draws
from tests.adversarial import (
    CLASSES,
    ROWS,
    WIDTH,
    T,
    affine,
    array,
    cross_entropy,
    domain,
    entropy,
    one_of_parallel,
    perceptron,
    sigmoid,
    softmax,
)

RAMP = T.ramp


def expected_dann(g):
    return {"cls": cross_entropy(g.ls, g.ys), "dom": domain(perceptron(g.net.disc, g.fs), perceptron(g.net.disc, g.ft))}


def _conditioned(g, weights):
    h = lambda f, z: np.stack([np.outer(p, x).ravel() for p, x in zip(softmax(z), f)])  # noqa: E731
    zs, zt = perceptron(g.net.disc, h(g.fs, g.ls)).ravel(), perceptron(g.net.disc, h(g.ft, g.lt)).ravel()
    rows = [-np.log(sigmoid(z)) for z in zs] + [-np.log(1 - sigmoid(z)) for z in zt]
    return {"cls": cross_entropy(g.ls, g.ys), "dom": sum(w * r for w, r in zip(weights, rows)) / len(rows)}


def expected_cdan(g):
    return _conditioned(g, np.ones(2 * ROWS))


def expected_cdan_e(g):
    p = softmax(np.concatenate([g.ls, g.lt]))
    w = np.array([1 + np.exp(sum(v * np.log(v + 1e-5) for v in row)) for row in p])
    return _conditioned(g, w / w.sum() * len(w))


def expected_mdd(g):
    hidden_s, hidden_t = perceptron(g.net.adv, g.fs), perceptron(g.net.adv, g.ft)
    gamma = g.method.margin
    source = np.mean([-np.log(softmax(hidden_s)[i, g.ls[i].argmax()]) for i in range(ROWS)])
    target = np.mean([np.log(1 - softmax(hidden_t)[i, g.lt[i].argmax()] + 1e-6) for i in range(ROWS)])
    return {"cls": cross_entropy(g.ls, g.ys), "mdd": gamma * source - target}


def expected_daln(g):
    norm = lambda z: np.linalg.svd(softmax(z), compute_uv=False).sum() / len(z)  # noqa: E731
    return {"cls": cross_entropy(g.ls, g.ys), "nwd": -g.method.trade_off * (norm(g.ls) - norm(g.lt))}


def expected_toalign(g):
    used = []
    for f, y in zip(g.fs, g.ys):
        read = array(g.net.head.weight)[y] * f
        used.append(np.linalg.norm(f) / np.linalg.norm(read) * read if np.any(read) else read)
    zs = perceptron(g.net.disc, softmax(affine(g.net.head, np.stack(used))))
    return {"cls": cross_entropy(g.ls, g.ys), "dom": domain(zs, perceptron(g.net.disc, softmax(g.lt)))}


def _per_class(g):
    ps, pt = softmax(g.ls), softmax(g.lt)
    return [
        domain(one_of_parallel(g.net.discs, c, ps[:, [c]] * g.fs), one_of_parallel(g.net.discs, c, pt[:, [c]] * g.ft))
        for c in range(CLASSES)
    ]


def expected_mada(g):
    return {"cls": cross_entropy(g.ls, g.ys), "dom": sum(_per_class(g))}


def expected_daan(g):
    omega = float(g.b.memory["omega"])
    return {
        "cls": cross_entropy(g.ls, g.ys),
        "dom": (1 - omega) * expected_dann(g)["dom"],
        "class_dom": omega * np.mean(_per_class(g)),
    }


def expected_domain_confusion(g):
    z = np.concatenate([perceptron(g.net.disc, g.fs), perceptron(g.net.disc, g.ft)]).ravel()
    confusion = np.mean([-0.5 * (np.log(sigmoid(v)) + np.log(1 - sigmoid(v))) for v in z])
    return {"cls": cross_entropy(g.ls, g.ys), "conf": g.method.trade_off * RAMP * confusion}


def expected_adda(g):
    z = perceptron(g.net.disc, g.ft).ravel()
    return {"fool": g.method.trade_off * np.mean([-np.log(sigmoid(v)) for v in z])}


def expected_sdat(g):
    return {"cdan": expected_cdan, "dann": expected_dann}[g.method.base](g)


def expected_bsp(g):
    top = lambda f: (np.linalg.svd(f, compute_uv=False)[: g.method.k] ** 2).sum()  # noqa: E731
    return {**expected_dann(g), "bsp": g.method.bsp_weight * (top(g.fs) + top(g.ft))}


def expected_els(g):
    gamma = 1 - (1 - g.method.gamma) * T.fraction
    dom = domain(perceptron(g.net.disc, g.fs), perceptron(g.net.disc, g.ft), gamma)
    return {"cls": cross_entropy(g.ls, g.ys), "dom": dom}


def _absolute_gap(z1, z2):
    p1, p2 = softmax(z1), softmax(z2)
    return sum(abs(a - b) for r1, r2 in zip(p1, p2) for a, b in zip(r1, r2)) / p1.size


def expected_mcd(g):
    return {"cls": cross_entropy(g.ls, g.ys), "cls2": cross_entropy(affine(g.net.head2, g.fs), g.ys)}


def expected_mcd_classifiers(g):
    return {**expected_mcd(g), "gap": -expected_mcd_encoder(g)["gap"]}


def expected_mcd_encoder(g):
    return {"gap": g.method.trade_off * _absolute_gap(g.lt, affine(g.net.head2, g.ft))}


def _drawn(g, f, phase):
    """Scores of the two classifiers of a phase."""
    sigma = np.log1p(np.exp(array(g.net.spread.weight) - 2))
    noise = array(draws.normal((2, CLASSES, WIDTH), T.step, g.net.head.weight, f"star {phase}"))
    return [f @ (array(g.net.head.weight) + sigma * n).T + array(g.net.head.bias) for n in noise]


def expected_star(g):
    return {"cls": np.mean([cross_entropy(z, g.ys) for z in _drawn(g, g.fs, "A")])}


def expected_star_classifiers(g):
    gap = _absolute_gap(*_drawn(g, g.ft, "B"))
    return {"cls": np.mean([cross_entropy(z, g.ys) for z in _drawn(g, g.fs, "B")]), "gap": -g.method.trade_off * gap}


def expected_star_encoder(g):
    return {"gap": g.method.trade_off * _absolute_gap(*_drawn(g, g.ft, "C"))}


def _joint(g):
    """The 2C-way probabilities of both batches, source classifier's half first."""
    zs, zt = (np.concatenate([affine(g.net.head_s, f), affine(g.net.head, f)], 1) for f in (g.fs, g.ft))
    return softmax(zs), softmax(zt)


def expected_symnets_classifiers(g):
    ps, pt = _joint(g)
    return {
        "cls": cross_entropy(affine(g.net.head_s, g.fs), g.ys),
        "cls_t": cross_entropy(g.ls, g.ys),
        "dom_s": np.mean([-np.log(sum(p[:CLASSES])) for p in ps]),
        "dom_t": np.mean([-np.log(sum(p[CLASSES:])) for p in pt]),
    }


def expected_symnets(g):
    ps, pt = _joint(g)
    w = g.method.trade_off * RAMP
    merged = pt[:, :CLASSES] + pt[:, CLASSES:]
    return {
        "cat": np.mean([-0.5 * (np.log(p[y]) + np.log(p[y + CLASSES])) for p, y in zip(ps, g.ys)]),
        "conf": w * np.mean([-0.5 * (np.log(sum(p[:CLASSES])) + np.log(sum(p[CLASSES:]))) for p in pt]),
        "ent": w * np.mean(entropy(merged)),
    }


def expected_gvb(g):
    bridge = np.concatenate([affine(g.net.bridge_g, g.fs), affine(g.net.bridge_g, g.ft)])
    zs, zt = g.ls - bridge[:ROWS], g.lt - bridge[ROWS:]
    hidden = [np.maximum(perceptron(g.net.disc, softmax(z)), 0) for z in (zs, zt)]
    out = [affine(g.net.domain, h) - affine(g.net.bridge_d, h) for h in hidden]
    sizes = np.abs(np.concatenate([affine(g.net.bridge_d, h) for h in hidden]))
    return {
        "cls": cross_entropy(zs, g.ys),
        "dom": domain(*out),
        "bridge_d": g.method.bridge_d_weight * sizes.mean(),
        "bridge_g": g.method.bridge_g_weight * np.abs(bridge).mean(),
    }


def _scores_of(g, x):
    return array(g.net.head(g.net.body(torch.from_numpy(x))))


def _kl(p, q):
    return float(np.mean([sum(a * np.log(a / b) for a, b in zip(r, s)) for r, s in zip(p, q)]))


def _smoothness(g, x, what):
    """V(x), with the direction from a numerical gradient of the divergence."""
    base = softmax(_scores_of(g, x))
    # a sample whose features are all zero has no such direction
    unit = lambda d: np.divide(d, n := np.linalg.norm(d, axis=1, keepdims=True), np.zeros_like(d), where=n > 0)  # noqa: E731
    start, gradient, h = unit(array(draws.normal(x.shape, T.step, torch.from_numpy(x), what))), np.zeros_like(x), 1e-5
    for index in np.ndindex(x.shape):
        step = np.zeros_like(x)
        step[index] = h
        up, down = (_kl(base, softmax(_scores_of(g, x + 1e-2 * (start + s)))) for s in (step, -step))
        gradient[index] = (up - down) / (2 * h)
    length = g.method.radius * np.mean([np.linalg.norm(row) for row in x])
    return _kl(base, softmax(_scores_of(g, x + length * unit(gradient))))


def expected_vada(g):
    m = g.method
    return {
        **expected_dann(g),
        "vat_s": m.source_vat_weight * _smoothness(g, array(g.b.xs), "vat source"),
        "vat_t": m.target_vat_weight * _smoothness(g, array(g.b.xt), "vat target"),
        "ent": m.entropy_weight * np.mean(entropy(softmax(g.lt))),
    }


def expected_dirt_t(g):
    m = g.method
    teacher = affine(g.net.teacher_head, array(g.net.teacher_body(g.b.xt)))
    return {
        "ent": m.trade_off * np.mean(entropy(softmax(g.lt))),
        "vat": m.vat_weight * _smoothness(g, array(g.b.xt), "vat target"),
        "teacher": m.teacher_weight * _kl(softmax(teacher), softmax(g.lt)),
    }


CASES = {
    "dann": (expected_dann, {}),
    "cdan": (expected_cdan, {}),
    "cdan_e": (expected_cdan_e, {}),
    "mdd": (expected_mdd, {"margin": 3.0}),
    "daln": (expected_daln, {"trade_off": 0.7}),
    "toalign": (expected_toalign, {}),
    "mada": (expected_mada, {}),
    "daan": (expected_daan, {}),
    "domain_confusion": (expected_domain_confusion, {"trade_off": 0.3}),
    "adda": (expected_adda, {"trade_off": 0.8}),
    "sdat": (expected_sdat, {}),
    "bsp": (expected_bsp, {"k": 2, "bsp_weight": 0.01}),
    "els": (expected_els, {"gamma": 0.7}),
    "mcd": (expected_mcd, {}),
    "star": (expected_star, {}),
    "symnets": (expected_symnets, {"trade_off": 0.8}),
    "gvb": (expected_gvb, {"bridge_g_weight": 0.3, "bridge_d_weight": 0.6}),
    "vada": (expected_vada, {"radius": 0.3, "source_vat_weight": 0.5, "entropy_weight": 0.2}),
    "dirt_t": (expected_dirt_t, {"radius": 0.3, "teacher_weight": 0.4}),
}
MEMORY = {"daan": {"omega": torch.tensor(0.3, dtype=torch.float64)}}


def _adda_dom(g):
    fs = array(g.net.source_body(g.b.xs))
    return domain(perceptron(g.net.disc, fs), perceptron(g.net.disc, g.ft))


OTHER_PHASES = [
    ("mcd", "losses_classifiers", expected_mcd_classifiers),
    ("mcd", "losses_encoder", expected_mcd_encoder),
    ("star", "losses_classifiers", expected_star_classifiers),
    ("star", "losses_encoder", expected_star_encoder),
    ("symnets", "losses_classifiers", expected_symnets_classifiers),
    ("domain_confusion", "losses_disc", lambda g: {"dom": expected_dann(g)["dom"]}),
    ("adda", "losses_disc", lambda g: {"dom": _adda_dom(g)}),
]
