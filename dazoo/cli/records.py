"""Commands about records as a whole: ``dazoo export`` and ``dazoo compact``."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from dazoo.cli.mirrored import mirrored
from dazoo.core.errors import DazooError


@mirrored
def show_export(folder: Path, parquet: bool, csv: bool, out: Path | None) -> None:
    """Write the runs of a folder as one table and say where."""
    from dazoo.bench.analysis.frame import export_records

    if parquet and csv:
        raise DazooError("one of --parquet and --csv is written at a time")
    print(export_records(folder, "csv" if csv else "parquet", out))


@mirrored
def show_compact(folders: Sequence[Path]) -> None:
    """Merge the records of folders and say what was done."""
    from dazoo.bench.records.compact import compact, told
    from dazoo.bench.records.store import FOLDER

    single = len(folders) == 1
    for folder in folders:
        if single or (folder / FOLDER).is_dir():  # 'results/*' holds other files, too
            print(*told(folder, compact(folder)), sep="\n")
