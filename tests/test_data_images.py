"""The image cache: decoded once, shared by processes, rebuilt when damaged, honest about unreadable files."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from dazoo.core.errors import DazooError
from dazoo.data import images
from dazoo.data.images import decode, read_image


@pytest.fixture
def photos(tmp_path: Path) -> list[Path]:
    """Twenty photographs of noise, wide and high, as JPEG and PNG."""
    rng = np.random.default_rng(0)
    files = []
    for i in range(20):
        size = (40, 60, 3) if i % 2 else (60, 40, 3)
        path = tmp_path / "in" / f"{i:02d}.{'png' if i % 3 else 'jpg'}"
        path.parent.mkdir(exist_ok=True)
        Image.fromarray(rng.integers(0, 255, size, dtype=np.uint8)).save(path)
        files.append(path)
    return files


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("DAZOO_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(images, "_verified", set())
    return tmp_path / "cache" / "images"


def count_decodings(monkeypatch: pytest.MonkeyPatch) -> list[Path]:
    seen: list[Path] = []

    def counted(path: Path, size: int, fit: str) -> np.ndarray:
        seen.append(path)
        return read_image(path, size, fit)

    monkeypatch.setattr(images, "read_image", counted)
    return seen


def forget() -> None:
    """As a new process would: nothing verified yet."""
    images._verified.clear()


def test_decoding_happens_once(photos: list[Path], cache: Path, monkeypatch: pytest.MonkeyPatch):
    decoded = count_decodings(monkeypatch)
    first = decode(photos, 16)
    assert first.shape == (20, 16, 16, 3) and first.dtype == torch.uint8 and sorted(decoded) == photos
    forget()
    assert torch.equal(decode(photos, 16), first) and len(decoded) == 20
    expected = torch.from_numpy(np.stack([read_image(f, 16, "crop") for f in photos]))
    assert torch.equal(first, expected)
    assert sorted(f.suffix for f in cache.iterdir()) == [".json", ".u8"]


def test_other_files_sizes_and_fits_are_other_entries(photos: list[Path], cache: Path):
    made = [decode(photos, 16), decode(photos, 12), decode(photos, 16, "squash"), decode(photos[:5], 16)]
    assert [m.shape[:2] for m in made] == [(20, 16), (20, 12), (20, 16), (5, 16)]
    assert not torch.equal(made[0], made[2]) and len(list(cache.glob("*.u8"))) == 4


def test_a_changed_image_is_decoded_again(photos: list[Path], cache: Path):
    before = decode(photos, 16).clone()
    Image.new("RGB", (40, 60), (255, 0, 0)).save(photos[4])
    after = decode(photos, 16)
    assert after[4].unique(dim=0).shape[0] == 1 and torch.equal(after[5:], before[5:])


def test_writing_into_the_tensor_leaves_the_cache_alone(photos: list[Path], cache: Path):
    images_ = decode(photos, 16)
    before = images_.clone()
    images_ += 1
    forget()
    assert torch.equal(decode(photos, 16), before)


@pytest.mark.parametrize("damage", ["truncate", "flip", "sidecar", "no_sidecar", "empty"])
def test_damaged_entries_are_rebuilt(damage: str, photos: list[Path], cache: Path, monkeypatch: pytest.MonkeyPatch):
    good = decode(photos, 16).clone()
    (entry,) = cache.glob("*.u8")
    raw = bytearray(entry.read_bytes())
    if damage == "truncate":
        entry.write_bytes(raw[:-100])
    elif damage == "flip":
        raw[1000] ^= 255
        entry.write_bytes(raw)
    elif damage == "sidecar":
        entry.with_suffix(".json").write_text("{")
    elif damage == "no_sidecar":
        entry.with_suffix(".json").unlink()
    else:
        entry.write_bytes(b"")
    forget()
    decoded = count_decodings(monkeypatch)
    assert torch.equal(decode(photos, 16), good) and len(decoded) == 20
    forget()
    assert torch.equal(decode(photos, 16), good) and len(decoded) == 20


def test_two_processes_may_build_the_same_entry_at_once(photos: list[Path], cache: Path, tmp_path: Path):
    go = tmp_path / "go"
    script = f"""
import pathlib, sys, time
from dazoo.data import images
plain, own, other = images.read_image, *(pathlib.Path({str(tmp_path)!r}) / sys.argv[i] for i in (1, 2))
def read(path, size, fit):
    own.touch()
    for _ in range(2000):  # until the other one is building too, or never will
        if other.exists():
            break
        time.sleep(0.005)
    return plain(path, size, fit)
images.read_image = read
files = sorted(pathlib.Path({str(tmp_path / "in")!r}).iterdir())
print("ready", flush=True)
while not pathlib.Path({str(go)!r}).exists():
    time.sleep(0.005)
