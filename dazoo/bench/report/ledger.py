"""The ledger of published numbers as Markdown."""

from __future__ import annotations

from collections.abc import Sequence

from dazoo.bench.published.ledger import Line
from dazoo.bench.report.text import md_table

HEAD = (
    "published row", "ours", "hyper-parameters", "protocol", "chosen by", "published", "ours (%)", "difference",
    "mean difference per pair", "verdict", "with target labels", "remark",
)  # fmt: skip


def markdown(lines: Sequence[Line]) -> str:
    """The ledger as a page; depends on its arguments only."""
    counted = [line for line in lines if not line.declared.inferred]
    close = sum(line.verdict.startswith("within") for line in counted)
    inferred = [line for line in lines if line.declared.inferred]
    out = [
        "# Published numbers and ours",
        "",
        "Made by `dazoo ledger` from the records in `results/`, a table of published numbers and",
        "`benchmarks/published/ledger.yaml`. Averages over all pairs of a dataset, accuracy in percent. No run and no",
        "selection saw a target label; where a hyper-parameter is not the paper's, its row says so. A difference is",
        "ours minus published. The mean difference per pair (without signs) tells whether the pairs agree too, or only",
        "their average.",
        "",
        f"{close} of {len(counted)} rows are reproduced: as close as they should be, with hyper-parameters",
        "that do not come from the published numbers.",
    ]
    if inferred:
        names = ", ".join(line.declared.method for line in inferred)
        out += [
            "",
            f"{len(inferred)} more ({names}) are inferred: no paper gives a hyper-parameter, and it was chosen to",
            "meet the published numbers. That a setting gives them is no reproduction.",
        ]
    if any(line.bound is not None for line in lines):
        out += [
            "",
            "The column 'with target labels' shows what choosing by target labels among the same models would give,",
            "and the mean over all of them at each checkpoint. It helps to read a difference; nothing is chosen by it.",
        ]
    groups = dict.fromkeys((line.declared.dataset, line.declared.representation) for line in lines)
    for dataset, representation in groups:
        members = [r for r in lines if (r.declared.dataset, r.declared.representation) == (dataset, representation)]
        out += ["", f"## {dataset}, {representation}", "", *md_table(list(HEAD), [_cells(line) for line in members])]
    return "\n".join(out) + "\n"


def _cells(line: Line) -> list[str]:
    row, gap = line.declared, line.difference
    origin = f" ({row.origin})" if row.origin else ""
    remark = " ".join(row.remark.split())
    cited = f" ({row.reported_in})" if row.reported_in else ""
    return [
        row.method,
        line.methods,
        line.hparams + origin if line.hparams else "",
        line.protocol,
        line.chosen_by,
        f"{line.published.average:.1f}{cited}",
        "" if line.ours is None else f"{line.ours:.2f}",
        "" if gap is None else f"{gap:+.2f}",
        "" if line.per_pair is None else f"{line.per_pair:.2f}",
        line.verdict,
        _bound(line),
        remark,
    ]


def _bound(line: Line) -> str:
    if line.bound is None:
        return ""
    path = f"; mean at each checkpoint {', '.join(f'{v:.2f}' for v in line.path)}" if len(line.path) > 1 else ""
    return f"{line.bound:.2f}{path}"
