"""What methods start from: a fitted model of the same data, or one of the source alone where the setting hides it."""

from __future__ import annotations

import copy
import dataclasses
from collections.abc import Callable, Sequence
from typing import Any

from torch import Tensor

from dazoo.core.memo import Domains, Memo
from dazoo.core.setting import UNSUPERVISED
from dazoo.core.types import Predictor, Seen
from dazoo.engine.by_source import parts_of_sources
from dazoo.engine.outcome import FitResult, Options
from dazoo.methods.base import Method, create_method

Fit = Callable[..., FitResult]


def starting(
    method: Method, seen: Seen, seed: int, options: Options, memo: Memo, fit: Fit, models: Sequence[FitResult] = ()
) -> tuple[FitResult | None, Seen]:
    """The fitted model a method starts from, and what the method may see then; of several ``models`` the first.

    Where the setting hides the source, the model is trained on ``seen.origin`` alone, once for all targets and methods,
    and the origin is taken out of what the method sees; of a black box, nothing but its probabilities remains.
    """
    if method.start is None:
        return None, dataclasses.replace(seen, origin=None)
    if models:
        return models[0], dataclasses.replace(seen, origin=None)
    recipe = options.recipe
    key = ("start", method.start, seed, recipe.hash if recipe else None, options.backbone, options.image_size,
           options.pretrained, options.device, repr(options.classifier))  # fmt: skip
    model = create_method(method.start)
    if seen.origin is None:
        setting = seen.setting if not model.handles.problem(seen.setting, baseline=True) else UNSUPERVISED
        same = setting == seen.setting
        plain = dataclasses.replace(
            seen, few=seen.few if same else None, ask=seen.ask if same else None, setting=setting
        )
        start = memo(key, lambda: fit(model, plain, seed=seed, options=options, memo=memo))
    else:
        origin = seen.origin
        start = memo.domains.named(
            (*key, origin.key), lambda: _source_model(model, origin, seed, options, memo.domains, fit)
        )
    teacher = probabilities(start.predictor) if method.handles.asks_only else None
    return start, dataclasses.replace(seen, origin=None, teacher=teacher)


def starting_each(method: Method, seen: Seen, seed: int, options: Options, memo: Memo, fit: Fit) -> list[FitResult]:
    """The fitted models of all sources, for methods that join them."""
    parts = enumerate(parts_of_sources(seen))
    found = (starting(method, p, seed, options, memo(("source", i), lambda: Memo(memo.domains)), fit) for i, p in parts)
    return [start for start, _ in found if start is not None]


def _source_model(model: Method, origin: Seen, seed: int, options: Options, domains: Domains, fit: Fit) -> FitResult:
    """Stage 1: a model of the source, with what is to be told of it in the records of those that start from it."""
    made = fit(model, origin, seed=seed, options=options, memo=Memo(domains))
    part = origin.source_val or origin.source
    about: dict[str, Any] = {"method": model.name, "source": origin.key[:16]}
    if part is not None and not origin.regression:
        right = (made.predictor.predict_source(part.x).scores.argmax(1).cpu() == part.y).double().mean()
        about |= {"accuracy_on_source": float(right), "rows": "held out" if origin.source_val else "trained on"}
    return dataclasses.replace(made, info={**made.info, "start": about})


def probabilities(predictor: Predictor) -> Callable[[Tensor], Tensor]:
    """A copy of a model as the function from samples (m, ...) to class probabilities (m, K), and nothing else."""
    twin = copy.deepcopy(predictor)
    return lambda x: twin.predict(x).probs


def about_start(start: FitResult | None) -> dict[str, Any]:
    """What the records of a method say of the source model it started from."""
    return {} if start is None or "start" not in start.info else {"start": start.info["start"]}
