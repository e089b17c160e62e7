"""Adversarial methods: against a transcription of the formula, who moves which way, what moves in which phase."""

from __future__ import annotations

import sys

import numpy as np
import pytest
import torch

from dazoo.methods.base import METHODS, create_method
from dazoo.ops import games
from tests.adversarial import (
    ROWS,
    T,
    game,
    softmax,
)
from tests.adversarial_formulas import CASES, MEMORY, OTHER_PHASES, expected_dann
from tests.toys import TINY, fit_toy, is_gradient, same, task_for

FAMILY = [n for n in METHODS.names() if METHODS.get(n).family == "adversarial"]
# some are transcribed in a file of their own, which their evidence names (test_dialect looks that it exists)
NAMES = [n for n in FAMILY if "tests/test_frontier" not in sys.modules[METHODS.get(n).__module__].__doc__]
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
    assert float(games.a_distance_of_error(e(0.0)[0])) == 2.0 and float(games.a_distance_of_error(e(0.8)[0])) == 0.0


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
