"""The datasets that come with the package or lie under the data root: contents, determinism, published numbers."""

from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from dazoo.core.errors import DazooError, UnknownName
from dazoo.data import transform
from dazoo.data.domain import Domain
from dazoo.data.registry import DATASETS, cache_root, data_root, expand_tasks, load_domain, load_task
from dazoo.data.sets import digits, office_caltech10


def real_data(folder: str) -> Path:
    """The data root, or skip."""
    root = os.environ.get("DAZOO_DATA")
    if not root or not (Path(root) / folder).is_dir():
        pytest.skip(f"needs real data: set DAZOO_DATA to a folder that holds {folder}/")
    return Path(root)


# -- digits -------------------------------------------------------------------------------------------------------


def test_no_digit_stands_in_two_domains():
    parts = [digits.rows(d) for d in digits.DOMAINS]
    assert np.array_equal(np.sort(np.concatenate(parts)), np.arange(1797))
    images, _ = digits._raw()
    assert len(np.unique(images.reshape(1797, -1), axis=0)) == 1797  # so distinct rows are distinct images


def test_digit_parts_are_stratified():
    counts = torch.stack([torch.bincount(load_domain("digits", d).y, minlength=10) for d in digits.DOMAINS])
    assert int((counts.amax(0) - counts.amin(0)).max()) <= 1


@pytest.mark.parametrize("kind", ["vector", "image"])
@pytest.mark.parametrize("domain", digits.DOMAINS)
def test_digit_domains_are_deterministic_and_in_range(domain: str, kind: str):
    one, two = (load_domain("digits", domain, kind=kind) for _ in range(2))
    assert one.fingerprint == two.fingerprint
    if kind == "image":
        assert one.x.dtype == torch.uint8 and one.x.shape[1:] == (8, 8, 1)
    else:
        assert one.x.dtype == torch.float32 and one.x.shape[1:] == (64,)
        assert float(one.x.min()) >= 0.0 and float(one.x.max()) <= 1.0
    assert load_domain("digits", domain, kind=kind, data_seed=1).fingerprint != one.fingerprint


def test_digit_operations_do_what_they_say():
    images, _ = digits._raw()
    clean = {d: images[digits.rows(d)].reshape(-1, 64) for d in digits.DOMAINS}
    got = {d: load_domain("digits", d).x.double().numpy() for d in digits.DOMAINS}
    assert np.allclose(got["upright"], clean["upright"])
    assert np.allclose(got["inverted"], 1 - clean["inverted"])
    for d in ("rotated", "noisy", "blurred", "scaled"):
        moved = np.abs(got[d] - clean[d]).mean()
        assert 0.02 < moved < 0.25, d
        assert np.corrcoef(got[d].ravel(), clean[d].ravel())[0, 1] > 0.5, d
    assert got["scaled"].reshape(-1, 8, 8)[:, [0, -1]].mean() < 0.1 * got["scaled"].mean()


# -- real data ----------------------------------------------------------------------------------------------------


def test_surf_with_1nn_gives_the_published_row():
    from sklearn.neighbors import KNeighborsClassifier

    root = real_data("office_caltech10/surf")
    loaded = {
        d: transform.apply(load_domain("office_caltech10", d, root), ["row_sum", "zscore"])
        for d in office_caltech10.DOMAINS
    }
    published = {
        "caltech10->amazon": 23.70,
        "caltech10->webcam": 25.76,
        "caltech10->dslr": 25.48,
        "amazon->caltech10": 26.00,
        "amazon->webcam": 29.83,
        "amazon->dslr": 25.48,
        "webcam->caltech10": 19.86,
        "webcam->amazon": 22.96,
        "webcam->dslr": 59.24,
        "dslr->caltech10": 26.27,
        "dslr->amazon": 28.50,
        "dslr->webcam": 63.39,
    }
    assert {t.partition("/")[2] for t in expand_tasks(["office_caltech10/*->*"])} == set(published)
    got = {}
    for pair in published:
        s, t = (loaded[d] for d in pair.split("->"))
        nearest = KNeighborsClassifier(1).fit(s.x.numpy(), s.y.numpy())
        got[pair] = 100 * nearest.score(t.x.numpy(), t.y.numpy())
    assert {k: round(v, 2) for k, v in got.items()} == published
    assert round(float(np.mean(list(got.values()))), 2) == 31.37


