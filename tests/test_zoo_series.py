"""AdaTime's datasets and the 20 newsgroups: tiny trees of their layouts, awkward files, and what missing ones say."""

from __future__ import annotations

import warnings
from pathlib import Path

import numpy as np
import pytest
import torch

import dazoo
from dazoo.core.errors import DazooError, DazooWarning
from dazoo.data.registry import DATASETS, expand_tasks, load_domain, load_task
from dazoo.data.sets import newsgroups
from dazoo.engine.recipe import Recipe

SETS = {"har": ("HAR", 9, 128, 6), "hhar": ("HHAR", 3, 128, 6), "wisdm": ("WISDM", 3, 128, 6),
        "sleep": ("EEG", 1, 3000, 5)}  # fmt: skip


def write(root: Path, name: str, subject: str, n: int = 12, arrays: bool = False, **changes) -> Path:
    folder, channels, length, classes = SETS[name]
    place = root / "adatime" / folder
    place.mkdir(parents=True, exist_ok=True)
    for part in ("train", "test"):
        x = torch.randn(n, channels, length, generator=torch.Generator().manual_seed(n)) * 4 + 2
        held = {"samples": x, "labels": torch.arange(n) % classes, **changes}
        held = {k: v.numpy() if arrays and isinstance(v, torch.Tensor) else v for k, v in held.items()}
        torch.save(held, place / f"{part}_{subject}.pt")
    return place


@pytest.mark.parametrize("arrays", [False, True])
@pytest.mark.parametrize("name", sorted(SETS))
def test_the_files_of_adatime_load_with_their_official_test_part(name, arrays, tmp_path):
    entry = DATASETS.get(name)
    source, target = entry.pairs[0]
    for subject in (source, target):
        write(tmp_path, name, subject, arrays=arrays)
    task = load_task(f"{name}/{source}->{target}", tmp_path)
    assert task.target.x.shape == (12, *SETS[name][1:3]) and task.n_classes == SETS[name][3]
    assert task.target.test is not None and len(task.hidden().y) == 12
    assert torch.allclose(task.target.x.mean((0, 2)), torch.zeros(SETS[name][1]), atol=1e-5)
    assert torch.allclose(task.target.x.std((0, 2)), torch.ones(SETS[name][1]), atol=1e-5)
    plain = load_domain(name, source, tmp_path, normalise="none")
    assert plain.x.mean() > 1 and torch.equal(plain.y, torch.arange(12) % SETS[name][3])


def test_the_pairs_of_the_benchmark_are_what_wildcards_mean():
    for name in SETS:
        entry = DATASETS.get(name)
        assert len(set(entry.pairs)) == 10 and {s for pair in entry.pairs for s in pair} <= set(entry.domains)
        assert len(expand_tasks([f"{name}/*->*"])) == 10 and entry.where and entry.license and len(entry.papers) == 2
        with pytest.raises(DazooError, match=rf"{name} needs .*train_.*which is not there: get AdaTime's .*data root"):
            load_domain(name, entry.domains[1], Path("nowhere"))


def test_other_axes_are_understood_and_other_windows_refused(tmp_path):
    write(tmp_path, "har", "2", samples=torch.randn(12, 128, 9))
    write(tmp_path, "sleep", "0", samples=torch.randn(12, 3000), labels=torch.arange(12.0)[:, None] % 5)
    assert load_domain("har", "2", tmp_path).x.shape == (12, 9, 128)
    assert load_domain("sleep", "0", tmp_path).x.shape == (12, 1, 3000)
    for changes, said in (
        ({"samples": torch.randn(12, 9, 64)}, r"windows are \(9, 64\), not \(channels, length\) = \(9, 128\)"),
        ({"labels": torch.arange(12)}, "labels up to 11, which must be one each below 6"),
        ({"labels": torch.zeros(5)}, "12 windows have 5 labels"),
        ({"samples": "words"}, r"holds \['labels'\], not 'samples' and 'labels'"),
        ({"samples": Path("code")}, "what may be code is not loaded"),
        ({"samples": np.array([Path("code")], dtype=object)}, "what may be code is not loaded"),
    ):
        write(tmp_path, "har", "3", **changes)
        with pytest.raises(DazooError, match=said):
            load_domain("har", "3", tmp_path)
    (tmp_path / "adatime" / "HAR" / "train_3.pt").write_bytes(b"PK\x03\x04 cut off")
    with pytest.raises(DazooError, match="damaged"):
        load_domain("har", "3", tmp_path)


