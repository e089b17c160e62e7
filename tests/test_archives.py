"""Files that claim more than they hold are refused in one sentence, before memory is taken for them."""

from __future__ import annotations

import gzip
import io
import tracemalloc
import zipfile
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from dazoo.core import archive
from dazoo.core.archive import Archive, check_gzip, read_archive
from dazoo.core.errors import DazooError
from dazoo.data.registry import load_domain

MB = 1_000_000


@pytest.fixture(autouse=True)
def frugal(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Archives may unpack to 20 MB here, and nothing in a test may take that much."""
    monkeypatch.setattr(archive, "UNPACKED", 20 * MB)
    import pandas.io.formats.csvs  # noqa: F401  (what importing takes is not counted)
    import pyarrow.parquet  # noqa: F401
    import sklearn.datasets  # noqa: F401

    tracemalloc.start()
    yield
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 15 * MB


def member(shape: tuple[int, ...], descr: str = "<f8", data: bytes = b"") -> bytes:
    out = io.BytesIO()
    np.lib.format.write_array_header_1_0(out, {"descr": descr, "fortran_order": False, "shape": shape})
    return out.getvalue() + data


def packed(path: Path, members: dict[str, bytes]) -> Path:
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as file:
        for name, data in members.items():
            file.writestr(f"{name}.npy", data)
    return path


@pytest.mark.parametrize(
    ("x", "says"),
    [
        (member((10**12, 4)), r"'a_x' claims the shape \(1000000000000, 4\)"),
        (member((10**12, 0)), "claims the shape"),
        (member((10**12,), "|V0"), "claims the shape"),
        (member((-1, 4)), "damaged|claims the shape"),
        (member((1,), "<U100000000"), "claims the shape"),
        (member((2, 4), data=b"\0" * 65), "claims the shape"),
        (member((3,), "|O", b"\x80\x04N."), "holds Python objects"),
        (member((3_000_000,), data=b""), "claims the shape"),
        (b"\x93NUMPY\x01\x00", "damaged"),
        (b"no array at all", "damaged"),
    ],
)
def test_arrays_that_claim_too_much(x: bytes, says: str, tmp_path: Path) -> None:
    place = packed(tmp_path / "a.npz", {"a_x": x, "a_y": member((2,), "<i8", b"\0" * 16)})
    with pytest.raises(DazooError, match=says):
        load_domain("npz", "a", path=str(place))


def test_members_that_unpack_to_too_much(tmp_path: Path) -> None:
    x = member((125_000,), data=bytes(MB))
    with zipfile.ZipFile(tmp_path / "a.npz", "w", zipfile.ZIP_DEFLATED, compresslevel=1) as file:
        for i in range(30):
            file.writestr(f"d{i}_x.npy", x)
    with pytest.raises(DazooError, match=r"its arrays would take 30,\d+,\d+ bytes .*more than the 20,000,000"):
        load_domain("npz", "d0", path=str(tmp_path / "a.npz"))


def test_a_directory_that_lies_is_damage(tmp_path: Path) -> None:
    place = packed(tmp_path / "a.npz", {"a_x": member((125_000,), data=bytes(MB))})
    short = len(member((125_000,))) + 80
    data = place.read_bytes()
    at = data.rindex(b"PK\x01\x02") + 24  # the unpacked size in the directory
    place.write_bytes(data[:at] + short.to_bytes(4, "little") + data[at + 4 :])
    with pytest.raises(DazooError, match="damaged"):
        load_domain("npz", "a", path=str(place))


def test_what_numpy_writes_is_read(tmp_path: Path) -> None:
    arrays = {
        "a": np.arange(6.0).reshape(2, 3),
        "b": np.asfortranarray(np.arange(6).reshape(2, 3)),
        "text": np.array(["one", "three"]),
        "empty": np.zeros((0, 5)),
        "single": np.array(3),
        "structured": np.zeros(2, dtype=[("é", "<i4"), ("b", "<f8")]),
        "large": np.zeros(100_000),
    }
    for write in (np.savez, np.savez_compressed):
        write(tmp_path / "a.npz", **arrays)
        found = read_archive(tmp_path / "a.npz")
        assert list(found) == list(arrays)
        for name, array in arrays.items():
            assert np.array_equal(found[name], array) and found[name].dtype == array.dtype, name


def test_a_large_file_may_unpack_to_more(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    np.savez_compressed(tmp_path / "a.npz", a=np.zeros(MB // 8))
    monkeypatch.setattr(archive, "UNPACKED", MB // 2)
    with pytest.raises(DazooError, match="unpack"):
        Archive(tmp_path / "a.npz")
    np.savez(tmp_path / "a.npz", a=np.zeros(MB // 8))  # not compressed: it takes what the file has
    assert len(read_archive(tmp_path / "a.npz")["a"]) == MB // 8


def test_gzip_is_measured_as_it_streams(tmp_path: Path) -> None:
    place = tmp_path / "a.csv.gz"
    with gzip.open(place, "wb", compresslevel=1) as file:
        file.write(b"x,label,domain\n")
        for _ in range(50):
            file.write(b"1,0,a\n" * (MB // 12))
    assert place.stat().st_size < MB
    with pytest.raises(DazooError, match="its content would take"):
        load_domain("table", "a", path=str(place))
    root = tmp_path / "amazon_reviews"
    root.mkdir()
    place.rename(root / "books_train.svmlight.gz")
    with pytest.raises(DazooError, match="its content would take"):
        load_domain("amazon_reviews", "books", tmp_path)
    with gzip.open(place, "wb") as file:
        file.write(b"1,0,a\n" * 1000)
    check_gzip(place)


def test_rows_that_make_a_large_matrix(tmp_path: Path) -> None:
    root = tmp_path / "amazon_reviews"
    root.mkdir()
    with gzip.open(root / "books_train.svmlight.gz", "wb") as file:
        file.write(b"1 1:1\n" * 2000)
    with pytest.raises(DazooError, match=r"its matrix would take 40,000,000 bytes"):
        load_domain("amazon_reviews", "books", tmp_path)


def test_tables_that_grow(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    n = 2000
    table = pd.DataFrame({"id": [f"p{i}" for i in range(n)], "x": 1.0, "label": 0, "domain": "a"})
    table.to_csv(tmp_path / "a.csv", index=False)
    with pytest.raises(DazooError, match=r"of the column 'id' would take 32,000,000 bytes"):
        load_domain("table", "a", path=str(tmp_path / "a.csv"), text="one_hot")
    pd.DataFrame({"x": np.ones(300_000), "label": 0, "domain": "a"}).to_parquet(tmp_path / "a.parquet")
    monkeypatch.setattr(archive, "UNPACKED", 5 * MB)
    with pytest.raises(DazooError, match="the table would take 7,200,000 bytes"):
        load_domain("table", "a", path=str(tmp_path / "a.parquet"))
