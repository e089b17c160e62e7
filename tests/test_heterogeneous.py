"""A source and a target with different features: tasks, networks and models with two sides, and the methods."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

import dazoo
from dazoo.contracts.toys import fit_toy, toy_task
from dazoo.core.errors import DazooError
from dazoo.core.setting import Setting
from dazoo.data.task import Task
from dazoo.engine.build import net_spec
from dazoo.engine.outcome import Options
from dazoo.engine.recipe import Recipe
from dazoo.methods.base import METHODS, create_method
from dazoo.methods.heterogeneous._augmented import Augmented, Side
from dazoo.methods.heterogeneous._plans import distance_matrix, with_even_marginals
from dazoo.methods.heterogeneous.cdls import Landmarks, Target, partners_of, share_of, solve_map
from dazoo.methods.heterogeneous.dama import heat_graph
from dazoo.methods.heterogeneous.mmdt import best_map
from dazoo.methods.heterogeneous.stn import soft_mmd
from dazoo.nets.net import NetSpec, build_net
from dazoo.ops.across import alignment_pencil, co_transport, co_transport_cost, gaussian_gw
from dazoo.validators.base import VALIDATORS, Evidence, score_all

FAMILY = [n for n in METHODS.names() if METHODS.get(n).family == "heterogeneous"]
FEW = Setting.of("heterogeneous+few")


def rng(seed: int = 0) -> np.random.Generator:
    return np.random.default_rng(seed)


def drawn(*shape: int, seed: int = 0) -> torch.Tensor:
    return torch.from_numpy(rng(seed).normal(size=shape))


def task(few: bool = True) -> Task:
    return toy_task(FEW if few else Setting.of("heterogeneous"), n=30)


# -- the frame --------------------------------------------------------------------------------------------------------


def test_names_of_the_setting_mean_the_same() -> None:
    assert FEW == Setting.of("heterogeneous_few") == Setting.of("few_labels").change(spaces="own")
    assert FEW.change(marked="none") == Setting.of("heterogeneous")


def test_a_task_knows_both_shapes() -> None:
    seen = task().seen()
    assert (seen.source_shape, seen.target_shape) == ((8,), (6,))
    assert seen.few is not None and seen.few.x.shape[1] == 6


def test_other_settings_refuse_other_features_and_name_the_remedy() -> None:
    x, y, z = rng().normal(size=(20, 4)), np.arange(20) % 2, rng(1).normal(size=(20, 3))
    with pytest.raises(DazooError, match="setting='heterogeneous'"):
        Task.from_arrays(x, y, z)
    with pytest.raises(DazooError, match="bring them to one"):
        Task.from_arrays(x, y, z, setting="heterogeneous").change(setting="unsupervised")
    with pytest.raises(DazooError, match="has 3 features, not 4"):
        Task.from_arrays([x, z], [y, y], z, setting="heterogeneous")


@pytest.mark.parametrize("name", ["coral", "dann"])
def test_methods_of_one_space_refuse_with_the_remedy(name: str) -> None:
    with pytest.raises(DazooError, match=r"--setting heterogeneous.*common_pca"):
        dazoo.fit(name, task(few=False))


def test_transforms_are_fitted_to_each_side() -> None:
    given = task(few=False)
    wide = given.change(sources=tuple(s.with_x(s.x * 1e6) for s in given.sources))
    with pytest.warns(match="of the source, all columns are huge"):
        model = dazoo.fit("linear_gw", wide)
    assert model.report.settings["transform"] == ["zscore"]
    assert [len(m.shift) for m in (*model.preprocessing.target, *model.preprocessing.sources[0])] == [6, 8]
    with pytest.raises(DazooError, match="take 'zscore'"):
        dazoo.fit("linear_gw", given, transform="zscore_within")


@pytest.mark.parametrize("name", ["dama", "stn", "labelled_target", "common_pca"])
def test_models_predict_either_side_and_are_saved(name: str, tmp_path: Path) -> None:
    given = task()
    model = dazoo.fit(
        name, given, transform=None, **({"recipe": Recipe.named("frozen", steps=5)} if name == "stn" else {})
    )
    dazoo.save(model, tmp_path / "model")
    again = dazoo.load(tmp_path / "model")
    xs, xt = given.sources[0].x, given.target.x
    assert torch.equal(again.predict(xt).scores, model.predict(xt).scores)
    assert torch.equal(again.predict_source(xs).scores, model.predict_source(xs).scores)
    with pytest.raises(DazooError, match="8 features, not 6"):
        model.predict(xs)
    with pytest.raises(DazooError, match="6 features, not 8"):
        model.predict_source(xt)
    assert 0 <= dazoo.evaluate(model, given)["accuracy"] <= 1


def test_a_net_has_a_body_for_each_side() -> None:
    spec = net_spec(task().seen(), Recipe.named("frozen", bottleneck=5), Options())
    assert NetSpec.from_json(spec.to_json()) == spec and spec.source_shape == (8,)
    net = build_net(spec, 0, lambda width, n: {})
    fs, ft = net.features(torch.ones(3, 8), torch.ones(2, 6))
    assert fs.shape == (3, 5) and ft.shape == (2, 5) and torch.equal(fs, net.of_source(torch.ones(3, 8)))
    plain = build_net(NetSpec("none", (6,), "vector", 3, 5), 0, lambda width, n: {})
    assert plain.of_source is plain.body
    assert all(torch.equal(v, net.state_dict()[k]) for k, v in plain.state_dict().items())
    with pytest.raises(DazooError, match="bottleneck"):
        build_net(NetSpec("none", (6,), "vector", 3, 0, source_shape=(8,)), 0, lambda width, n: {})


# -- contract (g): the order of features means nothing --------------------------------------------------------------


# random weights meet features in their order, and so do the first layers of a network
ORDERLESS = [
    n for n in METHODS.names() if "own" in METHODS.get(n).handles.spaces and n not in ("random_projection", "stn")
]


@pytest.mark.parametrize("name", ORDERLESS)
def test_permuted_target_features_permute_no_label(name: str) -> None:
    given = task()
    order = torch.from_numpy(rng().permutation(6))
    other = given.change(target=given.target.with_x(given.target.x[:, order]))
    first, second = (fit_toy(METHODS.get(name), t).predictor for t in (given, other))
    a, b = first.predict(given.target.x), second.predict(other.target.x)
    assert torch.equal(a.labels, b.labels)


# -- formulas -------------------------------------------------------------------------------------------------------


def test_coot_of_a_permuted_copy_is_zero() -> None:
    for seed in range(5):
        x = drawn(12, 6, seed=seed)
        y = x[torch.from_numpy(rng(seed).permutation(12))][:, torch.from_numpy(rng(seed + 9).permutation(6))]
        assert float(co_transport_cost(x, y, *co_transport(x, y))) == pytest.approx(0, abs=1e-12)


def test_gaussian_gw_ignores_rotation_and_translation() -> None:
    x, y = drawn(20, 5), drawn(30, 3, seed=1)
    turn = torch.linalg.qr(drawn(5, 5, seed=2))[0]
    assert float(gaussian_gw(x @ turn + 7, y)) == pytest.approx(float(gaussian_gw(x, y)), rel=1e-9)
    assert float(gaussian_gw(x, x @ turn)) == pytest.approx(0, abs=1e-6)


def test_gw_sees_distances_only() -> None:
    x = drawn(15, 4)
    turn = torch.linalg.qr(drawn(4, 4, seed=2))[0]
    assert torch.allclose(distance_matrix(x, ""), distance_matrix(3 * x @ turn + 5, ""), atol=1e-12)


@pytest.mark.parametrize("name", ["gw", "entropic_gw"])
def test_gw_finds_a_rotated_copy(name: str) -> None:
    x = drawn(24, 3) * torch.tensor([3.0, 1.0, 0.3]) + (drawn(24, 1, seed=4) > 0) * torch.tensor([4.0, 0.0, 0.0])
    y = np.arange(24) % 2
    copy = x @ torch.linalg.qr(drawn(3, 3, seed=2))[0]
    given = Task.from_arrays(x.numpy(), y, copy.numpy(), y, setting="heterogeneous")
    plan = create_method(name, **({"reg": 0.001} if name == "entropic_gw" else {})).plan(x, copy, given.seen(), None)
    assert (plan.argmax(1) == torch.arange(24)).double().mean() > 0.9


def test_plans_get_even_marginals() -> None:
    plan = with_even_marginals(torch.rand(5, 7, generator=torch.Generator().manual_seed(0), dtype=torch.float64))
    assert torch.allclose(plan.sum(1), torch.full((5,), 0.2, dtype=torch.float64))
    assert torch.allclose(plan.sum(0), torch.full((7,), 1 / 7, dtype=torch.float64)) and bool((plan >= 0).all())


def test_linear_gw_matches_moments() -> None:
    given = task()
    seen = given.seen()
    model = fit_toy(METHODS.get("linear_gw"), given).predictor.inner
    z = model.source_steps[0](seen.source.x.double())
    xt = torch.cat([seen.target.x, seen.few.x]).double()
    assert torch.allclose(z.mean(0), xt.mean(0), atol=1e-6)
    assert torch.allclose(torch.linalg.eigvalsh(torch.cov(z.T)), torch.linalg.eigvalsh(torch.cov(xt.T)), rtol=1e-5)


def test_dama_graph_is_symmetric_and_local() -> None:
    w = heat_graph(drawn(10, 2), 3)
    assert torch.equal(w, w.T) and not bool(w.diagonal().any()) and int((w > 0).sum(1).min()) >= 3


def test_dama_solves_its_pencil() -> None:
    from scipy.linalg import eigh

    given = task()
    seen = given.seen()
    steps = fit_toy(METHODS.get("dama"), given, components=4, dim=2, reg=0.2).predictor.inner
    (to_s, of_s), (to_t, of_t) = steps.source_steps, steps.target_steps
    xs, xt = to_s(seen.source.x.double()), to_t(torch.cat([seen.target.x, seen.few.x]).double())
    yt = torch.cat([torch.full((len(seen.target),), -1), seen.few.y])
    a, b = alignment_pencil(xs, xt, seen.source.y, yt, torch.block_diag(heat_graph(xs, 10), heat_graph(xt, 10)), 1.0)
    a += 0.2 * a.trace() / len(a) * torch.eye(len(a))
    best = torch.from_numpy(eigh(b.numpy(), a.numpy())[1][:, -2:]).flip(1)
    found = torch.cat([of_s.weight, of_t.weight])
    assert torch.allclose(
        (best.T @ a @ found).abs() / (found.T @ a @ found).diagonal().sqrt(), torch.eye(2).double(), atol=1e-6
    )


def test_a_source_of_other_features_helps_where_classes_are_alike() -> None:
    given = toy_task(FEW, n=90, shift=0.0).change(few_per_class=1)
    hidden = given.hidden()

    def accuracy(method: str) -> float:
        found = fit_toy(METHODS.get(method), given).predictor.predict(hidden.x).labels
        return float((found == hidden.y).double().mean())

    assert accuracy("cdls") > accuracy("labelled_target") + 0.02


def test_one_module_is_no_body_of_two_spaces() -> None:
    with pytest.raises(DazooError, match="two feature spaces"):
        dazoo.fit("stn", task(), backbone=torch.nn.Linear(6, 4))


def test_hfa_without_a_common_space_is_two_machines() -> None:
    from sklearn.svm import SVC

    xs, xt = drawn(20, 4), drawn(8, 3, seed=1)
    y = torch.where(torch.arange(28) % 2 == 0, 1.0, -1.0).double()
    problem = Augmented(Side(xs, "linear"), Side(xt, "linear"))
    w, b = problem.solve(y, torch.ones(28).double(), 0.0, 2, lambda _: None)
    model = SVC(C=1.0, kernel="precomputed").fit(problem.k.numpy(), y.numpy())
    assert np.allclose(problem.r @ w + b, model.decision_function(problem.k.numpy()), atol=1e-3)
    predictor = problem.predictor(w[:, None], torch.tensor([b]))
    assert torch.allclose(predictor.predict(xt).scores[:, 0], (problem.r @ w + b)[20:], atol=1e-8)
    assert torch.allclose(predictor.predict_source(xs).scores[:, 0], (problem.r @ w + b)[:20], atol=1e-8)


def test_hfa_lowers_its_objective() -> None:
    """With a common space the margins' cost falls: the dual value is the least over matrices of which 0 is one."""
    xs, xt = drawn(20, 4), drawn(8, 3, seed=1)
    y = torch.where(torch.cat([xs[:, 0], xt[:, 0]]) > 0, 1.0, -1.0).double()
    problem, c = Augmented(Side(xs, "linear"), Side(xt, "linear")), torch.ones(28).double()

    def cost(lam: float) -> float:
        w, b = problem.solve(y, c, lam, 5, lambda _: None)
        return float((1 - y * (problem.r @ w + b)).clamp(min=0).sum())

    assert cost(100.0) < cost(0.0)


