"""Adversarial methods: what distinguishes one from its relatives, and what it equals at its limits."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from dazoo.engine.recipe import Recipe
from dazoo.methods.base import METHODS, create_method
from dazoo.ops import draws, games
from tests.adversarial import (
    CLASSES,
    WIDTH,
    T,
    affine,
    array,
    cross_entropy,
    domain,
    entropy,
    game,
    one_of_parallel,
    perceptron,
    softmax,
)
from tests.toys import fit_toy, task_for


def test_parallel_perceptrons_are_independent():
    g = game("mada")
    x = torch.randn(CLASSES, 4, WIDTH, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    out = g.net.discs(x)
    for c in range(CLASSES):
        np.testing.assert_allclose(array(out[c]), one_of_parallel(g.net.discs, c, array(x[c])), rtol=1e-12)


def test_sdat_steps_with_the_gradient_uphill(monkeypatch):
    """One SGD step against the formula: the task gradient at w + rho g / |g|, the adversarial one at w."""
    import copy

    import dazoo.engine.fit as engine
    from dazoo.engine.train import Loop

    seen = []

    class Watching(Loop):
        def _gradient_step(self, phase, moving, batch, t, *more):
            net = self.learner.net
            before = copy.deepcopy(net)
            out = super()._gradient_step(phase, moving, batch, t, *more)
            seen.append((self.members[0].method, before, copy.deepcopy(net), batch, t))
            return out

    monkeypatch.setattr(engine, "Loop", Watching)
    recipe = Recipe.named("digits", optimizer="sgd", momentum=0.0, lr=0.1, steps=1, ramp="constant", bottleneck=8)
    fit_toy("sdat", recipe=recipe, rho=0.5)
    ((method, before, after, b, t),) = seen
    task = [p for n, p in before.named_parameters() if n.startswith(("body.", "head."))]
    cls = torch.nn.functional.cross_entropy(before.head(before.body(b.xs)), b.ys)
    g = torch.autograd.grad(cls, task)
    size = torch.sqrt(sum(v.square().sum() for v in g))
    uphill = copy.deepcopy(before)
    with torch.no_grad():
        for p, v in zip([p for n, p in uphill.named_parameters() if n.startswith(("body.", "head."))], g):
            p += 0.5 * v / size
    leaves = dict(uphill.named_parameters())
    sharp = torch.nn.functional.cross_entropy(uphill.head(uphill.body(b.xs)), b.ys)
    at_uphill = torch.autograd.grad(sharp, list(leaves.values()), allow_unused=True)
    dom = method.losses(before, b, t)["dom"]
    at_w = torch.autograd.grad(dom, list(before.parameters()), allow_unused=True)
    for (name, old), new, one, two in zip(before.named_parameters(), after.parameters(), at_uphill, at_w):
        step = sum((v for v in (one, two) if v is not None), torch.zeros_like(old))
        torch.testing.assert_close(new, old - 0.1 * step, rtol=1e-4, atol=1e-6, msg=name)
    plain = torch.autograd.grad(
        torch.nn.functional.cross_entropy(before.head(before.body(b.xs)), b.ys), before.head.weight
    )
    assert not torch.allclose(plain[0], at_uphill[list(leaves).index("head.weight")], rtol=1e-3)


def test_sdat_with_radius_zero_is_its_base():
    one, two = fit_toy("sdat", rho=0.0).predictor, fit_toy("cdan").predictor
    for key, value in two.state.items():
        torch.testing.assert_close(one.state[key], value, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("base", ["dann", "cdan", "cdan_e"])
def test_bsp_with_weight_zero_is_its_base(base):
    one, two = fit_toy("bsp", base=base, bsp_weight=0.0).predictor, fit_toy(base).predictor
    assert all(torch.equal(one.state[k], v) for k, v in two.state.items())


def test_bsp_shrinks_the_largest_singular_value_only():
    g = game("bsp", base="none", bsp_weight=1.0)
    f = torch.from_numpy(g.fs).requires_grad_()
    from dazoo.ops.norms import bsp

    (gradient,) = torch.autograd.grad(bsp(f, torch.zeros_like(f)), f)
    u, s, v = np.linalg.svd(g.fs, full_matrices=False)
    np.testing.assert_allclose(array(gradient), 2 * s[0] * np.outer(u[:, 0], v[0]), rtol=1e-8, atol=1e-10)


def test_els_with_full_belief_is_its_base():
    for base, reference in (("dann", "dann"), ("cdan", "cdan"), ("cdan_e", "cdan_e")):
        one, two = game("els", gamma=1.0, base=base), game(reference)
        for term, value in two.terms().items():
            torch.testing.assert_close(one.terms()[term], value)
        torch.testing.assert_close(one.gradient("dom", "body"), two.gradient("dom", "body"))


def test_smoothed_loss_is_least_at_the_belief():
    """The best constant logit says gamma, so the discriminator is never asked to be certain."""
    z = torch.linspace(-4, 4, 801, dtype=torch.float64)
    losses = torch.stack([games.smoothed_domain_bce(torch.stack([v, -v]), 1, 0.7) for v in z])
    assert torch.sigmoid(z[losses.argmin()]).item() == pytest.approx(0.7, abs=2e-3)
    assert games.smoothed_domain_bce(z[:2], 1, 0.5).item() == games.smoothed_domain_bce(-z[:2], 1, 0.5).item()


def test_mcd_phases_pull_in_opposite_directions():
    g = game("mcd", trade_off=1.0)
    gap = g.gradient("gap", "head", "losses_classifiers")
    assert float(gap.norm()) > 0
    g2 = game("mcd", trade_off=1.0)
    toward = torch.autograd.grad(g2.terms("losses_encoder")["gap"], g2.net.head.weight, retain_graph=True)[0]
    away = torch.autograd.grad(g2.terms("losses_classifiers")["gap"], g2.net.head.weight)[0]
    torch.testing.assert_close(away, -toward)
    with torch.no_grad():
        g.net.head2.load_state_dict(g.net.head.state_dict())
    assert g.terms("losses_encoder")["gap"].item() == 0.0


@pytest.mark.parametrize("name", ["mcd", "star"])
def test_encoder_steps_repeat_the_last_phase(name):
    assert [p.repeat for p in create_method(name, encoder_steps=3).phases] == [1, 1, 3]


def test_star_without_spread_has_one_classifier():
    g = game("star")
    with torch.no_grad():
        g.net.spread.weight.fill_(-1e4)
    assert g.terms("losses_encoder")["gap"].item() == 0.0
    assert g.terms()["cls"].item() == pytest.approx(cross_entropy(g.ls, g.ys))
    draw = [
        g.method._noise(g.net, type(T)(0.4, s, 100, 0.6), p) for s, p in ((40, "A"), (40, "A"), (41, "A"), (40, "B"))
    ]
    assert torch.equal(draw[0], draw[1]) and not torch.equal(draw[0], draw[2]) and not torch.equal(draw[0], draw[3])


def test_symmetric_confusion_is_least_where_the_classifiers_agree():
    gen = torch.Generator().manual_seed(0)
    z, other = (torch.randn(5, 3, generator=gen, dtype=torch.float64) for _ in range(2))
    assert games.domain_level_confusion(z, z).item() == pytest.approx(np.log(2))
    assert games.domain_level_confusion(z, other).item() > np.log(2)
    assert games.merged_entropy(z, z).item() == pytest.approx(np.mean(entropy(softmax(array(z)))))
    sure = torch.full((2, 3), -1e3, dtype=torch.float64)
    sure[:, 0] = 1e3
    assert games.merged_entropy(sure, sure).item() == pytest.approx(0.0, abs=1e-12)
    row = [games.symmetric_domain(z[:1], other[:1], s).neg().exp().item() for s in (True, False)]
    assert sum(row) == pytest.approx(1.0)


def test_gvb_without_bridges_is_a_game_on_predictions():
    g = game("gvb", generator_bridge=False)
    with torch.no_grad():
        for p in g.net.bridge_d.parameters():
            p.zero_()
    hidden = [np.maximum(perceptron(g.net.disc, softmax(z)), 0) for z in (g.ls, g.lt)]
    terms = {k: v.item() for k, v in g.terms().items()}
    assert terms == pytest.approx(
        {"cls": cross_entropy(g.ls, g.ys), "dom": domain(*(affine(g.net.domain, h) for h in hidden)), "bridge_d": 0.0}
    )
    assert not hasattr(g.net, "bridge_g")


def test_gvb_predicts_with_the_bridge():
    g = game("gvb")
    expected = g.lt - affine(g.net.bridge_g, g.ft)
    np.testing.assert_allclose(array(g.method.predict(g.net, g.b.xt).scores), expected, rtol=1e-10)


def test_vada_looks_where_predictions_change_most():
    from dazoo.methods.adversarial.vada import smoothness
    from dazoo.ops.linalg.linear import unit_rows
    from dazoo.ops.perturb import kl_of_logits

    g = game("vada", seed=3)
    x = g.b.xt
    seen = {"vat target": (x, g.net.head(g.net.body(x)))}
    worst = smoothness(g.net, seen, T, 0.1)[0].item()
    random = []
    for i in range(20):
        d = unit_rows(draws.normal(tuple(x.shape), i, x, "elsewhere"))
        moved = x + 0.1 * x.norm(dim=1).mean() * d
        random.append(kl_of_logits(g.net.head(g.net.body(x)), g.net.head(g.net.body(moved))).item())
    assert worst > np.mean(random) > 0
    assert smoothness(g.net, seen, T, 0.0)[0].item() == pytest.approx(0.0, abs=1e-12)


def test_dirt_t_teacher_answers_in_evaluation_mode_and_keeps_its_statistics(monkeypatch):
    """With batch normalisation: what the loss compares with is the teacher as it would predict."""
    monkeypatch.setattr(METHODS.get("dirt_t"), "after_step", lambda *arguments: None)  # no renewal
    recipe = Recipe.named("frozen", steps=6, batch=16, bottleneck=8)
    drifted = {}
    for still in (True, False):
        state = fit_toy("dirt_t", recipe=recipe, still_teacher=still).predictor.state
        before = fit_toy("vada", recipe=recipe).predictor.state
        drifted[still] = not torch.equal(
            state["teacher_body.bottleneck.1.running_mean"], before["body.bottleneck.1.running_mean"]
        )
    assert drifted == {True: False, False: True}


def test_dirt_t_starts_as_vada_and_renews_its_teacher_at_its_times():
    task = task_for(METHODS.get("dirt_t"))
    start = fit_toy("vada", task).predictor
    still = Recipe.named("digits", steps=12, batch=16, bottleneck=8, few_steps=0)
    never = fit_toy("dirt_t", task, recipe=still, trade_off=0.0, vat_weight=0.0, teacher_weight=0.0).predictor
    for part in ("body", "head"):
        for key, value in start.state.items():
            if key.startswith(part + "."):
                assert torch.equal(never.state["teacher_" + key], value) and torch.equal(never.state[key], value)
    g = game("dirt_t", refreshes=2)
    renewed = []
    for step in range(8):
        with torch.no_grad():
            g.net.head.bias.fill_(float(step))
        g.method.after_step(g.net, g.b, type(T)(step / 8, step, 8, 1.0))
        renewed.append(float(g.net.teacher_head.bias[0]) == step)
    assert [i for i, r in enumerate(renewed) if r] == [3, 7]
