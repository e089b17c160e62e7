"""What others published: the table of their numbers, and the declaration of what is compared with it.

The declaration (``benchmarks/published/ledger.yaml``) says which published row is compared with which runs, how close
they should come and what is known where they do not; it holds none of our numbers. The published table is a CSV file
with the columns ``dataset, representation, method, source, target, accuracy``; it is not part of the project.
"""

from __future__ import annotations

import csv
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from pydantic import BaseModel, ConfigDict, ValidationError, field_validator

from dazoo.bench.plan.suite import LAST, ORACLE_RULE
from dazoo.bench.plan.yamlfile import read_yaml
from dazoo.core.errors import DazooError
from dazoo.data.registry import data_root

ROWS = Path("published") / "ledger.yaml"
COLUMNS = ("dataset", "representation", "method", "source", "target", "accuracy")


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class Source(_Strict):
    """Runs of a suite whose labels match a pattern; where the suite has several datasets, those on one of them, by
    default on that of the published row."""

    suite: str
    label: str
    dataset: str = ""


class Declared(_Strict):
    """One published row and what it is compared with.

    Attributes:
        dataset, representation, method: as the published table spells them.
        runs: ours; several sources or labels are settings among which ``select_by`` chooses, pair by pair.
        select_by: a validator, or ``last`` where there is nothing to choose.
        within: how many points the averages may differ.
        average, reported_in: the published average and where it stands, for rows that the table lacks.
        origin: where the hyper-parameters come from.
        inferred: whether one of them was chosen to meet the published numbers; such a row shows that a setting exists
            which gives them, and does not count as reproduced.
        remark: what is known about the difference.
    """

    dataset: str
    representation: str
    method: str
    runs: tuple[Source, ...]
    within: float
    select_by: str = LAST
    average: float | None = None
    reported_in: str = ""
    origin: str = ""
    inferred: bool = False
    remark: str = ""

    @field_validator("select_by")
    @classmethod
    def _label_free(cls, rule: str) -> str:
        if rule == ORACLE_RULE:
            raise ValueError("a ledger never selects by target labels; name a validator or 'last'")
        return rule


@dataclass(frozen=True)
class Published:
    """Accuracies in percent: the average as printed or the mean over the pairs, and the pairs by (source, target)."""

    average: float
    pairs: dict[tuple[str, str], float]


def default_rows() -> Path:
    """The declaration in ``benchmarks/`` here, or of the source tree this package lies in."""
    here = Path("benchmarks") / ROWS
    return here if here.is_file() else Path(__file__).resolve().parents[3] / "benchmarks" / ROWS


def default_published(root: str | Path | None = None) -> Path:
    """``reference/published.csv`` beside the data root."""
    return data_root(root).parent / "reference" / "published.csv"


def read_declaration(path: str | Path) -> list[Declared]:
    """The declared rows.

    Raises:
        DazooError: a row is wrong; the message names its line.
    """
    data, origin = read_yaml(path)
    if not isinstance(data, list):
        raise origin.error((), "the declaration of a ledger is a list of rows")
    found = []
    for i, row in enumerate(data):
        try:
            found.append(Declared.model_validate(row))
        except ValidationError as error:
            first = error.errors()[0]
            place = ".".join(str(p) for p in first["loc"])
            problem = first["msg"].removeprefix("Value error, ")
            raise origin.error((i, *first["loc"]), f"{place}: {problem[0].lower()}{problem[1:]}") from None
    return found


def read_published(path: str | Path) -> dict[tuple[str, str, str], Published]:
    """The published table by (dataset, representation, method).

    Raises:
        DazooError: the file is missing or lacks a column.
    """
    path = Path(path)
    if not path.is_file():
        raise DazooError(
            f"the table of published numbers {path} is not there; it is no part of dazoo, name yours with --published"
        )
    pairs: dict[tuple[str, str, str], dict[tuple[str, str], float]] = {}
    with path.open(encoding="utf-8", newline="") as file:
        reader = csv.DictReader(file)
        lacking = [c for c in COLUMNS if c not in (reader.fieldnames or ())]
        if lacking:
            raise DazooError(f"{path} lacks the columns {', '.join(lacking)} of a table of published numbers")
        for number, row in enumerate(reader, 2):
            try:
                value = float(row["accuracy"])
            except ValueError:
                raise DazooError(
                    f"{path}, line {number}: the accuracy {row['accuracy']!r} is no number; mend or remove the line"
                ) from None
            key = (row["dataset"], row["representation"], row["method"])
            pairs.setdefault(key, {})[row["source"], row["target"]] = value
    found = {}
    for key, values in pairs.items():
        printed = values.pop(("average", "average"), None)
        found[key] = Published(float(np.mean(list(values.values()))) if printed is None else printed, values)
    return found