def test_shfa_with_no_share_is_hfa() -> None:
    given = task()
    a, b = (
        fit_toy(METHODS.get(n), given, rounds=2, kernel="linear", **h)
        for n, h in (("hfa", {}), ("shfa", {"share": 0.0}))
    )
    x = given.target.x
    scores = [m.predictor.predict(x).scores for m in (a, b)]
    assert torch.equal(scores[0].argmax(1), scores[1].argmax(1))


def test_mmdt_finds_the_best_map() -> None:
    theta, b, x = drawn(3, 2), drawn(2, seed=1), drawn(6, 4, seed=2)
    signs = torch.where(drawn(6, 2, seed=3) > 0, 1.0, -1.0).double()

    def value(w: torch.Tensor) -> float:
        return float(0.5 * w.square().sum() + (1 - signs * (x @ w.T @ theta + b)).clamp(min=0).sum())

    best = best_map(theta, b, x, signs, 1.0)
    assert all(value(best) <= value(best + 0.01 * drawn(3, 4, seed=s)) + 1e-6 for s in range(20))
    assert value(best) < value(torch.zeros(3, 4, dtype=torch.float64))


def test_cdls_map_is_stationary() -> None:
    y = torch.arange(12) % 3
    source = Landmarks(drawn(12, 4), y, 3, torch.rand(12, dtype=torch.float64))
    few = Landmarks(drawn(6, 2, seed=1), y[:6], 3, torch.ones(6, dtype=torch.float64))
    free = Landmarks(drawn(9, 2, seed=2), y[:9], 3, torch.rand(9, dtype=torch.float64))
    target = Target(few, free, 0.5)
    a = solve_map(source, target, 0.3).requires_grad_()
    weighted, z = source.a[:, None] * (source.x @ a), source.x @ a
    value = 0.3 * a.square().sum() + (weighted.mean(0) / 0.5 - target.means[0]).square().sum()
    for c in range(3):
        mine = y == c
        value = value + (weighted[mine].mean(0) / 0.5 - target.means[1 + c]).square().sum()
        for other in (few, free):
            goals = other.x[other.y == c] * other.a[other.y == c, None]
            value = value + (weighted[mine][:, None] - goals).square().sum(2).mean()
    assert float(torch.autograd.grad(value, a)[0].abs().max()) < 1e-9
    assert torch.equal(partners_of(few, free)[0], torch.full((3,), 2.0, dtype=torch.float64)) and z.shape == (12, 2)


