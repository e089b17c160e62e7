"""What methods of 2020 to 2024 do on fixed features where they gain nothing: ``python -m benchmarks.frontier_why``.

Watched runs on six pairs of Office-Caltech10 in which every domain is source and target, one seed, the last model of
each run, and the same with one part left out. ``results/frontier/why.json`` holds every figure; the page of
``python -m benchmarks.frontier`` says them where a method does nothing. Target labels are used: this explains results
and chooses nothing.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from statistics import fmean
from typing import Any
from unittest.mock import patch

import torch
from torch import Tensor

from benchmarks.causes import DOMAINS
from dazoo.core.files import write_text
from dazoo.core.memo import Memo
from dazoo.data.registry import data_root, load_domain
from dazoo.data.task import Task
from dazoo.engine.fit import Options, fit
from dazoo.engine.recipe import Recipe
from dazoo.methods.adversarial.dann import DANN
from dazoo.methods.adversarial.gh import GH
from dazoo.methods.adversarial.implicit_alignment import ImplicitAlignment
from dazoo.methods.base import Batch, create_method
from dazoo.methods.baseline.erm_plus import ERMPlus
from dazoo.methods.deep_transport import m_pot
from dazoo.nets.frozen import frozen

OUT = Path("results/frontier/why.json")
PAIRS = ("amazon->webcam", "amazon->caltech10", "amazon->dslr", "webcam->caltech10", "caltech10->dslr", "dslr->amazon")
Figures = dict[str, float]


@dataclass
class Runs:
    """Runs on some tasks, each once."""

    tasks: Sequence[Task]
    recipe: Recipe
    done: dict[str, list[Tensor]] = field(default_factory=dict)
    now: int = 0
    """Position of the task that a run is on."""

    def __post_init__(self) -> None:
        self.memos = [Memo() for _ in self.tasks]
        self.truth = [t.hidden().y for t in self.tasks]

    def labels(self, name: str, **hparams: Any) -> list[Tensor]:
        """Labels that a method gives the target of every task."""
        key = f"{name} {hparams}"
        if key not in self.done:
            found = []
            for i, task in enumerate(self.tasks):
                self.now = i
                method, options = create_method(name, **hparams), Options(recipe=self.recipe)
                model = fit(method, task.seen(), seed=0, options=options, memo=self.memos[i]).predictor
                found.append(model.predict(task.hidden().x).labels)
            self.done[key] = found
            print(key, f"{self.accuracy(name, **hparams):.2f}", file=sys.stderr, flush=True)
        return self.done[key]

    def accuracy(self, name: str, **hparams: Any) -> float:
        """Mean over tasks in percent."""
        return percent([(a == b).double().mean() for a, b in zip(self.labels(name, **hparams), self.truth)])

    def agreement(self, one: str, other: str) -> float:
        """Share of the target that two methods label alike, in percent."""
        return percent([(a == b).double().mean() for a, b in zip(self.labels(one), self.labels(other))])


def percent(shares: Sequence[Any]) -> float:
    return 100 * fmean(map(float, shares))


@contextmanager
def watched(owner: Any, name: str, note: Callable[..., None], before: bool = False) -> Iterator[None]:
    """Calls of ``owner.name`` are told: their result and arguments, or with ``before`` the arguments alone."""
    original = getattr(owner, name)

    def call(*given: Any, **named: Any) -> Any:
        if before:
            note(*given)
        found = original(*given, **named)
        if not before:
            note(found, *given)
        return found

    with patch.object(owner, name, call):
        yield


# -- figures ------------------------------------------------------------------------------------------------------


def gradients(runs: Runs, name: str) -> Figures:
    """How often classification and alignment oppose each other in the body, and what is changed then."""
    opposed, cosines, changed = [], [], []

    def note(out: list[Tensor | None], method: GH, grads: dict[str, Sequence[Tensor | None]], names: list[str]) -> None:
        body = [i for i, n in enumerate(names) if n.startswith("body.")]

        def joined(parts: Sequence[Tensor | None]) -> Tensor:
            return torch.cat([torch.zeros(1), *(p.flatten() for i in body if (p := parts[i]) is not None)])

        if len(grads) < 2:
            return
        one, *more = (joined(g) for n, g in sorted(grads.items(), key=lambda item: item[0] != "cls"))
        two = torch.stack(more).sum(0)
        opposed.append(bool(one @ two < 0))
        cosines.append(float(torch.cosine_similarity(one, two, 0)))
        changed.append(float((joined(out) - one - two).norm() / (one + two).norm().clamp_min(1e-12)))

    with watched(GH, "combine", note):
        accuracy = runs.accuracy(name)
    return {
        "accuracy": accuracy, "opposed": percent(opposed), "cosine": fmean(cosines), "changed": percent(changed),
        "changed_where_opposed": percent([c for c, o in zip(changed, opposed) if o] or [0.0]),
    }  # fmt: skip


def averages(runs: Runs) -> Figures:
    """How far averaged weights are from the last ones, against the way from the start, and what each part does."""
    starts: list[Tensor] = []
    apart, differ = [], []

    def weights(net: Any) -> Tensor:
        return torch.cat([p.detach().flatten() for part in (net.body, net.head) for p in part.parameters()])

    def begun(method: ERMPlus, net: Any) -> None:
        starts.append(weights(net).clone())

    def ending(method: ERMPlus, net: Any, look: Any) -> None:
        last = weights(net)
        apart.append(float((weights(net.average) - last).norm() / (last - starts[-1]).norm()))
        pairs = [(net.head(net.body(x)).argmax(1), net.average(x)[0].argmax(1)) for x in look.inputs("target")]
        differ.append(float(torch.cat([a != b for a, b in pairs]).double().mean()))

    with watched(ERMPlus, "setup", begun, before=True), watched(ERMPlus, "finish", ending, before=True):
        whole = runs.accuracy("erm_plus")
    return {
        "accuracy": whole, "apart": percent(apart), "differ": percent(differ),
        "without_average": runs.accuracy("erm_plus", decay=0.0),
        "without_views": runs.accuracy("erm_plus", trade_off=0.0),
        "without_smoothing": runs.accuracy("erm_plus", smoothing=0.0),
    }  # fmt: skip


def common(ys: Tensor, yt: Tensor) -> float:
    """Share of two batches that could be paired within classes: ``sum_c min(n_s,c, n_t,c) / b``."""
    counts = [torch.bincount(y, minlength=int(max(ys.max(), yt.max())) + 1) for y in (ys, yt)]
    return float(torch.minimum(*counts).sum() / len(ys))


def plans(runs: Runs, mass: float | None = None) -> Figures:
    """How much of the moved mass goes to another class, by the target's hidden labels."""
    batch: list[tuple[Tensor, Tensor]] = []
    other, shared = [], []

    def drawn(method: Any, net: Any, b: Batch, t: Any) -> None:
        batch[:] = [(b.ys, runs.truth[runs.now][b.t_rows])]
        shared.append(common(*batch[0]))

    def moved(plan: Tensor, *_: Any) -> None:
        ys, yt = batch[0]
        other.append(float(plan[ys[:, None] != yt[None]].sum() / plan.sum()))

    given = {} if mass is None else {"mass": mass}
    with watched(m_pot.MPOT, "losses", drawn, before=True), watched(m_pot, "partial_plan", moved):
        accuracy = runs.accuracy("m_pot", **given)
    used = create_method("m_pot", **given).mass  # type: ignore[attr-defined]
    return {"accuracy": accuracy, "mass": 100 * used, "other_class": percent(other), "in_common": percent(shared)}


