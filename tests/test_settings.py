"""Settings as answers: names, matching, label sets, hidden sources, samples of no known class."""

from __future__ import annotations

import dataclasses
import warnings
from pathlib import Path

import numpy as np
import pytest
import torch

import dazoo
from dazoo.bench.suite_run import run_suite
from dazoo.core.errors import DazooError, DazooWarning, UnknownName
from dazoo.core.handles import Handles, nearby
from dazoo.core.setting import FEW_LABELS, MULTI_SOURCE, PRESETS, SOURCE_FREE, UNSUPERVISED, Setting
from dazoo.data.label_sets import LabelSets
from dazoo.engine import start as starts
from dazoo.engine.fit import Options, fit
from dazoo.engine.predictor import by_entropy
from dazoo.engine.recipe import Recipe
from dazoo.methods.base import METHODS, Batch, GradientMethod, Look, create_method

QUICK = Options(recipe=Recipe.named("digits", steps=10, batch=16, bottleneck=8), backbone="mlp")


# -- names and matching -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", [*PRESETS, "source_free+multi_source", "partial+few", "source_free_open+multi_source"])
def test_a_setting_is_found_by_the_name_it_bears(name: str) -> None:
    made = Setting.of(name)
    assert made.name == name == str(made) and Setting.of(made) is made
    assert made.change() == made


def test_the_settings_of_the_first_version_are_attributes_still() -> None:
    assert Setting.ORACLE is Setting.of("oracle") and Setting.UNSUPERVISED is UNSUPERVISED
    assert Setting.MULTI_SOURCE is MULTI_SOURCE and Setting.FEW_LABELS is FEW_LABELS


def test_answers_have_their_usual_name() -> None:
    assert UNSUPERVISED.change(n_sources="many") is MULTI_SOURCE
    assert UNSUPERVISED.change(labels="partial", source="model").name == "source_free_partial"
    assert SOURCE_FREE.change(n_sources="many").name == "source_free+multi_source"


@pytest.mark.parametrize("name", ["opne_set", "partial+fwe", "", "few"])
def test_an_unknown_setting_is_named_with_its_neighbour(name: str) -> None:
    with pytest.raises(UnknownName, match="unknown setting"):
        Setting.of(name)


def test_what_dazoo_does_not_do_is_said() -> None:
    for name in ("federated", "decentralised", "source_free+decentralised", "decentralized"):
        with pytest.raises(DazooError, match="learning is not what dazoo does: it compares methods in one place"):
            Setting.of(name)
    with pytest.raises(DazooError, match=r"Setting\.of"):
        Setting("oracle")
    with pytest.raises(DazooError, match="labels is one of"):
        Setting("mine", labels="half")


@pytest.mark.parametrize(
    ("handles", "setting", "runs", "as_baseline"),
    [
        (Handles(), "unsupervised", True, True),
        (Handles(), "partial", False, True),
        (Handles(), "open_set", False, True),
        (Handles(), "source_free", False, False),
        (Handles(source="model"), "unsupervised", True, True),
        (Handles(source="model"), "black_box", False, False),
        (Handles(source="black_box"), "source_free", True, True),
        (Handles(source="model", labels={"closed", "open"}), "source_free_open", True, True),
        (Handles(), "few_labels", False, False),
        (Handles(target="stream"), "unsupervised", False, False),
        (Handles(n_sources={"one", "many"}), "multi_source", True, True),
        (Handles(), "multi_source", False, False),
    ],
)
def test_one_function_matches(handles: Handles, setting: str, runs: bool, as_baseline: bool) -> None:
    assert (not handles.problem(Setting.of(setting))) == runs
    assert (not handles.problem(Setting.of(setting), baseline=True)) == as_baseline


def test_methods_of_older_packages_name_settings() -> None:
    old = Handles.of(["unsupervised", "few_labels"])
    assert {UNSUPERVISED, FEW_LABELS} <= old.settings and PRESETS["partial"] not in old.settings
    assert old == Handles(marked={"none", "few"})
    assert Handles() & Handles(marked={"none", "few"}) == Handles() and Handles() & Handles(marked="few") is None
    with pytest.raises(DazooError, match="handles labels"):
        Handles(labels={"closed", "opened"})


def test_a_hidden_source_is_never_opened_for_a_method() -> None:
    assert all(s.source == "model" for s in nearby(SOURCE_FREE, 1))
    with pytest.raises(DazooError, match="'dann' does not run in the setting 'source_free'"):
        dazoo.fit("dann", dazoo.load_task("digits/upright->rotated", setting="source_free"))


# -- label sets -------------------------------------------------------------------------------------------------------