def test_landmarks_keep_their_share() -> None:
    group = Landmarks(drawn(20, 3), torch.arange(20) % 4, 4, torch.ones(20, dtype=torch.float64))
    a = share_of(drawn(20, seed=5), group, 0.4)
    assert bool((a >= 0).all()) and bool((a <= 1).all())
    assert torch.allclose(
        torch.stack([a[group.y == c].mean() for c in range(4)]), torch.full((4,), 0.4).double(), atol=1e-6
    )


def test_soft_mmd_equals_its_transcription() -> None:
    fs, ff, ft = drawn(6, 3), drawn(4, 3, seed=1), drawn(5, 3, seed=2)
    ws, wf = torch.eye(2).double()[torch.arange(6) % 2], torch.eye(2).double()[torch.arange(4) % 2]
    pt = drawn(5, 2, seed=3).softmax(1)
    expected = (fs.mean(0) - torch.cat([ff, ft]).mean(0)).square().sum()
    for c in range(2):
        soft = 0.3 * pt[:, c]
        of_target = (ff[wf[:, c] == 1].sum(0) + (soft[:, None] * ft).sum(0)) / (2 + soft.sum())
        expected = expected + (fs[ws[:, c] == 1].mean(0) - of_target).square().sum()
    assert float(soft_mmd(fs, ws, ff, wf, ft, pt, 0.3)) == pytest.approx(float(expected), rel=1e-12)