def batches(runs: Runs) -> Figures:
    """How much of aligned and of random batches agrees in its classes, by the target's hidden labels."""
    shared: list[float] = []
    random: list[float] = []

    def drawn(method: Any, net: Any, b: Batch, t: Any) -> None:
        kept = random if isinstance(method, DANN) else shared
        kept.append(common(b.ys, runs.truth[runs.now][b.t_rows]))

    with watched(ImplicitAlignment, "losses", drawn, before=True), watched(DANN, "losses", drawn, before=True):
        accuracy = runs.accuracy("implicit_alignment")
        runs.done.pop("dann {}", None)
        runs.accuracy("dann")
    return {"accuracy": accuracy, "in_common": percent(shared), "random": percent(random)}


def without(runs: Runs, name: str, parts: dict[str, dict[str, float]]) -> Figures:
    """Accuracy as it is, and with other values of hyper-parameters."""
    return {"accuracy": runs.accuracy(name), **{part: runs.accuracy(name, **values) for part, values in parts.items()}}


def figures(runs: Runs, only: Sequence[str] = ()) -> dict[str, Figures]:
    """All of them by method, or those of batches and plans alone."""
    if only:
        made = {"m_pot": lambda: plans(runs), "m_pot less": lambda: plans(runs, 0.5)}
        made["implicit_alignment"] = lambda: batches(runs)
        return {name: made[name]() for name in only}
    found = {n: {"accuracy": runs.accuracy(n)} for n in ("source_only", "dann", "mcc")}
    found |= {"gh": gradients(runs, "gh"), "dann+gh": gradients(runs, "dann+gh"), "erm_plus": averages(runs)}
    found |= {"m_pot": plans(runs), "m_pot less": plans(runs, 0.5), "implicit_alignment": batches(runs)}
    parts = {"without_contrast": {"contrast_weight": 0.0}, "without_consensus": {"consensus_weight": 0.0}}
    both = {"contrast_weight": 0.0, "consensus_weight": 0.0}
    found["covi"] = without(runs, "covi", {**parts, "vicinal_alone": both})
    found["mic"] = without(runs, "mic", {"nothing_hidden": {"ratio": 0.0}})
    found["mcc+mic"] = without(runs, "mcc+mic", {"nothing_hidden": {"mic.ratio": 0.0}})
    for joined, base in (("mcc+mic", "mcc"), ("mcc+implicit_alignment", "mcc"), ("dann+gh", "dann")):
        found.setdefault(joined, {"accuracy": runs.accuracy(joined)})["alike"] = runs.agreement(joined, base)
    return found


def main(arguments: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.frontier_why", description=(__doc__ or "").split("\n")[0]
    )
    parser.add_argument("--out", type=Path, default=OUT)
    parser.add_argument("--only", nargs="+", default=[], help="m_pot, 'm_pot less', implicit_alignment; others stay")
    options = parser.parse_args(arguments)
    torch.set_num_threads(1)
    loaded = {d: load_domain("office_caltech10", d, data_root(), features="images") for d in DOMAINS}
    domains = {n: frozen(d, "tf_efficientnet_lite0") for n, d in loaded.items()}
    pairs = [tuple(p.split("->")) for p in PAIRS]
    tasks = [Task(f"{s}->{t}", (domains[s],), domains[t], source_holdout=0.2) for s, t in pairs]
    made = figures(Runs(tasks, Recipe.named("frozen")), options.only)
    found = json.loads(options.out.read_text(encoding="utf-8"))["figures"] if options.only else {}
    found |= {n: {k: round(v, 3) for k, v in f.items()} for n, f in made.items()}
    write_text(options.out, json.dumps({"pairs": PAIRS, "figures": found}, indent=1) + "\n")
    print(f"wrote {options.out}")


if __name__ == "__main__":
    main()