def test_photographs_agree_with_the_surf_labels(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    root = real_data("office_caltech10/images")
    monkeypatch.setenv("DAZOO_CACHE", str(tmp_path))
    photos = load_domain("office_caltech10", "dslr", root, features="images", image_size=32)
    surf = load_domain("office_caltech10", "dslr", root)
    assert photos.kind == "image" and photos.x.shape == (157, 32, 32, 3) and photos.x.dtype == torch.uint8
    assert torch.equal(torch.bincount(photos.y), torch.bincount(surf.y)) and photos.classes == surf.classes
    assert 20 < photos.x.float().mean() < 235


def test_amazon_reviews_have_their_official_test_part():
    root = real_data("amazon_reviews")
    books = load_domain("amazon_reviews", "books", root)
    assert books.x.shape == (2000, 5000) and books.x.dtype == torch.float32 and len(books.test) == 4465
    assert books.classes == ("negative", "positive") and torch.bincount(books.y).tolist() == [1000, 1000]
    scaled = transform.apply(books, ["zscore"])
    assert bool(torch.isfinite(scaled.test.x).all()) and not torch.allclose(scaled.test.x.mean(0), torch.zeros(5000))


@pytest.mark.parametrize(
    ("name", "options"),
    [("office_caltech10", {}), ("office_caltech10", {"features": "images"}), ("amazon_reviews", {})],
)
def test_a_missing_data_root_is_named_with_the_remedy(name: str, options: dict[str, str], tmp_path: Path):
    entry = DATASETS.get(name)
    with pytest.raises(DazooError, match="DAZOO_DATA") as caught:
        load_domain(name, entry.domain_names(tmp_path)[0], tmp_path, **options)
    assert str(tmp_path) in str(caught.value)


def test_a_damaged_file_is_named(tmp_path: Path):
    for path in ("office_caltech10/surf/dslr.mat", "amazon_reviews/books_train.svmlight.gz"):
        (tmp_path / path).parent.mkdir(parents=True)
        (tmp_path / path).write_bytes(b"not what it should be")
    with pytest.raises(DazooError, match=r"dslr\.mat is damaged"):
        load_domain("office_caltech10", "dslr", tmp_path)
    with pytest.raises(DazooError, match=r"books_train\.svmlight\.gz is damaged"):
        load_domain("amazon_reviews", "books", tmp_path)


# -- names --------------------------------------------------------------------------------------------------------


def test_unknown_names_list_the_nearest():
    with pytest.raises(UnknownName, match="did you mean 'digits'"):
        load_domain("digitz", "upright")
    with pytest.raises(UnknownName, match="did you mean 'rotated'"):
        load_domain("digits", "rotate")
    with pytest.raises(UnknownName, match="did you mean 'kind'"):
        load_domain("digits", "upright", kid="image")
    with pytest.raises(DazooError, match="must be one of vector, image"):
        load_domain("digits", "upright", kind="text")
    with pytest.raises(DazooError, match="not of the form"):
        load_task("digits/upright")
    with pytest.raises(DazooError, match="matches nothing"):
        expand_tasks(["digits/x*->upright"])


def test_unknown_domains_in_plain_and_wildcard_names():
    with pytest.raises(UnknownName, match="no domain 'upriht': did you mean 'upright'"):
        expand_tasks(["digits/upriht->noisy"])
    with pytest.raises(UnknownName, match="did you mean 'digits'"):
        expand_tasks(["digit/*->noisy"])
    with pytest.raises(DazooError, match="twice"):
        expand_tasks(["digits/noisy->noisy"])
    assert expand_tasks(["digits/upright+noisy->blurred"]) == ["digits/upright+noisy->blurred"]


def test_roots_come_from_the_argument_then_the_environment(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("DAZOO_DATA", "/somewhere/data")
    monkeypatch.setenv("DAZOO_CACHE", "~/cache")
    assert data_root(tmp_path) == tmp_path and data_root() == Path("/somewhere/data")
    assert cache_root() == Path.home() / "cache"
    monkeypatch.delenv("DAZOO_DATA")
    monkeypatch.delenv("DAZOO_CACHE")
    assert data_root().parent == cache_root().parent and data_root() != cache_root()


def test_wildcards_expand_in_the_order_of_the_domains():
    assert expand_tasks(["digits/*->upright"])[:2] == ["digits/rotated->upright", "digits/inverted->upright"]
    assert len(expand_tasks(["digits/*->*", "digits/upright->noisy"])) == 30


# -- transforms ---------------------------------------------------------------------------------------------------


def vectors(x: object, test: object = None) -> Domain:
    data = torch.as_tensor(x, dtype=torch.float64)
    part = None if test is None else vectors(test)
    return replace(Domain("d", data, torch.arange(len(data)) % 2, ("a", "b")), test=part)


def test_zscore_uses_the_training_part_and_leaves_constants_at_zero():
    done = transform.apply(vectors([[1.0, 0.1, 5], [2, 0.1, 5], [6, 0.1, 5]], [[3.0, 9, 5]]), ["zscore"])
    std = np.std([1, 2, 6], ddof=1)
    assert torch.allclose(done.x[:, 0], torch.tensor([-2.0, -1, 3], dtype=torch.float64) / std)
    assert done.test.x.tolist() == [[0.0, 0.0, 0.0]] and not done.x[:, 1:].any()
    assert not transform.apply(vectors([[1.0, 2.0]]), ["zscore"]).x.any()


def test_the_other_transforms():
    x = vectors([[1.0, 3.0], [0.0, 0.0], [2.0, 2.0]], [[10.0, 1.0]])
    assert transform.apply(x, ["row_sum"]).x.tolist() == [[0.25, 0.75], [0, 0], [0.5, 0.5]]
    assert torch.allclose(transform.apply(x, "unit_norm").x.norm(dim=1), torch.tensor([1.0, 0, 1]).double())
    assert torch.allclose(transform.apply(x, ["log1p"]).x, (1 + x.x).log())
    scaled = transform.apply(x, ["scale"])
    assert scaled.x[:, 0].tolist() == [0.5, 0.0, 1.0] and scaled.test.x[0, 0] == 1.0
    assert transform.apply(x, []) is x


@pytest.mark.parametrize("name", transform.OF_DOMAIN)
def test_transforms_stay_finite_and_keep_labels_and_precision(name: str):
    gen = torch.Generator().manual_seed(0)
    x = torch.rand(5, 4, generator=gen, dtype=torch.float32)
    x[:, 0], x[2] = 0.1, 0.0
    d = Domain("d", x, torch.tensor([0, 1, 0, 1, 0]), ("a", "b"))
    done = transform.apply(replace(d, test=replace(d, x=x + 1)), [name])
    assert done.x.dtype == torch.float32 and bool(torch.isfinite(done.x).all() and torch.isfinite(done.test.x).all())
    assert done.y is d.y and torch.equal(done.test.y, d.y)
    alone = transform.apply(d, [name])
    assert torch.equal(alone.x, done.x)  # the test part has no say


def test_transforms_refuse_what_they_cannot_do():
    with pytest.raises(UnknownName, match="did you mean 'zscore'"):
        transform.apply(vectors([[1.0]]), ["z_score"])
    for name in ("row_sum", "log1p"):
        with pytest.raises(DazooError, match="negative"):
            transform.apply(vectors([[-1.0, 2.0]]), [name])
    with pytest.raises(DazooError, match="frozen features"):
        transform.apply(load_domain("digits", "upright", kind="image"), ["zscore"])