@pytest.mark.parametrize("name", ["common_pca", "random_projection"])
def test_common_width_equals_the_method_on_mapped_samples(name: str) -> None:
    given = task()
    through = fit_toy(METHODS.get(name), given, dim=4, then="coral").predictor.inner
    xs = through.source_steps[0](given.sources[0].x.double())
    xt = through.target_steps[0](given.target.x.double())
    plain = Task(
        "a/b->c", (given.sources[0].with_x(xs),), given.target.with_x(xt), setting="few_labels", source_holdout=0.2
    )
    expected = fit_toy(METHODS.get("coral"), plain).predictor.predict(xt).scores
    assert torch.allclose(through.predict(given.target.x).scores, expected, atol=1e-8)
    with pytest.raises(DazooError, match="trained by gradients"):
        fit_toy(METHODS.get(name), given, then="dann")
    with pytest.raises(DazooError, match="does not run in the setting"):
        fit_toy(
            METHODS.get(name), given, then="kmm" if "few" not in METHODS.get("kmm").handles.marked else "source_only"
        )


def test_labelled_target_is_the_classifier_on_the_few() -> None:
    from sklearn.linear_model import LogisticRegression

    given = task()
    few = given.seen().few
    model = LogisticRegression(max_iter=1000).fit(few.x.double().numpy(), few.y.numpy())
    got = fit_toy(METHODS.get("labelled_target"), given).predictor.predict(given.target.x).labels
    assert np.array_equal(got.numpy(), model.predict(given.target.x.double().numpy()))


