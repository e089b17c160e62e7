"""Reading tables: comma, semicolon or tab separated text in UTF-8 or Latin-1, Parquet, and lines of JSON."""

from __future__ import annotations

import warnings
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING

from dazoo.core.archive import check_gzip, check_unpacked
from dazoo.core.errors import DazooError, DazooWarning

if TYPE_CHECKING:
    import pandas as pd

TEXT_FILES = (".csv", ".tsv", ".txt", ".csv.gz", ".tsv.gz", ".txt.gz")
PARQUET = (".parquet", ".pq")
LINES = (".jsonl", ".ndjson", ".jsonl.gz")
SEPARATORS = (",", ";", "\t", "|")
CELL = 8  # bytes
HEAD = 1 << 16
WIDE = (b"\xff\xfe", b"\xfe\xff")


def is_table_file(place: Path) -> bool:
    """Whether the name of a file is that of a table."""
    return place.name.lower().endswith((*TEXT_FILES, *PARQUET, *LINES))


def read_table(place: Path) -> pd.DataFrame:
    """The table in a file; read once as long as the file does not change.

    Raises:
        DazooError: no table, damaged, or more than a file of its size may unpack to.
    """
    if place.is_dir():
        raise DazooError(f"the dataset 'table' needs a file, but {place} is a folder; use the dataset folder")
    stat = place.stat()
    return _parse(place, stat.st_size, stat.st_mtime_ns)


@lru_cache(maxsize=2)
def _parse(place: Path, size: int, changed: int) -> pd.DataFrame:
    import pandas as pd

    name = place.name.lower()
    try:
        if name.endswith(PARQUET):
            import pyarrow.parquet as parquet

            shape = parquet.read_metadata(place)
            check_unpacked(place, CELL * shape.num_rows * shape.num_columns, "the table")
            return pd.read_parquet(place)
        if name.endswith(".gz"):
            check_gzip(place)
        if name.endswith(LINES):
            return pd.read_json(place, lines=True, dtype=False)
        if name.endswith(TEXT_FILES):
            return _text(place)
    except DazooError:
        raise
    except ImportError as error:
        raise DazooError(f"reading {place} needs pyarrow; install it with: pip install pyarrow") from error
    except Exception as error:
        raise DazooError(f"{place} is damaged or no table ({error}); export it again") from error
    raise DazooError(f"{place} is no .csv, .tsv, .jsonl or .parquet file; export the table in one of these formats")


def _text(place: Path) -> pd.DataFrame:
    """A text file; what does not decode as UTF-8 is Latin-1, which decodes everything."""
    import pandas as pd

    if not place.stat().st_size:
        raise DazooError(f"{place} is empty; give a table with a line of column names")
    with place.open("rb") as file:
        if file.read(2) in WIDE:
            raise DazooError(f"{place} is in UTF-16; export it in UTF-8")
    separator = separator_of(place)
    head = pd.read_csv(place, sep=separator, encoding="latin-1", header=None, nrows=1, dtype=str).iloc[0].dropna()
    if twice := sorted(set(head[head.duplicated()])):
        raise DazooError(f"{place} has several columns called {twice[0]!r}; rename them, so that each has one meaning")
    try:
        return pd.read_csv(place, sep=separator, encoding="utf-8-sig", low_memory=False)
    except UnicodeDecodeError:
        warnings.warn(
            f"{place} is not in UTF-8 and was read as Latin-1; export it in UTF-8 if letters look wrong",
            DazooWarning,
            stacklevel=4,
        )
        return pd.read_csv(place, sep=separator, encoding="latin-1", low_memory=False)


def separator_of(place: Path) -> str:
    """The separator of a text file: that of its name's kind unless its first line holds another one only."""
    import gzip

    name = place.name.lower()
    usual = "\t" if name.endswith((".tsv", ".tsv.gz")) else ","
    with gzip.open(place) if name.endswith(".gz") else place.open("rb") as file:
        line = file.read(HEAD).decode("latin-1").lstrip("ï»¿").split("\n", 1)[0]
    outside = "".join(line.split('"')[::2])
    counts = {s: outside.count(s) for s in SEPARATORS}
    return usual if counts[usual] or not any(counts.values()) else max(counts, key=lambda s: counts[s])