def blobs(classes: str, n: int, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    centres = {c: 4 * np.random.default_rng(ord(c)).normal(size=6) for c in "abcdefgh"}
    y = np.array([classes[i % len(classes)] for i in range(n)])
    return np.stack([centres[c] for c in y]) + rng.normal(size=(n, 6)), y


def test_counts_take_classes_in_order_and_names_take_themselves() -> None:
    classes = tuple("abcdef")
    assert LabelSets(2, 3, 1).names(classes) == (("a", "b"), ("c", "d", "e"), ("f",))
    assert LabelSets(("f", "b"), 1).names(classes) == (("b", "f"), ("a",), ())
    assert [LabelSets(2, s, t).labels for s, t in ((0, 0), (1, 0), (0, 1), (1, 1))] == [
        "closed", "partial", "open", "universal",
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("value", "said"),
    [
        ({"shared": 5, "source": 9}, "14 classes are asked for"),
        ({"shared": ["a", "x"]}, "no class 'x'"),
        ({"shared": ["a"], "source": ["a"]}, "stands twice"),
        ({"shared": 0, "source": 2}, "share no class"),
        ({"source": 2}, "classes are"),
        ({"shared": -1}, "is a number or a list"),
        ({"shared": 2, "sauce": 1}, "classes are"),
        ("halfs", "unknown split"),
        (7, "classes are"),
    ],
)
def test_mistakes_in_label_sets_are_named(value: object, said: str) -> None:
    with pytest.raises(DazooError, match=said):
        LabelSets.of(value, {"half": (3, 3, 0)}).names(tuple("abcdef"))


def test_any_dataset_becomes_partial_open_or_universal_by_one_option() -> None:
    for classes, name, k in (({"shared": 4, "source": 3}, "partial", 7), ({"shared": 4, "target": 3}, "open_set", 4),
                             ({"shared": 4, "source": 3, "target": 2}, "universal", 7)):  # fmt: skip
        task = dazoo.load_task("digits/upright->rotated", classes=classes)
        assert task.setting.name == name and task.n_classes == k
        hidden = task.hidden()
        assert set(hidden.y.tolist()) == {*range(4), *([k] if "target" in classes else [])}
        assert set(task.seen().source.y.tolist()) == set(range(k))
    assert dazoo.load_task("digits/upright->rotated", classes={"shared": 10}).setting is UNSUPERVISED


def test_arrays_become_open_by_their_labels() -> None:
    (xs, ys), (xt, yt) = blobs("abc", 60), blobs("bcgh", 60, 1)
    with pytest.raises(DazooError, match=r"no source has a sample .*'g', 'h'.*setting='open_set'"):
        dazoo.Task.from_arrays(xs, ys, xt, yt)
    task = dazoo.Task.from_arrays(xs, ys, xt, yt, setting="universal")
    hidden = task.hidden()
    assert task.classes == ("a", "b", "c") and task.target.classes == ("a", "b", "c", "g", "h")
    assert sorted(set(hidden.y.tolist())) == [1, 2, 3] and sorted(set(hidden.fine.tolist())) == [1, 2, 3, 4]
    with pytest.raises(DazooError, match="regression"):
        dazoo.Task.from_arrays(xs, xs[:, 0], xt, xt[:, 0], setting="open_set")


def test_private_labels_of_the_target_are_nowhere_in_what_is_seen() -> None:
    (xs, ys), (xt, yt) = blobs("abc", 60), blobs("bcgh", 60, 1)
    swapped = np.where(yt == "g", "h", np.where(yt == "h", "g", yt))
    one, other = (dazoo.Task.from_arrays(xs, ys, xt, y, setting="universal").seen() for y in (yt, swapped))
    assert torch.equal(one.source.y, other.source.y) and torch.equal(one.target.x, other.target.x)
    assert one.few is None and one.n_classes == other.n_classes == 3


# -- unknown samples --------------------------------------------------------------------------------------------------


def test_a_closed_set_method_calls_unsure_samples_unknown(tmp_path: Path) -> None:
    (xs, ys), (xt, yt) = blobs("abc", 90), blobs("abcgh", 100, 1)
    task = dazoo.Task.from_arrays(xs, ys, xt, yt, setting="open_set")
    for method in ("coral", "source_only"):
        with pytest.warns(DazooWarning, match=r"same classes.*unknown where the entropy"):
            model = dazoo.fit(method, task)
        out = model.predict(xt)
        p = out.probs.double()
        u = -(p * p.clamp_min(1e-300).log()).sum(1) / np.log(3)
        assert torch.allclose(out.unknown.double(), u, atol=1e-5) and out.threshold == 0.5
        assert torch.equal(out.labels == 3, out.unknown > 0.5)
        assert set(out.names[(out.labels == 3).numpy()]) <= {"unknown"}
        found = dazoo.evaluate(model, task)
        assert set(found) == {"hos", "os", "os_star", "unk", "auroc_unknown", "oscr"}
        dazoo.save(model, tmp_path / "m.safetensors")
        again = dazoo.load(tmp_path / "m.safetensors").predict(xt)
        assert torch.equal(again.labels, out.labels) and again.threshold == 0.5


def test_thresholds_at_the_ends_call_none_or_all_unknown() -> None:
    out = by_entropy(dazoo.core.types.Prediction(torch.randn(20, 4)))
    for threshold, k in ((float("inf"), 0), (-float("inf"), 20)):
        assert int((dataclasses.replace(out, threshold=threshold).labels == 4).sum()) == k


# -- hidden sources ---------------------------------------------------------------------------------------------------


def reachable(value: object, depth: int = 0) -> list[torch.Tensor]:
    """All tensors that attributes of ``value`` lead to."""
    if isinstance(value, torch.Tensor):
        return [value]
    if depth > 6 or value is None or isinstance(value, (str, int, float, bool, type)):
        return []
    if isinstance(value, dict):
        return [t for v in value.values() for t in reachable(v, depth + 1)]
    if isinstance(value, (list, tuple, set, frozenset)):
        return [t for v in value for t in reachable(v, depth + 1)]
    return [t for v in vars(value).values() for t in reachable(v, depth + 1)] if hasattr(value, "__dict__") else []


@pytest.fixture
def peeping() -> type[GradientMethod]:
    """A method that notes all that it can see."""

    @dataclasses.dataclass(frozen=True, kw_only=True)
    class Peeping(GradientMethod):
        paper = METHODS.get("shot").paper
        handles = Handles(source="model")
        start = "source_only"
        uses_source = False
        stackable = False

        def refresh(self, net: object, look: Look) -> dict[str, torch.Tensor]:
            Peeping.seen = look.seen  # type: ignore[attr-defined]
            return {}

        def losses(self, net: object, b: Batch, t: object) -> dict[str, torch.Tensor]:
            Peeping.batch = b  # type: ignore[attr-defined]
            return {"x": net.head(net.body(b.xt)).square().mean()}  # type: ignore[attr-defined]

    Peeping.name = "peeping"
    return Peeping


def test_the_second_stage_reaches_no_source(peeping: type[GradientMethod]) -> None:
    task = dazoo.load_task("digits/upright->rotated", setting="source_free", source_holdout=0.2)
    seen = task.seen()
    assert seen.source is None and seen.source_val is None and len(seen.origin.target) == 0
    fit(peeping(), seen, options=QUICK)
    source = {t.data_ptr() for t in reachable(seen.origin)} | {
        task.sources[0].x.data_ptr(),
        task.sources[0].y.data_ptr(),
    }
    for part in (peeping.seen, peeping.batch):  # type: ignore[attr-defined]
        assert not {t.data_ptr() for t in reachable(part) if t.numel()} & source
    assert peeping.seen.origin is None and peeping.seen.source is None  # type: ignore[attr-defined]
    assert peeping.batch.xs.numel() == 0 and peeping.batch.ys.numel() == 0  # type: ignore[attr-defined]


def test_a_black_box_gives_probabilities_and_no_weights(peeping: type[GradientMethod]) -> None:
    peeping.handles = Handles(source="black_box")
    task = dazoo.load_task("digits/upright->rotated", setting="black_box")
    model = fit(create_method("source_only"), task.change(setting="unsupervised").seen(), options=QUICK).predictor
    result = fit(peeping(), task.seen(), options=QUICK)
    seen = peeping.seen  # type: ignore[attr-defined]
    assert torch.allclose(seen.teacher(seen.target.x), model.predict(seen.target.x).probs, atol=1e-6)
    assert not any(torch.equal(v, model.state[k]) for k, v in result.predictor.state.items() if v.numel() > 20)
    assert result.info["start"]["method"] == "source_only"


def test_twelve_pairs_of_four_domains_train_four_source_models_per_seed(monkeypatch, tmp_path: Path) -> None:
    trained: list[str] = []
    real = starts._source_model

    def counted(model, origin, *rest):
        trained.append(origin.key)
        return real(model, origin, *rest)

    monkeypatch.setattr(starts, "_source_model", counted)
    suite = tmp_path / "sf.yaml"
    names = ("upright", "rotated", "noisy", "scaled")
    pairs = ", ".join(f"{a}->{b}" for a in names for b in names if a != b)
    suite.write_text(
        "dataset: digits\nsetting: source_free\nmethods: [shot, {name: shot, as: weak, trade_off: 0.2}]\nseeds: [3]\n"
        "recipe: {name: digits, steps: 6}\nsource_holdout: 0\ncheckpoints: 1\n" + f"tasks: [{pairs}]\n"
    )
    done = run_suite(suite, out=tmp_path / "out")
    frame = dazoo.load_records(done.folder)
    assert len(frame["key"].unique()) == 12 * 2 and set(frame["status"]) == {"ok"}
    assert len(trained) == len(set(trained)) == 4


def test_source_free_is_what_the_method_does_where_the_source_is_there() -> None:
    free, open_ = (dazoo.load_task("digits/upright->noisy", setting=s) for s in ("source_free", "unsupervised"))
    one, other = (fit(create_method("shot"), t.seen(), options=QUICK).predictor for t in (free, open_))
    assert all(torch.equal(v, other.state[k]) for k, v in one.state.items())


def test_features_of_a_hidden_source_are_standardised_without_the_target() -> None:
    (xs, ys), (xt, _) = blobs("abc", 60), blobs("abc", 60, 1)
    task = dazoo.Task.from_arrays(100 * xs, ys, 100 * xt, setting="source_free")
    with pytest.warns(DazooWarning, match="zscore_source"):
        dazoo.fit("shot", task)
    with pytest.raises(DazooError, match="hides the source; take 'zscore'"), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        dazoo.fit("shot", task, transform="zscore_within")