def test_methods_that_need_labels_say_so() -> None:
    needing = [n for n in FAMILY if "none" not in METHODS.get(n).handles.marked]
    assert set(FAMILY) - set(needing) == {"coot", "gw", "entropic_gw", "linear_gw", "common_pca", "random_projection"}
    with pytest.warns(match="was shown"):
        assert dazoo.fit("dama", task(few=False)).report.settings["setting"] == "heterogeneous_few"


def test_each_side_has_an_encoder_of_its_own(tmp_path: Path) -> None:
    """Texts on one side and vectors on the other, or texts in two languages."""
    words = [["red apple", "sweet pear", "big bus", "fast train"], ["roter Apfel", "neuer Zug"]]
    y, x = np.arange(24) % 4 // 2, rng().normal(size=(24, 3))
    texts = [words[0][i % 4] for i in range(24)]
    mixed = Task.from_arrays(texts, y, x, y, setting="heterogeneous+few", kind=None)
    model = dazoo.fit("labelled_target", mixed, transform=None)
    assert model.predict(x).scores.shape == (24, 2) and model.predict_source(texts[:3]).scores.shape == (3, 2)
    foreign = Task.from_arrays(texts, y, [words[1][c] for c in y], y, setting="heterogeneous+few")
    model = dazoo.fit("linear_gw", foreign, transform=None)
    dazoo.save(model, tmp_path / "model")
    again = dazoo.load(tmp_path / "model")
    for ask in ("predict", "predict_source"):
        given = ["roter Zug"] if ask == "predict" else ["fast bus"]
        assert torch.equal(getattr(again, ask)(given).scores, getattr(model, ask)(given).scores)


def test_a_diagnosis_judges_each_side_alone() -> None:
    from rich.console import Console

    from dazoo.cli.diagnose import rendered

    for few, method in ((True, "cdls"), (False, "coot")):
        found = dazoo.diagnose(task(few))
        assert found.kind == "apart" and found.skill is not None and method in found.advice[0].methods
        assert found.to_json()["domains"]["a_distance"] is None
        console = Console(width=120, record=True, quiet=True)
        console.print(*rendered(found))


@pytest.mark.parametrize("name", ["cdls", "labelled_target", "stn"])
def test_validators_take_models_of_two_spaces(name: str) -> None:
    given = task()
    options = {"recipe": Recipe.named("frozen", steps=5)} if name == "stn" else {}
    evidence = Evidence(dazoo.fit(name, given, transform=None, **options).inner, given.seen())
    scores, problems = score_all(VALIDATORS.names(), evidence)
    assert problems == [] and scores["entropy"] is not None
