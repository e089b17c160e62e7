"""Methods put together by name: they are sums, share their work, and behave like any other method."""

from __future__ import annotations

import dataclasses
import pickle

import pytest
import torch

from dazoo.core import hparam, portable
from dazoo.core.errors import DazooError, UnknownName
from dazoo.engine.fit import fit, fit_group
from dazoo.methods.base import METHODS, create_method
from dazoo.methods.composition.view import Once, View
from tests.adversarial import game
from tests.toys import TINY, is_gradient, options_for, toy_task


def fit_any(name, seed=0, **hparams):
    return fit(create_method(name, **hparams), toy_task().seen(), seed=seed, options=options_for("dann"))


def tensors(result, drop=""):
    return {k.removeprefix(drop): v for k, v in result.predictor.state.items()}


PAIRS = [("cdan", "mcc"), ("dann", "mcc"), ("dan", "mcc"), ("mcc", "dann"), ("cdan_e", "deep_coral")]


@pytest.mark.parametrize(("first", "second"), PAIRS)
def test_a_weight_of_zero_leaves_the_other_alone(first, second):
    """a+b with b's weight 0 is a, bit for bit, and with a's weight 0 it is b (in the parts that b has)."""
    without_second = tensors(fit_any(f"{first}+{second}", **{f"{second}.trade_off": 0.0}))
    for key, value in tensors(fit_any(first)).items():
        assert torch.equal(without_second[key], value), key
    without_first = tensors(fit_any(f"{first}+{second}", **{f"{first}.trade_off": 0.0}))
    for key, value in tensors(fit_any(second)).items():
        if key.startswith(("body.", "head.")):
            assert torch.equal(without_first[key], value), key
    both = tensors(fit_any(f"{first}+{second}"))
    shared = [k for k in both if k.startswith("body.")]
    assert not all(torch.equal(both[k], without_second[k]) for k in shared)
    assert not all(torch.equal(both[k], without_first[k]) for k in shared)


def test_terms_are_the_members_own():
    g = game("cdan+mcc", **{"mcc.trade_off": 0.5, "cdan.trade_off": 2.0})
    alone, other = game("cdan", trade_off=2.0), game("mcc", trade_off=0.5)
    found = g.terms()
    assert list(found) == ["cls", "dom", "mcc.mcc"]
    torch.testing.assert_close(found["cls"], alone.terms()["cls"])
    torch.testing.assert_close(found["dom"], alone.terms()["dom"])
    torch.testing.assert_close(found["mcc.mcc"], other.terms()["mcc"])
    for term in ("cls", "dom"):
        torch.testing.assert_close(g.gradient(term, "body"), alone.gradient(term, "body"))
    torch.testing.assert_close(g.gradient("mcc.mcc", "body"), other.gradient("mcc", "body"))


def test_features_are_computed_once():
    g = game("cdan+mcc+bsp+sdat")
    calls = []
    g.net.body.register_forward_hook(lambda *_: calls.append("body"))
    g.net.head.register_forward_hook(lambda *_: calls.append("head"))
    g.terms()
    assert calls.count("body") == (1 if g.net.joint else 2) and calls.count("head") == 2  # source and target


def test_three_methods_and_their_hyper_parameters():
    cls = METHODS.get("cdan+mcc+sdat")
    assert set(hparam.space(cls)) == {
        *(f"cdan.{k}" for k in hparam.space(METHODS.get("cdan"))),
        *(f"mcc.{k}" for k in hparam.space(METHODS.get("mcc"))),
        "sdat.rho",
    }
    method = create_method("cdan+mcc+sdat", **{"sdat.rho": 0.1, "mcc.temperature": 3})
    assert hparam.values(method)["sdat.rho"] == 0.1 and method.methods[1].temperature == 3.0
    (phase,) = method.phases
    assert phase.smooth == ("cls",) and phase.radius == "sdat.rho"
    drawn = hparam.sample(cls, 3)
    assert 0.005 <= drawn["sdat.rho"] <= 0.2
    assert hparam.configure(cls, drawn) == hparam.configure(cls, drawn) != method


def test_smoothing_another_method_is_sdat_on_that_base():
    one = tensors(fit_any("dann+sdat", **{"sdat.rho": 0.1}))
    two = tensors(fit_any("sdat", base="dann", rho=0.1))
    plain = tensors(fit_any("dann"))
    assert all(torch.equal(one[k], two[k]) for k in two)
    assert any(not torch.equal(one[k], plain[k]) for k in plain)


def test_penalty_on_another_method_is_bsp_on_that_base():
    one = tensors(fit_any("dann+bsp", **{"bsp.bsp_weight": 0.01}))
    two = tensors(fit_any("bsp", base="dann", bsp_weight=0.01))
    assert all(torch.equal(one[k], two[k]) for k in two)


def test_parts_of_the_same_name_stay_apart():
    result = fit_any("dann+cdan")
    state = result.predictor.state
    assert {k.split(".")[0] for k in state} == {"body", "head", "disc", "cdan_disc"}
    assert result.predictor.state["cdan_disc.0.weight"].shape[1] == 3 * state["disc.0.weight"].shape[1]


