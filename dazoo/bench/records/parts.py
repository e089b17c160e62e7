"""Parts: what ``compact`` makes of lines. Parquet files that are never changed, named by their own checksum.

``records/part-<time>-<number>-<checksum>.parquet``: the time is that of the oldest shard in it, so that names sort like
those of shards; the checksum is SHA-256 of the file. A part is whole or it is not used: its runs are then missing, and
are run again.
"""

from __future__ import annotations

import hashlib
import io
import itertools
import re
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from dazoo.bench.records.columns import Record, table_of
from dazoo.core.files import opened, retried

if TYPE_CHECKING:
    import pyarrow as pa

FORMAT = 1
FORMAT_KEY = b"dazoo.records"
LIMIT = 900_000
"""Bytes of the largest part: what may be committed, and travels well."""
NAME = re.compile(r"part-([0-9a-f]+)-(\d+)-([0-9a-f]{32})\.parquet")
PRECISE = ("points_scores", "points_fraction", "curves_value")
"""Columns of numbers that hardly repeat: their bytes are compressed place by place."""


def part_paths(root: Path) -> list[Path]:
    """The parts in a folder of records, oldest first."""
    return sorted(p for p in root.glob("part-*.parquet"))


def read_part(path: Path, columns: Sequence[str] | None = None) -> pa.Table:
    """The table of a part, or some of its columns.

    Raises:
        FileNotFoundError: it was merged into another part meanwhile.
        ValueError: it is damaged, or of another format; the message follows "the part P".
    """
    found = NAME.fullmatch(path.name)
    data = retried(path.read_bytes)
    if found is None or hashlib.sha256(data).hexdigest()[:32] != found[3]:
        raise ValueError("differs from the checksum in its name")
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        file = pq.ParquetFile(io.BytesIO(data))
        schema = file.schema_arrow
        form = (schema.metadata or {}).get(FORMAT_KEY, b"").decode()
        if form != str(FORMAT):
            raise ValueError(f"has format {form or 'unknown'}, this version reads {FORMAT}")
        names = None if columns is None else [c for c in columns if c in schema.names]
        return file.read(columns=names, use_threads=False)
    except pa.ArrowException as error:
        raise ValueError(f"cannot be read ({str(error).splitlines()[0]})") from error


def all_parts(
    root: Path, trouble: Callable[[str, str], None], columns: Sequence[str] | None = None
) -> Iterator[pa.Table]:
    """The table of every part, each once, also while parts are being merged.

    Args:
        trouble: told the name of a part that cannot be used, and what is wrong with it.
    """
    seen: set[str] = set()
    while True:
        new = [p for p in part_paths(root) if p.name not in seen]
        if not new:
            return
        for path in new:
            seen.add(path.name)
            try:
                yield read_part(path, columns)
            except FileNotFoundError:  # merged into a part that is there now
                continue
            except (ValueError, OSError) as error:
                trouble(path.name, str(error))


def write_parts(root: Path, time: str, records: Sequence[Record], limit: int = LIMIT) -> list[Path]:
    """Write records as parts of at most ``limit`` bytes each, flushed to disk, their names included."""
    made: list[Path] = []
    for data in _pieces(records, limit):
        name = f"part-{time}-{len(made):04d}-{hashlib.sha256(data).hexdigest()[:32]}.parquet"
        with opened(root / name) as file:
            file.write(data)
        made.append(root / name)
    return made


def write_table(root: Path, table: pa.Table) -> Path:
    """Write a table as a file like a part that is read fast instead of being small."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    out = io.BytesIO()
    texts = [f.name for f in table.schema if pa.types.is_string(f.type)]
    named = table.replace_schema_metadata({FORMAT_KEY: str(FORMAT)})
    pq.write_table(named, out, compression="lz4", use_dictionary=texts, write_statistics=False)
    data = out.getvalue()
    path = root / f"part-{time.time_ns():x}-0000-{hashlib.sha256(data).hexdigest()[:32]}.parquet"
    with opened(path) as file:
        file.write(data)
    return path


def _pieces(records: Sequence[Record], limit: int) -> Iterator[bytes]:
    data = _encoded(table_of(records))
    if len(data) <= limit or len(records) == 1:
        yield data
        return
    count = min(len(records), int(len(data) / (0.9 * limit)) + 1)
    edges = [len(records) * i // count for i in range(count + 1)]
    for start, end in itertools.pairwise(edges):
        yield from _pieces(records[start:end], limit)


def _encoded(table: pa.Table) -> bytes:
    import pyarrow as pa
    import pyarrow.parquet as pq

    # the leaves of columns as Parquet names them
    paths = {f.name: f"{f.name}.list.element" if pa.types.is_list(f.type) else f.name for f in table.schema}
    split = [path for name, path in paths.items() if name in PRECISE or name.startswith("number:")]
    out = io.BytesIO()
    pq.write_table(
        table.replace_schema_metadata({FORMAT_KEY: str(FORMAT)}),
        out,
        compression="zstd",
        compression_level=15,
        use_dictionary=[path for path in paths.values() if path not in split],
        use_byte_stream_split=split,
    )
    return out.getvalue()
