"""The page ``docs/sklearn.md``: its blocks run, and its table of skada's estimators holds (same predictions)."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import sklearn
from scipy.spatial.distance import cdist, pdist
from sklearn.linear_model import LogisticRegression

import dazoo.sklearn
from dazoo.sklearn import DAClassifier

PAGE = (Path(__file__).parent.parent / "docs" / "sklearn.md").read_text(encoding="utf-8")
NAMES = np.array(["a", "b", "c"])


@pytest.fixture(autouse=True)
def _config() -> Iterator[None]:
    """skada and the page switch routing on; it is off again afterwards."""
    before = sklearn.get_config()
    yield
    sklearn.set_config(**before)


def run(language: str, names: dict[str, Any], limit: int | None = None) -> dict[str, Any]:
    found = re.findall(rf"^```{language}\n(.*?)^```", PAGE, re.S | re.M)
    for i, block in enumerate(found[:limit]):
        exec(compile(block, f"docs/sklearn.md, {language} block {i}", "exec", dont_inherit=True), names)
    return names


def test_the_page_runs() -> None:
    names = run("python", {})
    assert {"search", "pipe", "model"} <= names.keys() and names["search"].best_score_ > 0.5
    for name in re.findall(r'scorer\("(\w+)"\)', PAGE):
        assert name in dazoo.sklearn.scorers()
    assert set(re.findall(r'`"(\w+)"`', PAGE)) <= {*dazoo.list_methods(), *dazoo.sklearn.scorers(), "zscore_within"}


@pytest.fixture(scope="module")
def both() -> Iterator[Any]:
    """Of the whole module, so that its config is put back by itself: ``_config`` looks at it later."""
    before = sklearn.get_config()
    pytest.importorskip("skada", reason="skada is not on this machine")
    names = run("python", {}, limit=1)
    yield names
    sklearn.set_config(**before)


def logistic() -> LogisticRegression:
    return LogisticRegression(max_iter=1000, tol=1e-8)


class MeanOne(LogisticRegression):  # type: ignore[misc]
    """With weights of mean 1, as dazoo scales them."""

    def fit(self, X: Any, y: Any, sample_weight: Any = None) -> Any:
        scaled = None if sample_weight is None else sample_weight * (len(X) / sample_weight.sum())
        return super().fit(X, y, sample_weight=scaled)


def pairs(xs: np.ndarray, xt: np.ndarray) -> dict[str, tuple[Any, str, dict[str, Any]]]:
    """Rows of the page by what they begin with: skada's estimator, dazoo's method and its hyper-parameters."""
    import skada

    top, n, base = cdist(xs, xt, "sqeuclidean").max(), len(xt), logistic()
    gamma = 1 / (2 * np.median(pdist(np.concatenate([xs, xt]))) ** 2)
    weighted = MeanOne(max_iter=1000, tol=1e-8).set_fit_request(sample_weight=True)
    classes = {"reg": 2 / top, "class_weight": 0.3 * n**0.5 / top, "epsilon": n / 1000, "rounds": 10}
    return {
        "make_da_pipeline": (skada.make_da_pipeline(base), "source_only", {}),
        "CORAL": (skada.CORAL(base, reg=None), "coral", {"reg": 1e-9}),
        "SubspaceAlignment": (skada.SubspaceAlignment(base, n_components=2), "sa", {"dim": 2}),
        "OTMapping": (skada.OTMapping(base), "ot_emd", {}),
        "EntropicOTMapping(base, reg_e=0.1, norm": (
            skada.EntropicOTMapping(base, reg_e=0.1, norm="max"), "ot_sinkhorn", {"reg": 0.1},
        ),
        "EntropicOTMapping(base, reg_e=r": (skada.EntropicOTMapping(base, reg_e=2.0), "ot_sinkhorn", {"reg": 2 / top}),
        "ClassRegularizerOTMapping": (
            skada.ClassRegularizerOTMapping(base, reg_e=2.0, reg_cl=0.3, max_inner_iter=1000), "ot_class_reg", classes,
        ),
        "LinearOTMapping": (skada.LinearOTMapping(base, reg=1e-8), "ot_linear", {"reg": 1e-8}),
        "KMMReweight": (skada.KMMReweight(weighted, gamma=gamma, max_iter=20_000, tol=1e-9), "kmm", {}),
        "GaussianReweight": (skada.GaussianReweight(weighted, reg=None), "gaussian_ratio", {"reg": 1e-9}),
        "MMDTarSReweight": (skada.MMDTarSReweight(weighted, gamma=gamma), "mmd_target_shift", {}),
    }  # fmt: skip


ROWS = re.findall(r"^\| `(\w+\(.*?)` \| `\"(\w+)\"`.* \| ([\d.e-]+) \|$", PAGE, re.M)


def test_the_table_names_what_is_compared() -> None:
    assert len(ROWS) == 11 and all(float(within) <= 0.03 for _, _, within in ROWS)


@pytest.mark.parametrize(("row", "method", "within"), ROWS, ids=[f"{r.split('(')[0]}-{m}" for r, m, _ in ROWS])
def test_predictions_are_those_of_skada(both: Any, row: str, method: str, within: str) -> None:
    x, domain, xt = both["X"], both["domain"], both["x_target"]
    scale = x[domain > 0].std(0)
    x, xt = x / scale, xt / scale
    theirs, name, hparams = next(v for k, v in pairs(x[domain > 0], xt).items() if row.startswith(k))
    assert name == method
    with sklearn.config_context(enable_metadata_routing=True):
        theirs.fit(x, np.where(domain > 0, np.searchsorted(NAMES, both["y"]), -1), sample_domain=domain)
        probs = theirs.predict_proba(xt)
    ours = DAClassifier(name, hparams=hparams, preprocessing=None, classifier=logistic())
    ours.fit(x, both["y"], sample_domain=domain)
    assert list(NAMES[probs.argmax(1)]) == list(ours.predict(xt))
    assert np.abs(probs - ours.predict_proba(xt)).max() <= float(within)


def test_a_whole_pipeline_moves(both: Any) -> None:
    run("py", run("python", dict(both), limit=3))
