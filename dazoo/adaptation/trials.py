"""Fitting one candidate after the other on one encoded task, within the time that is left."""

from __future__ import annotations

import time
import warnings
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from torch import Tensor

from dazoo.adaptation.calibrated import Calibrated, temperature
from dazoo.adaptation.judge import Trial
from dazoo.adaptation.portfolio import PREPROCESSING, Choice
from dazoo.adaptation.store import Store
from dazoo.core import hparam
from dazoo.core.memo import Memo
from dazoo.core.types import Seen
from dazoo.data.samples import Schema
from dazoo.data.scales import prepared
from dazoo.data.task import Task
from dazoo.data.transform import Preprocessing
from dazoo.engine.fit import Options, fit
from dazoo.engine.model import Model, plain, versions
from dazoo.engine.recipe import Recipe
from dazoo.methods.base import GradientMethod, ShallowMethod, create_method

RECIPE = "frozen"


class OutOfTime(Exception):
    """The time is up in the middle of a fit."""


@dataclass
class View:
    """A task under a preprocessing."""

    seen: Seen
    preprocessing: Preprocessing
    memo: Memo = field(default_factory=Memo)


@dataclass
class Bench:
    """Fits candidates on a task of vectors.

    Attributes:
        task: encoded. w: weights (m,) of its held-out source rows. store: of what is finished. deadline: on ``clock``.
        alike: whether the numbers have one unit by themselves, so that ``none`` leaves them (``Fitted.alike``).
        models: of finished candidates by their stems, as long as there is no folder to read them from.
    """

    task: Task
    w: Tensor
    store: Store
    seed: int
    deadline: float
    clock: Callable[[], float] = time.monotonic
    alike: bool = False
    views: dict[str, View] = field(default_factory=dict)
    models: dict[str, Model] = field(default_factory=dict)

    def view(self, name: str) -> View:
        """The task under a preprocessing, computed once."""
        if name not in self.views:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                asked = PREPROCESSING[name]
                done, fitted, _ = prepared(self.task, None if self.alike and asked == "auto" else asked)
            self.views[name] = View(done.seen(), fitted)
        return self.views[name]

    def known(self, choice: Choice) -> Trial | None:
        """The trial of a candidate that was finished before; None where it was not."""
        found = self.store.read(choice.stem)
        return None if found is None else self._trial(choice, *found)

    def run(self, choice: Choice, hurry: bool = True) -> Trial:
        """Fit and score a candidate; what it cannot do is the problem of its trial.

        Raises:
            OutOfTime: where ``hurry``, and the deadline passes during training.
        """
        began = self.clock()
        model: Model | None = None
        record: dict[str, Any] = {}
        try:
            model = self._fit(choice, hurry)
            record = {k: model.report[k] for k in ("findings", "warnings")}
        except OutOfTime:
            raise
        except Exception as error:  # whatever a candidate cannot do, the others are not lost by it
            first = (str(error).splitlines() or [""])[0][:300]
            model, record = None, {"problem": f"{type(error).__name__}: {first}"}
        record["seconds"] = round(self.clock() - began, 3)
        self.store.write(choice.stem, model, record)
        return self._trial(choice, model, record)

    def _trial(self, choice: Choice, model: Model | None, record: dict[str, Any]) -> Trial:
        probs = held = None
        if model is not None:
            self.models[choice.stem] = model
            seen = self.view(choice.preprocessing).seen
            probs = model.inner.predict(seen.target.x).probs.detach().double().cpu()
            if seen.source_val is not None:
                held = model.inner.predict_source(seen.source_val.x).probs.detach().double().cpu()
        return Trial(
            choice.name,
            choice.method,
            choice.preprocessing,
            float(record.get("seconds", 0.0)),
            record.get("problem", ""),
            probs,
            held,
            tuple(record.get("findings", ())),
            tuple(record.get("warnings", ())),
        )

    def _fit(self, choice: Choice, hurry: bool) -> Model:
        method, view = create_method(choice.method), self.view(choice.preprocessing)
        trained = isinstance(method, GradientMethod) and not isinstance(method, ShallowMethod)
        options = Options(recipe=Recipe.named(RECIPE) if trained else None)

        def tick(_: int) -> None:
            if hurry and self.clock() > self.deadline:
                raise OutOfTime

        result = fit(method, view.seen, seed=self.seed, options=options, memo=view.memo, progress=tick)
        inner, held = result.predictor, view.seen.source_val
        if held is not None:
            scores = inner.predict_source(held.x).scores.detach().double().cpu()
            inner = Calibrated(inner, temperature(scores, held.y.cpu(), self.w))
        x = self.task.target.x
        settings = {
            "method": choice.method,
            "hparams": hparam.values(method),
            "seed": self.seed,
            "setting": self.task.setting.value,
            "recipe": options.recipe.to_json() if options.recipe is not None else None,
            "classifier": None if trained else "logistic",
            "backbone": "none",
            "transform": list(view.preprocessing.names),
            "task": self.task.name,
        }
        report = {
            "settings": settings,
            "warnings": result.warnings,
            "findings": result.info.get("findings", []),
            "info": {k: v for k, v in result.info.items() if k != "findings"},
            "versions": versions(),
        }
        schema = self.task.target.schema or Schema("vector", tuple(x.shape[1:]))
        return Model(inner, schema, self.task.classes, view.preprocessing, report=plain(report))
