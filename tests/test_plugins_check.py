"""``dazoo new-method`` and ``dazoo check``: what is written runs, and each broken promise is found and explained."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from dazoo.cli.check import find_class
from dazoo.cli.new_method import class_name, new_method
from dazoo.contracts import CONTRACTS, check_method
from dazoo.contracts.runner import _try
from dazoo.core.errors import DazooError, UnknownName
from dazoo.methods.base import METHODS, Method
from tests.test_cli import dazoo

BY_NAME = {c.name: c for c in CONTRACTS}


@pytest.fixture(autouse=True)
def registry() -> Iterator[None]:
    """Leaves the registry as it was."""
    METHODS.discover()
    before = dict(METHODS._items)
    yield
    METHODS._items.clear()
    METHODS._items.update(before)


@pytest.mark.parametrize("kind", ["gradient", "shallow"])
def test_a_new_method_keeps_every_promise(kind: str, tmp_path: Path) -> None:
    path = new_method("brand_new", "moment", kind, tmp_path / "deeper")
    cls = find_class(f"{path}:BrandNew")
    assert cls.family == "moment" and cls.paper.url.startswith("https://")
    outcomes = check_method(cls)
    assert [o.message for o in outcomes if o.status == "failed"] == []
    assert {o.contract.name for o in outcomes if o.status == "skipped"} == (
        {"all_classes", "unknown", "source_gone", "source_labels", "black_box", "unseen_target", "budget"}
        | {"later_batches", "episodes", "still", "stream_continues"}
        | (set() if kind == "gradient" else {"weight_zero", "terms", "stacked", "continues"})
    )


def test_new_method_prints_the_next_commands_and_overwrites_nothing(tmp_path: Path) -> None:
    done = dazoo("new-method", "brand_new", "--family", "moment", "--out", str(tmp_path))
    path = tmp_path / "brand_new.py"
    assert f"dazoo check {path}:BrandNew" in done.stdout and f"--methods source_only,{path}" in done.stdout
    path.write_text("mine\n")
    again = dazoo("new-method", "brand_new", "--family", "moment", "--out", str(tmp_path), ok=False)
    assert again.returncode == 2 and "is left as it is" in again.stderr and path.read_text() == "mine\n"
    for name, family in (("Brand-New", "moment"), ("class", "moment"), ("new", "my family"), ("dann", "moment")):
        with pytest.raises(DazooError):
            new_method(name, family, "gradient", tmp_path)
    with pytest.raises(UnknownName, match=r"unknown family 'momnt': did you mean 'moment'"):
        new_method("brand", "momnt", "gradient", tmp_path)
    assert sorted(p.name for p in tmp_path.iterdir()) == ["brand_new.py"]


def broken(tmp_path: Path, kind: str, old: str, new: str) -> type[Method]:
    """The class of a new method's file in which a fault is planted."""
    path = new_method("faulty", "moment", kind, tmp_path)
    text = path.read_text()
    assert text.count(old) >= 1
    path.write_text(text.replace(old, new))
    return find_class(f"{path}:{class_name('faulty')}")


FAULTS = [
    ("weight_zero", "gradient", "self.trade_off * means", "means", "trade_off = 0 must give exactly source_only's"),
    ("weight_zero", "gradient", "(fs.mean(0) - ft.mean(0))", "0 * ft.mean(0)", "the adaptation moves nothing"),
    ("knobs", "gradient", "self.trade_off * means", "means", "turning trade_off from 1.0 to 0.1 or 10.0 leaves the"),
    ("knobs", "shallow", "self.amount * (", "1.0 * (", "turning amount from 1.0 to 0.1 leaves the model as it is"),
    ("terms", "gradient", ".square().sum()", ".square().sum().detach()", "no gradient comes from 'means' of losses"),
    ("same_seed", "gradient", "self.trade_off * means", "__import__('time').time() % 1 * means", "not the same model"),
    ("stacked", "gradient", ".square().sum()", ".square().sum() * (1 if fs.sum().item() else 2)", "stackable = False"),
    ("sampled", "gradient", "means = (", "assert self.trade_off < 2\n        means = (", "drawn from the declared"),
    ("fits", "gradient", "means = (", "means = [][3] + (", "faulty raises IndexError in losses, line"),
    ("documented", "gradient", "weight of the distance of the means", "", "faulty.trade_off has no help"),
    ("documented", "gradient", "https://", "http://", "must start with https://"),
    ("documented", "shallow", "Evidence:", "", "has no line 'Evidence:'"),
    ("fits", "gradient", "* means}", '* means}["cls"]', "returns a tensor of shape (); it must return a dictionary"),
    ("fits", "gradient", ".square().sum()", ".square()", "the term 'means' has the shape ("),
    (
        "fits",
        "gradient",
        ".square().sum()",
        ".square().sum().item()",
        "the term 'means' is a float, not a tensor; .item()",
    ),
    ("fits", "gradient", "net.head(fs)", "net.haed(fs)", "has no part 'haed': did you mean 'head'"),
    ("fits", "gradient", "fs, ft = net.features(b.xs", "b.yt; fs, ft = net.features(b.xs", "'yt'; the target's labels"),
    ("fits", "gradient", "net.features(b.xs", "net.features(b.sx", "has no field 'sx': did you mean"),
    ("fits", "gradient", ".square().sum()", ".square().sum().mul(0).log()", "not finite at step 0, before any"),
    (
        "awkward_data",
        "shallow",
        "return Aligned(",
        "assert xs.std(0).min() > 1e-9\n        return Aligned(",
        "a constant",
    ),
]