def test_a_network_for_series_runs_under_the_recipe_of_adatime(tmp_path):
    for subject in ("2", "11"):
        write(tmp_path, "har", subject)
    task = load_task("har/2->11", tmp_path)
    recipe = Recipe.named("adatime", steps=2, batch=4, body_norm="batch")
    for backbone in ("cnn1d", "tcn", "transformer1d"):
        model = dazoo.fit("deep_coral", task, recipe=recipe, backbone=backbone)
        assert 0 <= dazoo.evaluate(model, task)["macro_f1"] <= 1


# -- newsgroups ---------------------------------------------------------------------------------------------------

WORDS = {"comp": "disk driver pixel", "sci": "orbit cipher patient", "rec": "engine goal ride", "talk": "law war vote"}


def tree(root: Path, parts: tuple[str, ...] = newsgroups.PARTS, n: int = 3) -> None:
    for part in parts:
        for group in newsgroups.MESSAGES:
            place = root / part / group
            place.mkdir(parents=True, exist_ok=True)
            for i in range(n):
                text = f"From: someone\nNewsgroups: {group}\n\n{WORDS[group.split('.')[0]]} caf\xe9 {i}\n\nend"
                (place / str(100 + i)).write_bytes(text.encode("latin-1"))


@pytest.mark.parametrize("layout", ["newsgroups", "20news_home"])
def test_newsgroups_are_six_questions_whose_domains_share_no_group(layout, tmp_path, monkeypatch):
    monkeypatch.setattr(newsgroups, "_TOLD", set())
    tree(tmp_path / layout)
    with pytest.warns(DazooWarning, match="of .* messages here"):
        task = load_task("newsgroups/comp_sci_1->comp_sci_2", tmp_path)
    with warnings.catch_warnings():
        warnings.simplefilter("error")  # it is said once
        load_task("newsgroups/comp_sci_1->comp_sci_2", tmp_path)
    assert task.classes == ("comp", "sci") and len(task.target) == 30 and task.target.kind == "text"
    text = next(iter(task.sources[0].x))
    assert text == "disk driver pixel caf\xe9 0\n\nend"
    assert next(iter(load_domain("newsgroups", "comp_sci_1", tmp_path, headers=True).x)).startswith("From: someone")
    model = dazoo.fit("coral", task)
    assert model.encoding.name == "tfidf" and dazoo.evaluate(model, task)["accuracy"] == 1.0


def test_newsgroups_without_the_folders_of_the_split_and_the_whole_of_their_groups(tmp_path, monkeypatch):
    monkeypatch.setattr(newsgroups, "_TOLD", set())
    tree(tmp_path / "newsgroups", parts=(".",))
    with pytest.warns(DazooWarning, match="messages here"):
        assert len(load_domain("newsgroups", "rec_talk_2", tmp_path)) == 12
    entry = DATASETS.get("newsgroups")
    for source, target in entry.pairs:
        first, second = set(newsgroups.groups(source)), set(newsgroups.groups(target))
        tops = set(source.split("_")[:2])
        assert not first & second and {g.split(".")[0] for g in first} == tops == {g.split(".")[0] for g in second}
        assert first | second == {g for g in newsgroups.MESSAGES if g.split(".")[0] in tops}
    assert len(expand_tasks(["newsgroups/*->*"])) == 6


def test_newsgroups_that_are_missing_are_one_sentence(tmp_path):
    with pytest.raises(DazooError, match=r"newsgroups needs .*which is not there: get the archive .*data root"):
        load_domain("newsgroups", "rec_sci_1", tmp_path)
    (tmp_path / "newsgroups" / newsgroups.PARTS[0] / "rec.autos").mkdir(parents=True)
    with pytest.raises(DazooError, match=r"rec\.autos, and there are none"):
        load_domain("newsgroups", "rec_sci_1", tmp_path)
    before = DATASETS.get("newsgroups").content(tmp_path)
    tree(tmp_path / "newsgroups", n=1)
    assert DATASETS.get("newsgroups").content(tmp_path) != before