x = images.decode(files, 16)
print(images._verified, int(x.long().sum()))
"""
    env = {**os.environ, "DAZOO_CACHE": str(cache.parent), "OMP_NUM_THREADS": "1"}
    workers = [
        subprocess.Popen([sys.executable, "-c", script, *names], stdout=subprocess.PIPE, text=True, env=env)
        for names in (("one", "two"), ("two", "one"))
    ]
    for worker in workers:
        assert worker.stdout.readline() == "ready\n"
    go.touch()
    outputs = [worker.communicate()[0] for worker in workers]
    assert all(worker.returncode == 0 for worker in workers)
    expected = np.stack([read_image(f, 16, "crop") for f in photos])
    assert outputs == [f"set() {int(expected.sum(dtype=np.int64))}\n"] * 2  # both built, neither found it ready
    assert sorted(f.suffix for f in cache.iterdir()) == [".json", ".u8"]
    (entry,) = cache.glob("*.u8")
    assert images._intact(entry, expected.shape) and np.array_equal(
        np.frombuffer(entry.read_bytes(), np.uint8), expected.ravel()
    )


def test_a_killed_writer_leaves_no_half_entry(photos: list[Path], cache: Path):
    cache.mkdir(parents=True)
    left = cache / "half.tmp"
    left.write_bytes(b"half")
    os.utime(left, (1, 1))
    decode(photos, 16)
    assert not left.exists()


@pytest.mark.parametrize("damage", ["cut", "text", "empty", "gone"])
def test_an_unreadable_image_is_named(damage: str, photos: list[Path], cache: Path):
    victim = photos[3]
    if damage == "cut":
        victim.write_bytes(victim.read_bytes()[:500])
    elif damage == "gone":
        victim.unlink()
    else:
        victim.write_bytes(b"hello" if damage == "text" else b"")
    with pytest.raises(DazooError, match=r"cannot read the image .*03\.jpg .*replace the file or remove it"):
        decode(photos, 16)
    assert not cache.exists() or not list(cache.iterdir())  # nothing half-made stays behind


def test_an_unwritable_cache_is_named(photos: list[Path], tmp_path: Path):
    (tmp_path / "file").write_text("")
    with pytest.raises(DazooError, match="set DAZOO_CACHE to a folder with space"):
        decode(photos, 16, cache=tmp_path / "file" / "images")


@pytest.mark.parametrize("when", ["write", "move"])
def test_a_full_disk_is_named_and_leaves_nothing(
    when: str, photos: list[Path], cache: Path, monkeypatch: pytest.MonkeyPatch
):
    def full(*args: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, {"write": "fsync", "move": "replace"}[when], full)
    with pytest.raises(DazooError, match=r"No space left.*set DAZOO_CACHE"):
        decode(photos, 16)
    assert not list(cache.iterdir())


def test_bad_options(photos: list[Path], cache: Path):
    with pytest.raises(DazooError, match="'crop' or 'squash'"):
        decode(photos, 16, "stretch")
    for size in (0, 1.5, True, 10**6):
        with pytest.raises(DazooError, match="whole number of pixels"):
            decode(photos, size)  # type: ignore[arg-type]
    with pytest.raises(DazooError, match="no images"):
        decode([], 16)


def test_crop_keeps_proportions_and_squash_keeps_everything(tmp_path: Path):
    wide = np.zeros((10, 30, 3), np.uint8)
    wide[:, :10], wide[:, 10:20], wide[:, 20:] = (255, 0, 0), (0, 255, 0), (0, 0, 255)
    path = tmp_path / "flag.png"
    Image.fromarray(wide).save(path)
    crop, squash = read_image(path, 30, "crop"), read_image(path, 30, "squash")
    assert (crop[:, 5:-5] == [0, 255, 0]).all()
    assert squash[15, 2].tolist() == [255, 0, 0] and squash[15, 27].tolist() == [0, 0, 255]


def test_grey_palette_alpha_and_turned_images_become_upright_rgb(tmp_path: Path):
    half = np.zeros((20, 20), np.uint8)
    half[:10] = 255
    for mode in ("L", "P", "RGBA", "1"):
        path = tmp_path / f"{mode}.png"
        Image.fromarray(half).convert(mode).save(path)
        got = read_image(path, 20, "crop")
        assert got.shape == (20, 20, 3) and (got[:9] == 255).all() and (got[11:] == 0).all()
    turned = tmp_path / "turned.jpg"
    exif = Image.Exif()
    exif[0x0112] = 3
    Image.fromarray(half).save(turned, exif=exif, quality=95)
    got = read_image(turned, 20, "crop")
    assert got[:8].max() < 30 and got[12:].min() > 225


def test_the_sidecar_says_what_the_entry_is(photos: list[Path], cache: Path):
    decode(photos, 16)
    (sidecar,) = cache.glob("*.json")
    content = json.loads(sidecar.read_text())
    assert content["shape"] == [20, 16, 16, 3] and len(content["sha256"]) == 64


def test_long_decoding_reports_on_standard_error(
    photos: list[Path], cache: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
):
    monkeypatch.setattr(images, "_QUIET_SECONDS", -1.0)
    monkeypatch.setenv("FORCE_COLOR", "1")
    monkeypatch.setenv("TTY_COMPATIBLE", "1")
    decode(photos, 16)
    loud = capfd.readouterr()
    assert "decoding images" in loud.err and loud.out == ""
    monkeypatch.setattr(images, "_QUIET_SECONDS", 60.0)
    decode(photos, 12)
    assert capfd.readouterr().err == ""