@pytest.mark.parametrize(("contract", "kind", "old", "new", "words"), FAULTS)
def test_a_broken_promise_is_found_and_explained(
    contract: str, kind: str, old: str, new: str, words: str, tmp_path: Path
) -> None:
    outcome = _try(BY_NAME[contract], broken(tmp_path, kind, old, new))
    assert outcome.status == "failed" and words in outcome.message


def test_one_crash_is_told_once(tmp_path: Path) -> None:
    outcomes = check_method(broken(tmp_path, "gradient", "net.head(fs)", "net.haed(fs)"))
    failed = [o for o in outcomes if o.status == "failed"]
    assert [o.contract.name for o in failed] == ["fits"] and "in losses, line" in failed[0].message
    again = [o for o in outcomes if o.message == "the same crash as in fits"]
    assert {"same_seed", "knobs", "weight_zero", "saves"} <= {o.contract.name for o in again}


def test_global_random_numbers_are_not_taken_for_labels(tmp_path: Path) -> None:
    noise = "__import__('numpy').random.rand() * means"
    outcomes = {o.contract.name: o for o in check_method(broken(tmp_path, "gradient", "* means", "* " + noise))}
    assert outcomes["same_seed"].status == "failed" and "numpy.random" in outcomes["same_seed"].message
    for name in ("hidden_labels", "stacked", "continues"):
        assert outcomes[name].status == "skipped" and "while same_seed is broken" in outcomes[name].message


def test_a_difference_names_the_part(tmp_path: Path) -> None:
    cls = broken(tmp_path, "gradient", "self.trade_off * means", "means")
    message = _try(BY_NAME["weight_zero"], cls).message
    assert "'head." in message or "'body." in message
    assert "differs by" in message


def test_banks_outside_the_network_are_lost_in_a_restart(tmp_path: Path) -> None:
    """A counter on the class survives in this process, hence differs between the whole run and the continued one."""
    fault = "type(self).count = getattr(type(self), 'count', 0) + 1\n        means = self.count * ("
    outcome = _try(BY_NAME["continues"], broken(tmp_path, "gradient", "means = (", fault))
    assert outcome.status == "failed" and "not an attribute of the method" in outcome.message


def test_the_command_reports_and_exits(tmp_path: Path) -> None:
    path = new_method("faulty", "moment", "shallow", tmp_path)
    path.write_text(path.read_text().replace("Evidence:", ""))
    shown = dazoo("check", f"{path}:Faulty", ok=False)
    assert shown.returncode == 1 and "FAIL documented" in shown.stdout
    assert re.search(r"\b1 of 1\d contracts", shown.stdout)
    found = json.loads(dazoo("check", str(path), "--json", ok=False).stdout)
    assert not found["passed"] and found["method"] == "faulty"
    assert [c["name"] for c in found["contracts"] if c["status"] == "failed"] == ["documented"]


@pytest.mark.parametrize(
    ("target", "words"),
    [
        ("nowhere_at_all:Thing", "cannot be imported: ModuleNotFoundError"),
        ("dazoo.methods.moment.dan:DNA", "has no 'DNA': did you mean 'DAN'"),
        ("dazoo.methods.moment.dan:hp", "is no method"),
        ("dazoo.methods.base:GradientMethod", "not registered"),
        ("missing.py:Thing", "no such method file"),
        ("dan_", "unknown method"),
    ],
)
def test_a_wrong_target_is_a_clear_error(target: str, words: str) -> None:
    with pytest.raises((DazooError, UnknownName), match=words):
        find_class(target)
    done = dazoo("check", target, ok=False)
    assert done.returncode == 2 and done.stderr.startswith("error: ")


def test_targets_by_module_and_by_name() -> None:
    assert find_class("dazoo.methods.moment.dan:DAN") is find_class("dan") is METHODS.get("dan")
