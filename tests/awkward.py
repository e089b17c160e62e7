"""Every method on every awkward input: ``python -m tests.awkward [PATTERN] [--classifier NAME]``.

Prints what ends in another error than ``DazooError`` or in scores that are not finite, and what takes longer than five
seconds of processor time; the exit status is 1 where there is any of the former. ``make test`` tries a part of it.
"""

from __future__ import annotations

import sys
import time

from dazoo.contracts import ContractFailure
from dazoo.contracts.awkward import awkward_inputs, awkward_task
from dazoo.contracts.behaviour import check_awkward_input
from dazoo.contracts.toys import is_gradient, setting_of
from dazoo.core.errors import DazooError
from dazoo.core.hparam import configure
from dazoo.engine.fit import Options, fit
from dazoo.methods.base import METHODS
from dazoo.ops.linalg.blas import all_finite
from dazoo.shallow.classifiers import FOR_CLASSES, FOR_VALUES, classifier

SLOW = 5.0


def crossing(pattern: str = "*") -> list[tuple[str, str, bool]]:
    """(method, input, whether of values) in a fixed order."""
    return [
        (name, label, regression)
        for name in METHODS.names(pattern)
        for regression in (False, True)
        if ("values" if regression else "classes") in METHODS.get(name).targets
        for label in awkward_inputs()
    ]


def check_with(name: str, label: str, regression: bool, finish: str) -> None:
    """A shallow method with another classifier than the default one."""
    cls = METHODS.get(name)
    if is_gradient(cls) or finish not in (FOR_VALUES if regression else FOR_CLASSES):
        return
    try:
        task = awkward_task(awkward_inputs()[label](), setting_of(cls), regression)
        model = fit(configure(cls, {}), task.seen(), options=Options(classifier=classifier(finish))).predictor
        scores = model.predict(task.target.x).scores
    except DazooError:
        return
    if not all_finite(scores):
        raise ContractFailure(f"scores on {label} are not finite")


def main(pattern: str = "*", finish: str | None = None) -> int:
    """Run the crossing and print what is wrong."""
    bad, began = 0, time.process_time()
    todo = crossing(pattern)
    for name, label, regression in todo:
        start = time.process_time()
        try:
            if finish is None:
                check_awkward_input(METHODS.get(name), label, regression)
            else:
                check_with(name, label, regression, finish)
        except Exception as error:
            bad += 1
            print(f"{name}{' (values)' if regression else ''}: {label}: {type(error).__name__}: {error}", flush=True)
        if (seconds := time.process_time() - start) > SLOW:
            print(f"{name}{' (values)' if regression else ''}: {label}: {seconds:.0f} s", flush=True)
    print(f"{len(todo)} fits, {bad} failures, {time.process_time() - began:.0f} s")
    return int(bad > 0)


if __name__ == "__main__":
    words = sys.argv[1:]
    chosen = words.pop(words.index("--classifier") + 1) if "--classifier" in words else None
    rest = [w for w in words if not w.startswith("--")]
    sys.exit(main(*rest[:1], finish=chosen))
