"""The datasets of the field: tiny trees of their layouts, counts that are checked, and what missing files say."""

from __future__ import annotations

import bz2
import warnings
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from scipy.io import savemat

from dazoo.core.errors import DazooError, DazooWarning
from dazoo.data import image_sets
from dazoo.data.registry import DATASETS, load_domain, load_task

TREES = {
    "office31": ("office31/amazon/images", "amazon", 31),
    "office_home": ("office_home/Real World", "real_world", 65),
    "visda2017": ("visda2017/validation", "validation", 12),
    "vlcs": ("vlcs/SUN09", "sun09", 5),
    "image_clef": ("image_clef/caltech256", "caltech256", 12),
    "domainnet": ("domainnet/real", "real", 345),
}


def picture(place: Path, colour: int = 0) -> None:
    place.parent.mkdir(parents=True, exist_ok=True)
    Image.new("RGB", (8, 8), (colour % 256, 10, 20)).save(place)


@pytest.mark.parametrize("name", sorted(TREES))
def test_a_tiny_tree_of_the_layout_loads_and_says_that_it_is_not_whole(name, tmp_path, monkeypatch):
    monkeypatch.setattr(image_sets, "_TOLD", set())
    monkeypatch.setenv("DAZOO_CACHE", str(tmp_path / "cache"))
    place, domain, n_classes = TREES[name]
    for c in range(n_classes):
        picture(tmp_path / place / f"class_{c:03d}" / "a.png", c)
    with pytest.warns(DazooWarning, match=f"{n_classes} of .* images here"):
        found = load_domain(name, domain, tmp_path, image_size=8)
    assert found.x.shape == (n_classes, 8, 8, 3) and len(found.classes) == n_classes
    assert found.y.tolist() == list(range(n_classes))
    with warnings.catch_warnings():
        warnings.simplefilter("error")  # it is said once
        load_domain(name, domain, tmp_path, image_size=8)


@pytest.mark.parametrize("name", sorted(TREES))
def test_missing_files_are_one_sentence_that_says_which_to_put_where(name, tmp_path):
    domain = TREES[name][1]
    with pytest.raises(DazooError, match=f"{name} needs .*which is not there: get .*data root"):
        load_domain(name, domain, tmp_path)
    (tmp_path / TREES[name][0] / "only_class").mkdir(parents=True)
    picture(tmp_path / TREES[name][0] / "only_class" / "a.png")
    with pytest.raises(DazooError, match=f"1 classes are there, not {TREES[name][2]}"):
        load_domain(name, domain, tmp_path)


def test_lists_of_files_and_class_numbers(tmp_path, monkeypatch):
    monkeypatch.setattr(image_sets, "_TOLD", set())
    monkeypatch.setenv("DAZOO_CACHE", str(tmp_path / "cache"))
    lines = []
    for c in range(345):
        picture(tmp_path / "domainnet" / "sketch" / f"thing_{344 - c}" / "a.png", c)
        lines.append(f"sketch/thing_{344 - c}/a.png {c}")
    folder = tmp_path / "domainnet"
    (folder / "sketch_train.txt").write_text("\n".join(lines[:300]) + "\n")
    (folder / "sketch_test.txt").write_text("\n".join(lines[300:]) + "\n")
    with pytest.warns(DazooWarning, match="345 of 69128"):
        found = load_domain("domainnet", "sketch", tmp_path, image_size=8)
    assert found.classes[0] == "thing_344" and found.y.tolist() == list(range(345))
    (folder / "sketch_train.txt").write_text("no number here\n")
    with pytest.raises(DazooError, match="line 1 is no '<file> <class number>'"):
        load_domain("domainnet", "sketch", tmp_path, image_size=8)
    (folder / "sketch_train.txt").write_text("sketch/gone/a.png 0\n")
    with pytest.raises(DazooError, match="which is not there; unpack"):
        load_domain("domainnet", "sketch", tmp_path, image_size=8)


def test_datasets_that_need_files_say_where_they_are_had():
    for name in TREES:
        entry = DATASETS.get(name)
        assert entry.where and entry.license and entry.papers and set(entry.counts) == set(entry.domains)


def test_mnist_and_usps_hold_what_they_say(data_root):
    task = load_task("mnist_usps/mnist->usps", data_root)
    assert len(task.sources[0]) == 2000 and len(task.target) == 1800 and task.n_classes == 10
    assert load_domain("mnist_usps", "usps", data_root, kind="image").x.shape == (1800, 16, 16, 1)


def test_whole_digits_in_their_authors_files(tmp_path):
    """Tiny files of the three layouts; nothing is downloaded."""
    place = tmp_path / "mnist_usps_svhn"
    raw = place / "MNIST" / "raw"
    raw.mkdir(parents=True)
    for part, n in (("train", 4), ("t10k", 2)):
        pixels = bytes(28 * 28 * n)
        (raw / f"{part}-images-idx3-ubyte").write_bytes(bytes.fromhex(f"00000803{n:08x}0000001c0000001c") + pixels)
        (raw / f"{part}-labels-idx1-ubyte").write_bytes(bytes.fromhex(f"00000801{n:08x}") + bytes(range(n)))
    line = " ".join(["3", *(f"{i + 1}:1.0" for i in range(256))]) + "\n"
    for name in ("usps.bz2", "usps.t.bz2"):
        (place / name).write_bytes(bz2.compress((line * 3).encode()))
    for name in ("train_32x32.mat", "test_32x32.mat"):
        savemat(place / name, {"X": np.full((32, 32, 3, 2), 9, np.uint8), "y": np.array([[10], [4]])})
    mnist, usps, svhn = (load_domain("mnist_usps_svhn", d, tmp_path, size=16) for d in ("mnist", "usps", "svhn"))
    assert mnist.x.shape == (4, 16, 16, 1) and len(mnist.test) == 2 and mnist.y.tolist() == [0, 1, 2, 3]
    assert usps.y.tolist() == [2, 2, 2] and bool((usps.x == 255).all())
    assert svhn.y.tolist() == [0, 4] and bool((svhn.x == 9).all())
    assert load_domain("mnist_usps_svhn", "usps", tmp_path, colour=True).x.shape == (3, 32, 32, 3)
    (place / "usps.bz2").unlink()
    with pytest.raises(DazooError, match=r"usps is not whole below .*; say download: true"):
        load_domain("mnist_usps_svhn", "usps", tmp_path)
