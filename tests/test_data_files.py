"""Loaders for a user's own files: image folders, .npz arrays and tables."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from PIL import Image

from dazoo.core.errors import DazooError, UnknownName
from dazoo.data.registry import DATASETS, expand_tasks, load_domain, load_task

RNG = np.random.default_rng(0)
COLOURS = {"blue": (10, 20, 240), "red": (240, 20, 10), "green": (10, 240, 20)}


@pytest.fixture(autouse=True)
def own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DAZOO_CACHE", str(tmp_path / "cache"))


def image(path: Path, colour: tuple[int, int, int], size: tuple[int, int] = (20, 12)) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("RGB", size, colour).save(path)


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    """Two labelled domains with the classes red and blue, and an unlabelled one."""
    root = tmp_path / "photos"
    for domain in ("day", "night"):
        for name in ("red", "blue"):
            for i in range(3):
                image(root / domain / name / f"{i}.png", COLOURS[name])
    for i in range(2):
        image(root / "dusk" / f"{i}.jpg", COLOURS["red"])
    (root / "day" / "red" / "notes.txt").write_text("no image")
    (root / "day" / ".hidden").mkdir()
    return root


# -- folders ------------------------------------------------------------------------------------------------------


def test_folder(photos: Path):
    day = load_domain("folder", "day", path=str(photos), image_size=8)
    assert day.classes == ("blue", "red") and day.y.tolist() == [0, 0, 0, 1, 1, 1] and day.x.shape == (6, 8, 8, 3)
    for row, c in zip(day.x, day.y):
        assert torch.equal(row.unique(dim=0)[0, 0], torch.tensor(COLOURS[day.classes[c]], dtype=torch.uint8))
    dusk = load_domain("folder", "dusk", path=str(photos), image_size=8)
    assert dusk.y is None and len(dusk) == 2
    assert expand_tasks(["folder/*->night"], path=str(photos)) == ["folder/day->night", "folder/dusk->night"]
    task = load_task("folder/day->dusk", path=str(photos), image_size=8)
    assert len(task.seen().target) == 2 and task.hidden().y is None


def test_folder_is_found_below_the_data_root(photos: Path):
    assert len(load_domain("folder", "day", photos.parent, path="photos", image_size=8)) == 6


def test_folder_errors(photos: Path, tmp_path: Path):
    with pytest.raises(DazooError, match="needs the option path"):
        load_domain("folder", "day")
    with pytest.raises(DazooError, match=r"finds no nowhere, neither .* correct the option path"):
        load_domain("folder", "day", tmp_path, path="nowhere")
    with pytest.raises(UnknownName, match="did you mean 'night'"):
        load_domain("folder", "nigt", path=str(photos))
    (tmp_path / "empty").mkdir()
    with pytest.raises(DazooError, match="holds no domain"):
        load_domain("folder", "day", path=str(tmp_path / "empty"))
    (photos / "dawn" / "red").mkdir(parents=True)
    with pytest.raises(DazooError, match="dawn holds no image"):
        load_domain("folder", "dawn", path=str(photos))
    (photos / "a+b").mkdir()
    with pytest.raises(DazooError, match="rename it"):
        load_domain("folder", "day", path=str(photos))
    with pytest.raises(DazooError, match="is a file"):
        load_domain("folder", "day", path=str(photos / "day" / "red" / "notes.txt"))


def test_folder_names_the_unreadable_image(photos: Path):
    (photos / "day" / "red" / "1.png").write_bytes(b"not an image")
    with pytest.raises(DazooError, match=r"cannot read the image .*day/red/1\.png .*replace the file or remove it"):
        load_domain("folder", "day", path=str(photos), image_size=8)


def test_folders_with_other_classes(photos: Path):
    image(photos / "night" / "green" / "0.png", COLOURS["green"])
    with pytest.raises(DazooError, match=r"closed-set.*\['green'\]"):
        load_task("folder/day->night", path=str(photos), image_size=8)
    common = load_task("folder/day->night", path=str(photos), image_size=8, classes="common")
    assert common.classes == ("blue", "red") and len(common.target) == 6
    union = load_domain("folder", "day", path=str(photos), image_size=8, classes="union")
    assert union.classes == ("blue", "green", "red") and union.y.tolist() == [0, 0, 0, 2, 2, 2]
    with pytest.raises(DazooError, match="same, common, union"):
        load_domain("folder", "day", path=str(photos), classes="all")


# -- arrays -------------------------------------------------------------------------------------------------------


def npz(path: Path, **arrays: Any) -> str:
    np.savez(path, **arrays)
    return str(path)


def test_npz_by_domain(tmp_path: Path):
    x = RNG.standard_normal((6, 3))
    path = npz(
        tmp_path / "a.npz",
        old_x=x,
        old_y=np.array([3, 10, 3, 10, 3, 10]),
        new_x=x + 1,
        new_y=np.array([10, 10, 10, 3, 3, 3]),
        new_x_test=x + 2,
        new_y_test=np.array([3] * 6),
        bare_x=x,
    )
    task = load_task("npz/old->new", path=path)
    assert task.classes == ("3", "10") and task.sources[0].y.tolist() == [0, 1] * 3
    assert torch.equal(task.hidden().x, torch.from_numpy(x + 2)) and task.hidden().y.tolist() == [0] * 6
    assert load_domain("npz", "bare", path=path).y is None
    assert expand_tasks(["npz/old->*"], path=path) == ["npz/old->bare", "npz/old->new"]


def test_npz_all_together(tmp_path: Path):
    x = np.arange(24, dtype=np.int64).reshape(8, 3)
    path = npz(tmp_path / "a.npz", x=x, y=np.array(list("abababab")), domain=np.array([0] * 4 + [1] * 4))
    one = load_domain("npz", "1", path=path)
    assert one.x.tolist() == x[4:].tolist() and one.x.dtype == torch.float64 and one.classes == ("a", "b")


def test_npz_kinds_and_targets(tmp_path: Path):
    y = np.array([0, 1, 0, 1])
    path = npz(
        tmp_path / "a.npz",
        im_x=np.zeros((4, 5, 5, 3), np.uint8),
        im_y=y,
        wave_x=np.zeros((4, 2, 9), np.float32),
        wave_y=y,
        none_x=np.zeros((4, 2)),
        none_y=np.full(4, np.nan),
    )
    assert (
        load_domain("npz", "im", path=path).kind == "image" and load_domain("npz", "wave", path=path).kind == "series"
    )
    assert load_domain("npz", "none", path=path).y is None
    assert load_domain("npz", "im", path=path, targets="values").regression
    fractions = npz(tmp_path / "b.npz", a_x=np.zeros((4, 2)), a_y=y + 0.5, b_x=np.zeros((4, 2)), b_y=y)
    assert load_task("npz/a->b", path=fractions).regression
    assert DATASETS.get("npz").targets_under({"targets": "values"}) == "values"
    assert DATASETS.get("npz").targets_under({}) == DATASETS.get("digits").targets_under({"targets": "values"})


@pytest.mark.parametrize(
    ("arrays", "says"),
    [
        ({"a_x": np.array([[1.0], [np.nan]]), "a_y": np.array([0, 1])}, "1 of 2 samples hold NaN"),
        ({"a_x": np.zeros((2, 1)), "a_y": np.array([0, 1, 1])}, "'a' has 2 samples"),
        ({"a_x": np.zeros(2), "a_y": np.array([0, 1])}, "must be numbers"),
        ({"a_x": np.array([["u"], ["v"]]), "a_y": np.array([0, 1])}, "must be numbers"),
        ({"a_x": np.zeros((0, 3)), "a_y": np.zeros(0, int)}, "'a' is empty"),
        ({"a_x": np.zeros((2, 1)), "a_y": np.array([0.5, np.inf])}, "labels of 'a' hold infinite values in 1 of 2"),
        ({"a_x": np.zeros((2, 1)), "a_y": np.array([0, 1]), "a_few": np.array([2])}, "the target has the rows 0 to 1"),
        ({"x": np.zeros((2, 1)), "y": np.array([0, 1])}, "it needs 'domain'"),
        ({"other": np.zeros(3)}, "holds no domain"),
    ],
)
def test_npz_errors(arrays: dict[str, np.ndarray], says: str, tmp_path: Path):
    with pytest.raises(DazooError, match=says):
        load_domain("npz", "a", path=npz(tmp_path / "a.npz", **arrays))


def test_npz_that_is_none(tmp_path: Path):
    (tmp_path / "a.npz").write_bytes(b"nothing")
    with pytest.raises(DazooError, match=r"a\.npz is damaged"):
        load_domain("npz", "a", path=str(tmp_path / "a.npz"))
    with pytest.raises(DazooError, match="is a folder"):
        load_domain("npz", "a", path=str(tmp_path))
    path = npz(tmp_path / "t.npz", a_x=np.zeros((2, 1)), a_y=np.array(["u", "v"]))
    with pytest.raises(DazooError, match="targets: classes"):
        load_domain("npz", "a", path=path, targets="values")


# -- tables -------------------------------------------------------------------------------------------------------


def frame() -> pd.DataFrame:
    return pd.DataFrame(
        {
            "height": [1.0, 2.0, 3.0, 4.0, 5.0, 6.0],
            "label": ["no", "yes", "no", "yes", "no", "yes"],
            "old": [True, False, True, False, True, False],
            "domain": [2023, 2023, 2023, 2024, 2024, 2024],
        }
    )


def csv(path: Path, table: pd.DataFrame) -> str:
    table.to_csv(path, index=False)
    return str(path)


def test_table(tmp_path: Path):
    path = csv(tmp_path / "a.csv", frame())
    task = load_task("table/2023->2024", path=path)
    assert task.classes == ("no", "yes") and task.sources[0].y.tolist() == [0, 1, 0]
    assert task.target.x.tolist() == [[4.0, 0.0], [5.0, 1.0], [6.0, 0.0]] and task.target.x.dtype == torch.float64
    frame().to_parquet(tmp_path / "a.parquet")
    frame().to_csv(tmp_path / "a.tsv", index=False, sep="\t")
    for other in ("a.parquet", "a.tsv"):
        same = load_domain("table", "2024", tmp_path, path=other)
        assert same.fingerprint == task.target.fingerprint
    assert expand_tasks(["table/*->*"], path=path) == ["table/2023->2024", "table/2024->2023"]


def test_table_with_nullable_and_categorical_columns(tmp_path: Path):
    table = frame().astype({"height": "Float64", "old": "boolean", "domain": "Int64"})
    table.assign(label=pd.array([0, 1, 0, 1, 0, 1], dtype="Int64")).to_parquet(tmp_path / "a.parquet")
    table.assign(label=table["label"].astype("category")).to_parquet(tmp_path / "b.parquet")
    plain = load_domain("table", "2024", path=csv(tmp_path / "a.csv", frame()))
    for name, classes in (("a.parquet", ("0", "1")), ("b.parquet", ("no", "yes"))):
        got = load_domain("table", "2024", path=str(tmp_path / name))
        assert torch.equal(got.x, plain.x) and torch.equal(got.y, plain.y) and got.classes == classes


def test_table_is_read_again_after_a_change(tmp_path: Path):
    path = csv(tmp_path / "a.csv", frame())
    before = load_domain("table", "2023", path=path)
    csv(tmp_path / "a.csv", frame().assign(height=10.5))
    assert before.x[0, 0] == 1.0 and load_domain("table", "2023", path=path).x[0, 0] == 10.5


def test_table_columns_and_targets(tmp_path: Path):
    table = frame().rename(columns={"label": "outcome", "domain": "year"}).assign(id=list("uvwxyz"))
    names = {"label_column": "outcome", "domain_column": "year"}
    path = csv(tmp_path / "a.csv", table)
    assert load_domain("table", "2023", path=path, drop=["id"], **names).x.shape == (3, 2)
    assert load_domain("table", "2023", path=path, drop="id", **names).x.shape == (3, 2)
    hot = load_domain("table", "2023", path=path, text="one_hot", **names)
    assert hot.x.shape == (3, 8) and hot.x[:, 2:].sum(1).tolist() == [1.0] * 3
    real = load_task("table/2023->2024", path=csv(tmp_path / "r.csv", frame().assign(label=np.arange(6) + 0.5)))
    assert real.regression and real.hidden().y.tolist() == [3.5, 4.5, 5.5]
    half = frame().assign(label=[0, 1, 0, None, None, None])
    task = load_task("table/2023->2024", path=csv(tmp_path / "h.csv", half))
    assert task.target.y is None and task.classes == ("0", "1")


@pytest.mark.parametrize(
    ("changes", "options", "says"),
    [
        ({"height": [1, 2, None, 4, 5, 6]}, {"text": "refuse"}, "missing in the column 'height'; impute"),
        ({"height": [1, 2, np.inf, 4, 5, 6]}, {}, "infinite in the column 'height'"),
        ({"city": list("abcdef")}, {"text": "refuse"}, "not numeric: the column 'city'.*text: one_hot"),
        ({"domain": [2023, 2023, None, 2024, 2024, 2024]}, {}, "1 rows have no value in the domain column 'domain'"),
        ({}, {"label_column": "lable"}, "no column 'lable': did you mean 'label'"),
        ({}, {"domain_column": "domein"}, "no column 'domein': did you mean 'domain'"),
        ({}, {"drop": ["hight"]}, "no column 'hight': did you mean 'height'"),
        ({}, {"drop": ["height", "old"]}, "no feature column"),
        ({}, {"text": "guess"}, "auto, refuse, one_hot"),
        ({}, {"targets": "values"}, "targets: classes"),
        ({}, {"targets": "numbers"}, "auto, classes, values"),
    ],
)
def test_table_errors(changes: dict[str, Any], options: dict[str, Any], says: str, tmp_path: Path):
    with pytest.raises(DazooError, match=says):
        load_domain("table", "2023", path=csv(tmp_path / "a.csv", frame().assign(**changes)), **options)


def test_a_table_with_some_labels_is_a_target_and_no_source(tmp_path: Path):
    path = csv(tmp_path / "a.csv", frame().assign(label=["no", "yes", "no", None, "yes", None]))
    task = load_task("table/2023->2024", path=path, setting="few_labels")
    assert task.few_rows.tolist() == [1] and task.classes == ("no", "yes")  # "no" has no label in the target
    few = task.seen().few
    assert few.y.tolist() == [1] and torch.equal(few.x, task.target.x[1:2]) and len(task.seen().target) == 2
    assert task.hidden().y is None and task.change(setting="unsupervised").hidden().y.tolist() == [1]
    with pytest.raises(DazooError, match=r"source '2024'.*2 of 3 labels are missing.*first in row 0.*label or remove"):
        load_task("table/2024->2023", path=path)


def test_a_stated_value_means_unlabelled_in_files(tmp_path: Path):
    path = csv(tmp_path / "a.csv", frame().assign(label=[0, 1, 0, -1, 1, -1]))
    assert load_task("table/2023->2024", path=path, unlabelled=-1).few_rows.tolist() == [1]
    x, y = RNG.standard_normal((4, 2)), np.array([0.5, 1.5, 2.5, 3.5])
    values = np.array([np.nan, 0.5, 99.0, 1.5])
    path = npz(tmp_path / "a.npz", a_x=x, a_y=y, b_x=x, b_y=values, c_x=x, c_y=y, c_few=np.array([True, False] * 2))
    part = load_task("npz/a->b", path=path, unlabelled=99, setting="few_labels")
    assert part.few_rows.tolist() == [1, 3] and part.seen().few.y.tolist() == [0.5, 1.5] and part.hidden().y is None
    chosen = load_task("npz/a->c", path=path, setting="few_labels")
    assert chosen.seen().few.y.tolist() == [0.5, 2.5] and chosen.hidden().y.tolist() == [1.5, 3.5]
    assert chosen.change(setting="unsupervised").hidden().y.tolist() == [1.5, 3.5]


def test_a_column_says_which_labels_are_seen(tmp_path: Path):
    path = csv(tmp_path / "a.csv", frame().assign(label=list("nynyny"), shown=[0, 0, 0, 1, 0, 1]))
    options = {"path": path, "few_column": "shown", "setting": "few_labels"}
    task = load_task("table/2023->2024", **options)
    assert task.few_rows.tolist() == [0, 2] and task.seen().few.y.tolist() == [1, 1] and task.hidden().y.tolist() == [0]
    assert task.change(setting="unsupervised").hidden().y.tolist() == [0]
    plain = load_task("table/2023->2024", path=path, drop=["shown"])
    assert torch.equal(plain.target.x, task.target.x) and plain.few_rows is None
    csv(tmp_path / "a.csv", frame().assign(label=list("nynyny"), shown=[0, 0, 0, 2, 0, 1]))
    with pytest.raises(DazooError, match="'shown' must be 0 or 1"):
        load_task("table/2023->2024", **options)
    csv(tmp_path / "a.csv", frame().assign(label=["n", "y"] * 2 + [None, "y"], shown=[0, 0, 0, 0, 1, 0]))
    with pytest.raises(DazooError, match="few must name rows that have a label"):
        load_task("table/2023->2024", **options)


def test_images_beside_class_folders_have_no_label(photos: Path):
    image(photos / "night" / "new.png", COLOURS["red"])
    task = load_task("folder/day->night", path=str(photos), image_size=8, setting="few_labels")
    assert task.few_rows.tolist() == [0, 1, 2, 3, 4, 5] and len(task.target) == 7 and len(task.seen().target) == 1
    with pytest.raises(DazooError, match=r"source 'night'.*1 of 7 labels are missing"):
        load_task("folder/night->day", path=str(photos), image_size=8)


def test_tables_that_are_none(tmp_path: Path):
    for name, says in (("a.parquet", "damaged"), ("a.xlsx", r"no \.csv"), ("a.csv", "a.csv is empty")):
        (tmp_path / name).write_bytes(b"" if name == "a.csv" else b"PK not a table")
        with pytest.raises(DazooError, match=says):
            load_domain("table", "a", path=str(tmp_path / name))


def test_tables_with_no_common_class(tmp_path: Path):
    path = csv(tmp_path / "a.csv", frame().assign(label=list("aabccd")))
    with pytest.raises(DazooError, match="no class in common"):
        load_domain("table", "2023", path=path, classes="common")
    with pytest.raises(DazooError, match="no source has a sample"):
        load_task("table/2023->2024", path=path, classes="union")
