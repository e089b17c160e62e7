"""Images by a table of metadata, as WILDS lays them out: ``<path>/metadata.csv`` with a row per image.

``file`` is the column that holds an image's file, or a pattern over columns. With ``split_column``, the rows whose
entry is one of ``test`` are the official test part of their domain, and rows whose entry is one of ``drop`` are left
out. A domain all of whose rows are test rows has no such part: it is seen without labels, and tested on, as a whole.

    slide = "patient_{patient:03d}_node_{node}"
    load_task("wilds/0->2", path="camelyon17_v1.0", domain_column="center", label_column="tumor",
              file=f"patches/{slide}/patch_{slide}_x_{{x_coord}}_y_{{y_coord}}.png")
    load_task("wilds/12->101", path="iwildcam_v2.0", domain_column="location_remapped", file="train/{filename}",
              classes="common")

Source: Koh et al., "WILDS: a benchmark of in-the-wild distribution shifts", ICML 2021, arXiv:2012.07421. Its archives
are not fetched: get them by the package wilds.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from dazoo.core.errors import DazooError, UnknownName, nearest
from dazoo.core.paper import Paper
from dazoo.data.domain import Domain
from dazoo.data.generic import POLICIES, check_choice, class_names, coded, content_of, domain_names, locate
from dazoo.data.images import check_view, decode
from dazoo.data.labels import read
from dazoo.data.registry import Dataset, register_dataset
from dazoo.data.tables import read_table

if TYPE_CHECKING:
    import pandas as pd

OPTIONS = {
    "path": None, "metadata": "metadata.csv", "file": "filename", "label_column": "y", "domain_column": None,
    "split_column": None, "test": ("test",), "drop": (), "image_size": 224, "fit": "crop", "classes": "same",
}  # fmt: skip


def names(
    root: Path | None,
    path: str | None = None,
    metadata: str = "metadata.csv",
    domain_column: str | None = None,
    **options: object,
) -> tuple[str, ...]:
    """The values of the domain column."""
    place, table = _table(path, root, metadata)
    return domain_names(sorted(set(_named(table, domain_column, "domain_column", place))), place)


def check(image_size: int, fit: str, classes: str, **options: object) -> None:
    """Refuse sizes and choices that are none."""
    check_view(image_size, fit)
    check_choice("classes", classes, POLICIES)


def load(
    domain: str,
    root: Path | None,
    path: str | None = None,
    metadata: str = "metadata.csv",
    file: str = "filename",
    label_column: str = "y",
    domain_column: str | None = None,
    split_column: str | None = None,
    test: str | Sequence[str] = ("test",),
    drop: str | Sequence[str] = (),
    image_size: int = 224,
    fit: str = "crop",
    classes: str = "same",
) -> Domain:
    """The images of one domain (n, image_size, image_size, 3) uint8 in the order of the table.

    Args:
        domain: a value of the domain column.
        root: the data root, where ``path`` is looked up if it does not exist as it is.
        path: the folder of the table; files are relative to it.
        metadata: the table, relative to ``path``.
        file: the column of files, or a pattern such as ``train/{filename}``.
        label_column, domain_column: the columns of labels and of domains.
        split_column: the column that says of which part an image is; None for one part.
        test, drop: its entries that make the test part, and that are left out.
        image_size: side of the decoded images in pixels.
        fit: ``crop`` or ``squash``, see ``dazoo.data.images.decode``.
        classes: ``same``, ``common`` or ``union``, see ``dazoo.data.generic``.

    Raises:
        UnknownName: a column does not exist.
        DazooError: the table or an image is not there or cannot be read.
    """
    place, table = _table(path, root, metadata)
    which = _named(table, domain_column, "domain_column", place)
    part = np.full(len(table), "") if split_column is None else _named(table, split_column, "split_column", place)
    if drop:
        rows = ~np.isin(part.astype(str), _listed(drop))
        table, which, part = table[rows], which[rows], part[rows]
    labels = read(_column(table, label_column, "label_column", place), f"{place}: the entries of {label_column!r}")
    found = {d: labels.rows(which == d) for d in sorted(set(which))}
    present = {d: y.present if y.known.any() else None for d, y in found.items()}
    chosen = class_names(present, domain, classes)

    def made(rows: np.ndarray) -> Domain:
        kept, fields = coded(labels.rows(rows), chosen)
        rows = rows if kept is None else rows[kept]
        files = _files(table.iloc[rows], file, place)
        if not files:
            raise DazooError(f"{place} has no image of the classes in the domain {domain!r}; see the option classes")
        return Domain(domain, decode(files, image_size, fit), kind="image", **fields)

    mine = np.flatnonzero(which == domain)
    tested = np.isin(part[mine].astype(str), _listed(test)) if split_column is not None else np.zeros(len(mine), bool)
    if tested.all() or not tested.any():
        return made(mine)
    whole = made(mine[~tested])
    return Domain(domain, whole.x, whole.y, chosen, "image", known=whole.known, test=made(mine[tested]))


def _table(path: object, root: Path | None, metadata: str) -> tuple[Path, pd.DataFrame]:
    place = locate(path, root, "wilds") / metadata
    if not place.is_file():
        raise DazooError(f"the dataset 'wilds' finds no table {place}; name it by the option metadata")
    return place, read_table(place)


def _column(table: pd.DataFrame, column: str | None, option: str, place: Path) -> pd.Series:
    if column is None or column not in table.columns:
        listed = ", ".join(map(str, table.columns))
        if column is None:
            raise DazooError(f"{place}: the option {option} must name a column; it has {listed}")
        near = nearest(column, map(str, table.columns))
        raise UnknownName(f"{place} has no column {column!r} for the option {option}: {near}")
    return table[column]


def _named(table: pd.DataFrame, column: str | None, option: str, place: Path) -> np.ndarray:
    """The entries of a column as names (n,)."""
    found = read(_column(table, column, option, place), f"{place}: the entries of {column!r}")
    if not found.known.all():
        raise DazooError(f"{place}: {int((~found.known).sum())} rows have no entry in the column {column!r}; fill them")
    return found.names


def _files(rows: pd.DataFrame, file: str, place: Path) -> list[Path]:
    if "{" not in file:
        return [place.parent / str(f) for f in _column(rows, file, "file", place)]
    try:
        return [place.parent / file.format_map(row) for row in rows.to_dict("records")]
    except (KeyError, ValueError, IndexError) as error:
        listed = ", ".join(map(str, rows.columns))
        raise DazooError(
            f"{place}: the pattern file={file!r} does not suit the columns {listed} ({error!r}); correct it"
        ) from None


def _listed(values: str | Sequence[str]) -> list[str]:
    return [values] if isinstance(values, str) else [str(v) for v in values]


register_dataset(
    Dataset(
        name="wilds",
        domains=names,
        load=load,
        description="images by a table of metadata (file, label, domain, split), as WILDS lays them out",
        options=OPTIONS,
        license="yours, or that of the WILDS dataset",
        content=content_of,
        check=check,
        papers=(
            Paper(
                title="WILDS: A Benchmark of in-the-Wild Distribution Shifts",
                authors=(
                    "Pang Wei Koh, Shiori Sagawa, Henrik Marklund, Sang Michael Xie, Marvin Zhang, "
                    "Akshay Balsubramani, Weihua Hu, Michihiro Yasunaga, Richard Lanas Phillips, Irena Gao, Tony Lee, "
                    "Etienne David, Ian Stavness, Wei Guo, Berton Earnshaw, Imran Haque, Sara Beery, Jure Leskovec, "
                    "Anshul Kundaje, Emma Pierson, Sergey Levine, Chelsea Finn, Percy Liang"
                ),
                year=2021,
                url="https://arxiv.org/abs/2012.07421",
                venue="International Conference on Machine Learning",
            ),
        ),
        where="get the dataset by the package wilds and name its folder by path, with the columns of its metadata",
    )
)