def test_saves_loads_and_pickles(tmp_path):
    model = fit_any("cdan+mcc", **{"mcc.trade_off": 0.3}).predictor
    x = toy_task().hidden().x
    portable.save(model, tmp_path / "m.safetensors")
    loaded = portable.load(tmp_path / "m.safetensors")
    torch.testing.assert_close(loaded.predict(x).scores, model.predict(x).scores)
    assert loaded.hparams["mcc.trade_off"] == 0.3
    torch.testing.assert_close(pickle.loads(pickle.dumps(model)).predict(x).scores, model.predict(x).scores)
    method = create_method("cdan+mcc", **{"mcc.trade_off": 0.3})
    assert pickle.loads(pickle.dumps(method)) == method
    assert hash(pickle.loads(pickle.dumps(method))) == hash(method)
    with pytest.raises(dataclasses.FrozenInstanceError):
        method.name = "x"


def test_stacked_equals_alone():
    options, seen = options_for("dann"), toy_task().seen()
    methods = [create_method("cdan+mcc"), create_method("cdan+mcc", **{"mcc.trade_off": 0.3, "cdan.trade_off": 0.5})]
    together = fit_group(methods, seen, seeds=[0, 1], options=options)
    for i, method in enumerate(methods):
        alone = fit(method, seen, seed=i, options=options).predictor
        for key, value in alone.state.items():
            torch.testing.assert_close(together[i].predictor.state[key], value, rtol=1e-4, atol=1e-5, msg=key)


def test_is_looked_up_and_not_listed():
    METHODS.get("cdan+mcc")
    assert not any("+" in n for n in METHODS.names())
    assert METHODS.get("cdan+mcc") is METHODS.get("cdan+mcc") and METHODS.get("cdan+mcc").name == "cdan+mcc"
    assert "cdan+mcc" in METHODS and "cdan+nonsense" not in METHODS
    assert METHODS.get("cdan+mcc").settings == METHODS.get("cdan").settings & METHODS.get("mcc").settings


@pytest.mark.parametrize(
    ("name", "error", "words"),
    [
        ("cdan+nonsense", UnknownName, "nonsense"),
        ("cdan+cdan", DazooError, "twice"),
        ("cdan+sa", DazooError, "gradients"),
        ("cdan+adda", DazooError, "stand first"),
        ("cdan+target_oracle", DazooError, "settings"),
    ],
)
def test_what_does_not_go_together_is_said(name, error, words):
    with pytest.raises(error, match=words):
        METHODS.get(name)


def test_wrong_hyper_parameters_are_said():
    with pytest.raises(UnknownName, match="trade_off"):
        create_method("cdan+mcc", trade_off=1.0)
    with pytest.raises(UnknownName, match=r"bsp\.bsp_weight"):
        create_method("dann+bsp", **{"bsp.base": "cdan"})  # held where it is added to another method


def test_a_view_shows_no_other_methods_parts():
    net = game("dann+cdan").net
    lead, second = View(net, "", ("cdan_",), None), View(net, "cdan_", ("cdan_",), None)
    assert lead.disc is net.disc and second.disc is net.cdan_disc
    assert not hasattr(lead, "cdan_disc") and not hasattr(second, "product")
    second.add_module("extra", torch.nn.Linear(1, 1))
    assert net.cdan_extra is second.extra and not hasattr(lead, "cdan_extra")
    assert second.get_submodule("disc.0") is net.cdan_disc[0] and second.get_submodule("body") is net.body


def test_once_keeps_results_with_and_without_gradients_apart():
    once, layer, x = Once(), torch.nn.Linear(2, 2), torch.ones(1, 2)
    with torch.no_grad():
        blind = once("layer", layer, x)
    assert not blind.requires_grad and once("layer", layer, x).requires_grad
    assert once("layer", layer, x) is once("layer", layer, x)
    assert once("layer", layer, x.clone()) is not once("layer", layer, x)


def test_later_phases_keep_their_parts():
    phases = create_method("domain_confusion+mcc").phases
    assert [p.losses for p in phases] == ["losses", "domain_confusion.losses_disc"]
    assert phases[0].update == ("body", "head") and phases[1].update == ("disc",)
    phases = create_method("mcc+domain_confusion").phases
    assert [p.losses for p in phases] == ["losses", "domain_confusion.losses_disc"]
    assert phases[1].update == ("domain_confusion_disc",)
    fit_any("mcc+domain_confusion")
    # terms go where the body moves, even if that is not the leader's first phase
    assert [p.losses for p in create_method("adda+mcc").phases] == ["adda.losses_disc", "losses"]
    on, off = fit_any("adda+mcc"), fit_any("adda+mcc", **{"mcc.trade_off": 0.0})
    assert any(not torch.equal(a, b) for a, b in zip(tensors(on).values(), tensors(off).values()))


PARTNERS = [
    n
    for n in METHODS.names()
    if n != "dann" and is_gradient(n) and METHODS.get("dann").settings & METHODS.get(n).settings
]


@pytest.mark.parametrize("name", PARTNERS)
def test_any_method_goes_with_another_or_says_why(name):
    short = dataclasses.replace(TINY, steps=2)
    try:
        method = create_method(f"dann+{name}")
    except DazooError as refusal:
        assert "cannot be put together" in str(refusal)
        return
    seen = toy_task().seen()
    try:
        model = fit(method, seen, options=options_for("dann", short)).predictor
    except DazooError as refusal:  # the network lacks what the method needs, alone as well
        with pytest.raises(DazooError):
            fit(create_method(name), seen, options=options_for("dann", short))
        assert len(str(refusal)) > 20
        return
    x = seen.target.x
    torch.testing.assert_close(pickle.loads(pickle.dumps(model)).predict(x).scores, model.predict(x).scores)
