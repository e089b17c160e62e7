"""Networks and estimators of one's own travel in model files where they can be named, else a sentence says why not; a
file runs no code that nobody trusted."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from sklearn.linear_model import LogisticRegression
from sklearn.naive_bayes import GaussianNB
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import FunctionTransformer, StandardScaler
from torch import nn

import dazoo
from dazoo import DazooError, Task
from dazoo.core.portable import _decode, load
from dazoo.nets.saved import SavedModule, found
from tests.toys import TINY

OWN = """
import torch.nn.functional as F
from torch import nn
import torch
from sklearn.base import BaseEstimator, ClassifierMixin
import numpy as np


class Body(nn.Module):
    def __init__(self, width, activation):
        super().__init__()
        self.first = nn.Linear(5, width)
        self.norm = nn.BatchNorm1d(width)
        self.act = activation
        self.sizes = (width, [1, 2])
        self.register_buffer("shift", torch.full((width,), 0.5), persistent=False)
        self.more = nn.Sequential(self.first, nn.Tanh())
        self.head = nn.Linear(width, width)
        self.head.weight = self.head.weight

    def forward(self, x):
        return self.head(self.act(self.norm(self.more(x)) + self.shift)) * self.sizes[1][1]


class Mean(ClassifierMixin, BaseEstimator):
    def fit(self, x, y):
        self.classes_ = np.unique(y)
        self.means_ = np.stack([x[y == c].mean(0) for c in self.classes_])
        return self

    def predict(self, x):
        return self.classes_[((x[:, None] - self.means_) ** 2).sum(2).argmin(1)]


def doubled(x):
    return 2 * x
"""


@pytest.fixture
def task() -> Task:
    rng = np.random.default_rng(0)
    y = np.arange(30) % 2
    x = (rng.normal(size=(30, 5)) + y[:, None]).astype(np.float32)
    return Task.from_arrays(x, y, x[:12] + 0.1)


@pytest.fixture
def mynets(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    (tmp_path / "mynets.py").write_text(OWN)
    monkeypatch.syspath_prepend(str(tmp_path))
    import mynets

    yield mynets
    sys.modules.pop("mynets", None)


ELSEWHERE = """
import sys, json, numpy as np, dazoo
for path in sys.argv[2:]:
    try:
        dazoo.load(path)
    except dazoo.DazooError as error:
        print(error, file=sys.stderr)
    model = dazoo.load(path, trust=["mynets"])
    print(json.dumps(model.predict(np.load(sys.argv[1])).scores.tolist()))
