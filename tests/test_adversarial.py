"""Adversarial methods: against a transcription of the formula, who moves which way, what moves in which phase."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from dazoo.engine.recipe import Recipe
from dazoo.methods.base import METHODS, create_method
from dazoo.ops import draws, games
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
    game,
    one_of_parallel,
    perceptron,
    softmax,
)
from tests.adversarial_formulas import CASES, MEMORY, OTHER_PHASES, expected_dann
from tests.toys import TINY, fit_toy, is_gradient, same, task_for

NAMES = [n for n in METHODS.names() if METHODS.get(n).family == "adversarial"]
RAMP = T.ramp


def test_every_method_of_the_family_is_transcribed():
    assert set(NAMES) == set(CASES)


@pytest.mark.parametrize("name", CASES)
@pytest.mark.parametrize("seed", [0, 1])
def test_losses_are_the_formula(name, seed):
    expected, hparams = CASES[name]
    g = game(name, seed, MEMORY.get(name), **hparams)
    if name == "dirt_t":
        with torch.no_grad():
            g.net.head.weight.mul_(1.3)  # away from the teacher
    found = {k: v.item() for k, v in g.terms().items()}
    close = 1e-5 if name in ("vada", "dirt_t") else 1e-9  # the transcribed direction is a numerical gradient's
    assert found == pytest.approx(expected(g), rel=close, abs=1e-12)


@pytest.mark.parametrize(("name", "phase", "expected"), OTHER_PHASES)
@pytest.mark.parametrize("seed", [0, 1])
def test_losses_of_other_phases_are_the_formula(name, phase, expected, seed):
    g = game(name, seed, trade_off=0.7)
    if name in ("adda", "star"):  # away from where the two encoders, or all classifiers' spreads, are the same
        with torch.no_grad():
            for p in (g.net.body if name == "adda" else g.net.spread).parameters():
                p += 0.1 * torch.arange(p.numel(), dtype=p.dtype).reshape(p.shape).sin()
    found = {k: v.item() for k, v in g.terms(phase).items()}
    assert found == pytest.approx(expected(g), rel=1e-9, abs=1e-12)


def test_every_phase_is_transcribed():
    phases = {(n, p.losses) for n in NAMES for p in create_method(n).phases}
    assert phases == {(n, "losses") for n in CASES} | {(n, p) for n, p, _ in OTHER_PHASES}


REVERSED = [
    ("dann", "dom", "disc"),
    ("cdan", "dom", "disc"),
    ("cdan_e", "dom", "disc"),
    ("mdd", "mdd", "adv"),
    ("mada", "dom", "discs"),
    ("toalign", "dom", "disc"),
    ("daan", "dom", "disc"),
    ("daan", "class_dom", "discs"),
    ("els", "dom", "disc"),
    ("gvb", "dom", "domain"),
    ("gvb", "bridge_d", "bridge_d"),
    ("vada", "dom", "disc"),
    ("bsp", "dom", "disc"),
    ("sdat", "dom", "disc"),
]


@pytest.mark.parametrize(("name", "term", "part"), REVERSED)
def test_gradient_to_the_body_is_reversed_and_scaled(name, term, part):
    """The discriminator descends the term at full rate; the body ascends it at trade_off * ramp."""
    memory = MEMORY.get(name)
    plain = game(name, 0, memory, trade_off=-1.0 / RAMP)  # strength -1 is no reversal at all
    reversed_ = game(name, 0, memory, trade_off=0.5)
    torch.testing.assert_close(reversed_.gradient(term, part), plain.gradient(term, part))
    torch.testing.assert_close(reversed_.gradient(term, "body"), -0.5 * RAMP * plain.gradient(term, "body"))
    assert float(plain.gradient(term, "body").norm()) > 1e-6


@pytest.mark.parametrize("name", ["cdan", "cdan_e", "mdd", "mada", "daan"])
def test_the_game_leaves_the_head_alone(name):
    g = game(name, 0, MEMORY.get(name))
    for term in g.terms():
        if term != "cls":
            assert float(g.gradient(term, "head").abs().max()) == 0.0


def test_daln_head_ascends_what_the_body_descends():
    g = game("daln", trade_off=2.0)
    plain = game("daln", trade_off=2.0)
    plain_terms = plain.method.losses(plain.net, plain.b, type(T)(0.4, 40, 100, -1.0))
    leaves = list(plain.net.body.parameters())
    direct = torch.cat([v.flatten() for v in torch.autograd.grad(plain_terms["nwd"], leaves)])
    torch.testing.assert_close(g.gradient("nwd", "body"), -RAMP * direct)
    assert float(g.gradient("nwd", "head").norm()) > 0


def test_cdan_e_is_cdan_with_entropy():
    assert same(_with_name("cdan_e", fit_toy("cdan_e")), _with_name("cdan_e", fit_toy("cdan", entropy=True)))


def _with_name(name, result):
    import dataclasses

    hparams = {k: v for k, v in result.predictor.hparams.items() if k != "entropy"}
    return dataclasses.replace(result, predictor=dataclasses.replace(result.predictor, method=name, hparams=hparams))


def test_positive_features_keep_their_norm_and_equal_weights_change_nothing():
    gen = torch.Generator().manual_seed(0)
    f, w = (torch.randn(5, 4, generator=gen, dtype=torch.float64) for _ in range(2))
    out = games.positive_features(f, w)
    torch.testing.assert_close(out.norm(dim=1), f.norm(dim=1))
    torch.testing.assert_close(games.positive_features(f, torch.full_like(f, 0.3)), f)
    zero = f.clone()
    zero[0] = 0
    zero.requires_grad_()
    (gradient,) = torch.autograd.grad(games.positive_features(zero, w).sum(), zero)
    assert bool(torch.isfinite(gradient).all()) and float(games.positive_features(zero, w)[0].detach().abs().max()) == 0


def test_mada_reads_a_class_only_where_it_is_predicted():
    """A discriminator whose class has probability 0 sees zeros: its loss has no gradient to the features."""
    g = game("mada")
    with torch.no_grad():
        g.net.head.weight.zero_()
        g.net.head.bias.copy_(torch.tensor([2000.0, -2000.0, -2000.0], dtype=torch.float64))
    f = torch.from_numpy(np.concatenate([g.fs, g.ft])).requires_grad_()
    p = torch.from_numpy(softmax(np.concatenate([g.ls, g.lt])))
    losses = games.classwise_domain_bce(g.net.discs(p.T[:, :, None] * f).squeeze(-1).T, ROWS)
    sizes = [float(torch.autograd.grad(v, f, retain_graph=True)[0].abs().max()) for v in losses]
    assert sizes[0] > 1e-6 and sizes[1:] == [0.0, 0.0]


def test_domain_error_and_dynamic_factor():
    z = torch.tensor([[2.0, -1.0], [1.0, -1.0], [-3.0, 4.0], [0.5, 2.0]], dtype=torch.float64)
    # column 0: source rows right, one of two target rows wrong; column 1: everything wrong
    torch.testing.assert_close(games.domain_error(z, 2), torch.tensor([0.25, 1.0], dtype=torch.float64))
    w = torch.tensor([[1.0, 0.0], [1.0, 0.0], [3.0, 1.0], [1.0, 1.0]], dtype=torch.float64)
    torch.testing.assert_close(games.domain_error(z, 2, w), torch.tensor([0.125, 0.75], dtype=torch.float64))
    e = lambda *v: torch.tensor(v, dtype=torch.float64)  # noqa: E731
    assert float(games.dynamic_factor(e(0.5)[0], e(0.5, 0.5))) == 0.5  # nothing is told apart
    assert float(games.dynamic_factor(e(0.0)[0], e(0.5, 0.5))) == 0.0  # the domains are, the classes are not
    assert float(games.dynamic_factor(e(0.5)[0], e(0.0, 0.5))) == 1.0
    assert float(games.dynamic_factor(e(0.25)[0], e(0.25, 0.25))) == pytest.approx(0.5)
    assert float(games.a_distance(e(0.0)[0])) == 2.0 and float(games.a_distance(e(0.8)[0])) == 0.0


def test_daan_with_omega_zero_is_dann():
    g = game("daan", memory={"omega": torch.tensor(0.0, dtype=torch.float64)})
    terms = g.terms()
    assert terms["dom"].item() == pytest.approx(expected_dann(g)["dom"]) and terms["class_dom"].item() == 0.0


def test_domain_confusion_is_least_where_the_discriminator_is_unsure():
    from dazoo.ops.adversarial import domain_confusion

    z = torch.zeros(4, dtype=torch.float64)
    assert float(domain_confusion(z)) == pytest.approx(np.log(2))
    assert float(domain_confusion(z + 1)) > np.log(2) and float(domain_confusion(z - 1)) > np.log(2)


def test_adda_keeps_the_source_model():
    task = task_for(METHODS.get("adda"))
    source, adapted = fit_toy("source_only", task).predictor, fit_toy("adda", task).predictor
    for key, value in source.state.items():
        if key.startswith("body."):
            assert torch.equal(adapted.state["source_" + key], value)
        if key.startswith("head."):
            assert torch.equal(adapted.state[key], value)
    x = task.sources[0].x
    assert torch.equal(adapted.predict_source(x).scores, source.predict(x).scores)
    assert not torch.equal(adapted.predict(x).scores, source.predict(x).scores)


PHASED = [n for n in NAMES if is_gradient(n) and len(create_method(n).phases) > 1]


@pytest.mark.parametrize("name", PHASED)
def test_a_phase_moves_its_parts_and_no_other(name, monkeypatch):
    import dazoo.engine.fit as engine
    from dazoo.engine.train import Loop

    ran = []

    class Watching(Loop):
        def _gradient_step(self, phase, moving, batch, t, *more):
            before = {n: p.detach().clone() for n, p in self.learner.parameters.items()}
            out = super()._gradient_step(phase, moving, batch, t, *more)
            changed = {n for n, p in self.learner.parameters.items() if not torch.equal(p, before[n])}
            outside = [n for n in changed if not any(u == "*" or n.startswith(u + ".") for u in phase.update)]
            assert not outside, f"{name}.{phase.losses} moves {outside}"
            if self.members[0].method.name == name:  # not the model it starts from
                ran.append((phase.losses, bool(changed)))
            return out

    monkeypatch.setattr(engine, "Loop", Watching)
    fit_toy(name)
    phases = create_method(name).phases
    # a ramped weight is zero in the very first iteration, so the last one is looked at
    per_iteration = sum(p.repeat for p in phases)
    last = ran[-per_iteration:]
    assert [n for n, _ in last] == [p.losses for p in phases for _ in range(p.repeat)]
    assert all(moved for _, moved in last)
    assert len(ran) == TINY.steps * per_iteration


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
    from dazoo.ops.perturb import kl_of_logits, unit_rows

    g = game("vada", seed=3)
    x = g.b.xt
    worst = smoothness(g.net, x, T, 0.1, "vat target").item()
    random = []
    for i in range(20):
        d = unit_rows(draws.normal(tuple(x.shape), i, x, "elsewhere"))
        moved = x + 0.1 * x.norm(dim=1).mean() * d
        random.append(kl_of_logits(g.net.head(g.net.body(x)), g.net.head(g.net.body(moved))).item())
    assert worst > np.mean(random) > 0
    assert smoothness(g.net, x, T, 0.0, "vat target").item() == pytest.approx(0.0, abs=1e-12)


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
