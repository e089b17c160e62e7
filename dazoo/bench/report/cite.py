"""What a paper that uses a result folder should say and cite."""

from __future__ import annotations

import re
from typing import Any

from dazoo.bench.plan.suite import LAST, ORACLE_RULE
from dazoo.bench.report.latex import escape
from dazoo.bench.report.model import Report
from dazoo.core.bibtex import bibtex_entry
from dazoo.core.paper import Paper
from dazoo.data.names import dataset_of


def entry_key(name: str, paper: Paper) -> str:
    """``dazoo:`` and the method's name and the paper's year, in characters BibTeX takes."""
    return f"dazoo:{re.sub(r'[^A-Za-z0-9_+-]', '', name)}{paper.year}"


def bibtex(papers: dict[str, Paper]) -> str:
    """One entry per paper; methods of the same paper share the entry of the first."""
    single = _single(papers)
    found: dict[str, Paper] = {}
    for name, key in keys(single).items():
        found.setdefault(key, single[name])
    return "\n\n".join(bibtex_entry(paper, key) for key, paper in found.items()) + "\n"


def keys(papers: dict[str, Paper]) -> dict[str, str]:
    """The BibTeX key of every method; a combination has those of its methods, as ``\\cite`` takes them."""
    first: dict[tuple[str, int], str] = {}
    own = {n: first.setdefault((p.title, p.year), entry_key(n, p)) for n, p in _single(papers).items()}
    return {n: ",".join(own[part] for part, _ in p.parts) if p.parts else own[n] for n, p in papers.items()}


def _single(papers: dict[str, Paper]) -> dict[str, Paper]:
    """Papers by method, with the methods of a combination in its place."""
    return dict(pair for name, paper in papers.items() for pair in (paper.parts or ((name, paper),)))


def papers_of(made: Report) -> tuple[dict[str, Paper], list[str]]:
    """Papers by method of all runs of a report, and the methods this installation does not know."""
    from dazoo.methods.base import METHODS

    papers, unknown = {}, []
    for name in sorted({r.method for r in made.runs.runs}):
        if name in METHODS:
            papers[name] = METHODS.get(name).paper
        else:
            unknown.append(name)
    return papers, unknown


def data_of(made: Report) -> dict[str, Paper]:
    """Papers of the datasets of all tasks, by ``dataset`` or, where there are several, ``dataset-2`` and so on."""
    from dazoo.data.registry import DATASETS

    found: dict[str, Paper] = {}
    for name in sorted(set(made.sets.values())):
        papers = DATASETS.get(name).papers if name in DATASETS else ()
        found |= {name if i == 0 else f"{name}-{i + 1}": paper for i, paper in enumerate(papers)}
    return found


def software() -> str:
    """The entry of dazoo itself."""
    from dazoo import __version__

    return (
        "@misc{dazoo,\n  title = {{dazoo: a zoo of transfer-learning and domain-adaptation methods}},\n"
        f"  author = {{{{The dazoo developers}}}},\n  note = {{Version {__version__}}}\n}}"
    )


def _cited(papers: dict[str, Paper]) -> str:
    return rf"~\cite{{{','.join(dict.fromkeys(keys(papers).values()))}}}" if papers else ""


def protocol_of(made: Report, dataset: str = "") -> dict[str, Any]:
    """The protocol of the newest record, or of the newest on one of the suite's datasets."""
    from dazoo.bench.records.store import records

    newest = max((r for r in made.runs.runs if dataset in ("", dataset_of(r.task))), key=lambda r: r.started)
    record = next((r for r in records(made.folder, only={newest.key}) if str(r["started"]) == newest.started), {})
    found: dict[str, Any] = record.get("spec", {}).get("protocol") or {}
    return found


def fragment(made: Report, papers: dict[str, Paper], protocol: dict[str, Any]) -> str:
    r"""A paragraph of a method section with ``\cite`` commands, from the records alone."""
    runs, board = made.runs.runs, made.board
    seeds, trials = {r.seed for r in runs}, {r.trial for r in runs}
    key = keys(papers)
    named = [f"{escape(n)}~\\cite{{{key[n]}}}" if n in key else escape(n) for n in sorted({r.method for r in runs})]
    of = {d: protocol_of(made, d) for d in board.datasets} if board.several else {"": protocol}
    dataset = _listed(list(dict.fromkeys(escape(str(p.get("dataset", d or made.name))) for d, p in of.items())))
    how = {d: _training(p) for d, p in of.items()}
    told = [f"On {escape(d)}: {text}" for d, text in how.items() if text]
    over = "seeds, tasks and then datasets" if board.several else "seeds and tasks"
    parts = [
        f"We compare {_listed(named)} on {_count(len(board.tasks), 'task')} of {dataset}{_cited(data_of(made))} "
        r"with dazoo~\cite{dazoo}.",
        next(iter(how.values())) if len(set(how.values())) == 1 else " ".join(told),
        f"Every method had {_count(len(trials), 'hyper-parameter setting')} and up to "
        f"{_count(len(seeds), 'random seed')} per task.",
        _selection(board.rule),
        f"We report {escape(board.metric.replace('_', ' '))}, averaged over {over}.",
    ]
    return " ".join(p for p in parts if p) + "\n"


def _training(protocol: dict[str, Any]) -> str:
    backbone, recipe = str(protocol.get("backbone") or "none"), (protocol.get("recipe") or {}).get("name")
    found = []
    if backbone != "none":
        found.append(f"{'frozen features of' if protocol.get('frozen') else 'the backbone'} {escape(backbone)}")
    if recipe:
        found.append(f"the recipe {escape(str(recipe))}")
    classifier = (protocol.get("classifier") or {}).get("name")
    if classifier:
        found.append(f"the classifier {escape(str(classifier))} for methods without a network")
    return f"All methods share {_listed(found)}." if found else ""


def _selection(rule: str) -> str:
    if rule == LAST:
        return "No model selection takes place: the last checkpoint of the default hyper-parameters counts."
    if rule == ORACLE_RULE:
        return "Trial and checkpoint are chosen with target labels, so that all numbers are upper bounds."
    return f"Trial and checkpoint are chosen by {escape(rule.replace('_', ' '))}, without target labels."


def _listed(names: list[str]) -> str:
    return names[0] if len(names) == 1 else f"{', '.join(names[:-1])} and {names[-1]}"


def _count(n: int, word: str) -> str:
    return f"{n} {word}{'' if n == 1 else 's'}"