"""


def test_another_process_predicts_the_same(task: Task, mynets: Any, tmp_path: Path) -> None:
    """A network with a function, a buffer that no state holds and a part that is there twice; an estimator."""
    models = [
        dazoo.fit("dann", task, backbone=mynets.Body(6, F.relu), recipe=TINY),
        dazoo.fit("coral", task, classifier=make_pipeline(StandardScaler(), mynets.Mean())),
    ]
    x = task.target.x.numpy()
    np.save(tmp_path / "x.npy", x)
    paths = [str(tmp_path / f"{i}.safetensors") for i in range(2)]
    for model, path in zip(models, paths):
        dazoo.save(model, path)
    at = os.pathsep.join([str(tmp_path), *filter(None, [os.environ.get("PYTHONPATH"), str(Path(__file__).parents[1])])])
    done = subprocess.run(
        [sys.executable, "-c", ELSEWHERE, str(tmp_path / "x.npy"), *paths],
        capture_output=True, text=True, env={**os.environ, "PYTHONPATH": at}, check=True,
    )  # fmt: skip
    for line, model in zip(done.stdout.splitlines(), models):
        assert json.loads(line) == model.predict(x).scores.tolist()
    first, second = (line for line in done.stderr.splitlines() if "trust" in line)
    assert "the model needs mynets:Body; import mynets before loading" in first and "trust=['mynets" in second


def test_layers_of_torch_need_no_trust(task: Task, tmp_path: Path) -> None:
    net = nn.Sequential(
        nn.Linear(5, 8), nn.ReLU(), nn.LayerNorm(8), nn.TransformerEncoderLayer(8, 2, 8, batch_first=True)
    )
    for own in (
        {"method": "dann", "backbone": net, "recipe": TINY},
        {"method": "coral", "classifier": make_pipeline(StandardScaler(), LogisticRegression())},
        {"method": "source_only", "classifier": GaussianNB()},
    ):
        how: dict[str, Any] = dict(own)
        model = dazoo.fit(how.pop("method"), task, **how)
        dazoo.save(model, tmp_path / "m")
        assert torch.equal(load(tmp_path / "m").predict(task.target.x).scores, model.predict(task.target.x).scores)
        assert "backbone" not in own or model.report.settings["backbone"] == "Sequential"


def test_what_no_file_can_name_says_so(
    task: Task, mynets: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Inside(nn.Linear):
        pass

    hooked = nn.Linear(5, 3)
    hooked.register_forward_hook(lambda *_: None)
    odd = mynets.Body(4, F.relu)
    odd.sizes = (4, [1, 2])
    odd.note = {1, 2}
    scripted = mynets.Body(4, F.relu)
    monkeypatch.setattr(type(scripted), "__module__", "__main__")
    refused = [
        (Inside(5, 3), "Inside, which was made inside a function"),
        (nn.Sequential(nn.Linear(5, 4), Inside(4, 3)), "1 is Inside"),
        (hooked, "has hooks"),
        (torch.jit.trace(nn.Linear(5, 3), torch.zeros(1, 5)), "compiled code"),
    ]
    for module, why in refused:
        with pytest.raises(DazooError, match=why):
            SavedModule.of(module)
    with pytest.raises(DazooError, match="Body of a script or notebook"):
        SavedModule.of(scripted)
    monkeypatch.undo()
    monkeypatch.syspath_prepend(str(tmp_path))
    for module, why in ((odd, "note is a set"), (mynets.Body(4, lambda x: x), "act is a lambda")):
        with pytest.raises(DazooError, match=why):
            SavedModule.of(module)
    model = dazoo.fit("dann", task, backbone=Inside(5, 3), recipe=TINY)
    with pytest.raises(DazooError, match=r"inside a function.*joblib\.dump"):
        dazoo.save(model, tmp_path / "m")
    estimator = make_pipeline(FunctionTransformer(lambda x: x), GaussianNB())
    with pytest.raises(DazooError, match=r"own Pipeline.*joblib\.dump"):
        dazoo.save(dazoo.fit("coral", task, classifier=estimator), tmp_path / "m")
    monkeypatch.setitem(sys.modules, "skops.io", None)
    with pytest.raises(DazooError, match=r"skops.*joblib\.dump"):
        dazoo.save(dazoo.fit("coral", task, classifier=GaussianNB()), tmp_path / "m")
    assert not (tmp_path / "m").exists()


def test_a_file_cannot_name_code_that_nobody_trusts(mynets: Any) -> None:
    """Functions of imported modules, classes that are no layers, modules that nobody imported."""
    tree = SavedModule.of(mynets.Body(4, F.relu)).tree
    assert isinstance(SavedModule(tree).module, mynets.Body)
    for name, sentence in (("os:system", "may be any code"), ("mynets:doubled", "may be any code"),
                           ("torch.hub:load", "may be any code"), ("torch:load", "may be any code"),
                           ("antigravity:fly", "import antigravity before")):  # fmt: skip
        evil = {**tree, "plain": {**tree["plain"], "act": {"named": name}}}
        with pytest.raises(DazooError, match=sentence):
            SavedModule(evil).unpacked(())
    assert "antigravity" not in sys.modules
    trusted = SavedModule({**tree, "plain": {**tree["plain"], "act": {"named": "mynets:doubled"}}}).unpacked(["mynets"])
    assert trusted.module.act is mynets.doubled
    with pytest.raises(DazooError, match="is no torch"):
        SavedModule({**tree, "class": "mynets:Mean"}).unpacked(())
    for path, sentence in (
        ("mynets:None_such", "does not have"),
        ("nowhere_at_all:X", "importing nowhere_at_all fails"),
    ):
        with pytest.raises(DazooError, match=sentence):
            found(path, ["nowhere_at_all"])
    with pytest.raises(DazooError, match="import that package"):
        _decode({"class": "antigravity:Predictor", "fields": {}}, {}, ())
    with pytest.raises(DazooError, match="a list of names"):
        load(__file__, trust="mynets")  # type: ignore[arg-type]
