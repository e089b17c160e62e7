"""Suites: what a file may say, and messages that point at the line to mend."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml

from dazoo.bench.plan.plan import make_plan
from dazoo.bench.plan.suite import Suite
from dazoo.core.errors import DazooError
from tests.bench_tools import SMALL

GOOD = """\
dataset: digits
tasks:
  - upright->rotated
methods:
  - source_only
  - name: coral
    as: coral_strong
    reg: 0.5
seeds: 2
classifier: {name: 1nn, k: 3}
"""


def problem(tmp_path: Path, text: str) -> str:
    path = tmp_path / "suite.yaml"
    path.write_text(text)
    with pytest.raises(DazooError) as caught:
        make_plan(Suite.load(path))
    message = str(caught.value)
    assert message.startswith(str(path)), message
    return message.removeprefix(str(path)).removeprefix(", ")


def test_a_good_file(tmp_path: Path) -> None:
    path = tmp_path / "my.yaml"
    path.write_text(GOOD)
    suite = Suite.load(path)
    assert suite.name == "my" and suite.seeds == (0, 1)
    assert suite.methods[1].label == "coral_strong" and suite.methods[1].options == {"reg": 0.5}
    assert suite.classifier is not None and suite.classifier.options == {"k": 3}
    assert [s.label for s in make_plan(suite).specs] == ["source_only"] * 2 + ["coral_strong"] * 2


def test_plain_data_and_back() -> None:
    suite = Suite.of({**SMALL, "methods": ["sa", {"name": "coral", "as": "c", "reg": 2.0}], "transform": "zscore"})
    again = Suite.of(yaml.safe_load(yaml.safe_dump(suite.to_json())))
    assert again.to_json() == suite.to_json() and again.methods == suite.methods


@pytest.mark.parametrize(
    ("change", "line", "words"),
    [
        (("methods:", "method:"), 4, ["unknown key 'method'", "did you mean 'methods'", "select_by"]),
        (("source_only", "sorce_only"), 5, ["unknown method 'sorce_only'", "'source_only'"]),
        (("reg: 0.5", "rge: 0.5"), 8, ["no hyper-parameter 'rge'", "'reg'", "hyper-parameters: "]),
        (("reg: 0.5", "reg: much"), 8, ["coral.reg must be float"]),
        (("dataset: digits", "dataset: digit"), 1, ["unknown dataset 'digit'", "'digits'"]),
        (("dataset: digits", "dataset: {name: digits, kin: image}"), 1, ["no option 'kin'", "'kind'"]),
        (("->rotated", "->rotate"), 3, ["no domain 'rotate'", "'rotated'"]),
        (("upright->rotated", "'*->nowhere'"), 3, ["matches nothing"]),
        (("upright->rotated", "*->rotated"), 3, ["not valid YAML", "quote text that starts with '*'"]),
        (("seeds: 2", "seeds: 0"), 9, ["seeds", "at least one seed"]),
        (("seeds: 2", "seeds: [1, 1]"), 9, ["seed is listed twice"]),
        (("seeds: 2", "trials: none"), 9, ["trials", "integer", "'none'"]),
        (("seeds: 2", "source_holdout: 1.5"), 9, ["source_holdout", "less than 1"]),
        (("seeds: 2", "select_by: entropi"), 9, ["unknown selection rule 'entropi'", "'entropy'"]),
        (("seeds: 2", "validators: [entropi]"), 9, ["unknown validator 'entropi'", "'entropy'"]),
        (("seeds: 2", "recipe: frosen"), 9, ["unknown recipe 'frosen'", "'frozen'"]),
        (("seeds: 2", "recipe: {name: frozen, step: 3}"), 9, ["no field 'step'", "'steps'"]),
        (("seeds: 2", "transform: [zscor]"), 9, ["unknown transform 'zscor'", "'zscore'"]),
        (("seeds: 2", "metric: acc"), 9, ["metric", "'accuracy'", "'acc'"]),
        (("seeds: 2", "backbone: nett"), 9, ["unknown backbone 'nett'"]),
        (("seeds: 2", "frozen: true"), 9, ["need a backbone"]),
        (("k: 3", "j: 3"), 10, ["no option 'j'"]),
        (("{name: 1nn, k: 3}", "2nn"), 10, ["unknown classifier '2nn'", "'1nn'"]),
        (("seeds: 2", "dataset: digits"), 9, ["'dataset' stands here a second time"]),
        (("seeds: 2", "seeds: [1"), 10, ["not valid YAML"]),
        (("as: coral_strong", "as: source_only"), 6, ["two methods are labelled 'source_only'", "'as'"]),
    ],
)
def test_messages_name_the_line_and_the_remedy(
    tmp_path: Path, change: tuple[str, str], line: int, words: list[str]
) -> None:
    assert change[0] in GOOD
    message = problem(tmp_path, GOOD.replace(*change))
    assert message.startswith(f"line {line}: "), message
    for word in words:
        assert word in message
    assert "\n" not in message


def test_missing_keys_and_files(tmp_path: Path) -> None:
    assert "'methods' is missing" in problem(tmp_path, "dataset: digits\n")
    assert "'name' is missing" in problem(tmp_path, "dataset: digits\nmethods:\n  - trade_off: 1\n")
    assert "a mapping" in problem(tmp_path, "- a\n- b\n")
    with pytest.raises(DazooError, match="no such file"):
        Suite.load(tmp_path / "none.yaml")


def test_narrowing() -> None:
    suite = Suite.of({**SMALL, "methods": ["source_only", {"name": "coral", "as": "c"}], "seeds": [5, 7]})
    small = suite.narrow(["c", "sa"], "upright->noisy", 3)
    assert [m.label or m.name for m in small.methods] == ["c", "sa"]
    assert small.seeds == (5, 7, 0) and small.tasks == ("upright->noisy",)
    assert [m.name for m in suite.narrow(added=["mine"]).methods] == ["source_only", "coral", "mine"]


BIG = "1000000000000"


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (("seeds: 2", f"seeds: {BIG}"), "at most 10000 seeds"),
        (("seeds: 2", f"trials: {BIG}"), "trials: "),
        (("seeds: 2", f"checkpoints: {BIG}"), "checkpoints: "),
        (("seeds: 2", "seeds: 9999\ntrials: 9999"), "no more than 1,000,000 are planned"),
        (("seeds: 2", f"few_labels: {BIG}"), "few_labels: "),
        (("seeds: 2", f"image_size: {BIG}"), "image_size: "),
        (("seeds: 2", f"recipe: {{name: frozen, steps: {BIG}}}"), "steps must be at most 100,000,000"),
        (("seeds: 2", f"recipe: {{name: frozen, batch: {BIG}}}"), "batch must be at most 100,000"),
        (("seeds: 2", f"recipe: {{name: frozen, bottleneck: {BIG}}}"), "bottleneck must be at most 100,000"),
        (("seeds: 2", f"recipe: {{name: frozen, epochs: {BIG}}}"), "epochs must be at most"),
        (("seeds: 2", f"represent: {{name: pca, dim: {BIG}}}"), "pca.dim must be"),
        (("dataset: digits", "dataset: {name: digits, data_seed: -1}"), "data_seed must be a whole number"),
        (("dataset: digits", f"dataset: {{name: shifts, n: {BIG}}}"), "n must be a whole number, at least 10"),
        (("dataset: digits", f"dataset: {{name: shifts_regression, n: {BIG}}}"), "n must be a whole number"),
        (("dataset: digits", f"dataset: {{name: spoken_digits, bands: {BIG}}}"), "bands must be a whole number"),
        (("dataset: digits", f"dataset: {{name: folder, image_size: {BIG}}}"), "image_size must be a whole number"),
        (("dataset: digits", f"dataset: {{name: office_caltech10, image_size: {BIG}}}"), "image_size must be a whole"),
        (("seeds: 2", "name: ../../etc"), "a suite's name is that of its result folder"),
        (("seeds: 2", "name: /tmp/x"), "a suite's name is that of its result folder"),
        (("seeds: 2", "name: ..\\\\x"), "a suite's name is that of its result folder"),
        (("seeds: 2", "name: nul.txt"), "no name of a device"),
        (("seeds: 2", f"name: {'x' * 300}"), "at most 100 bytes"),
        (("as: coral_strong", 'as: "a\\nb"'), "a label is one line"),
        (("seeds: 2", "description: &a [*a, *a]"), "an alias stands inside of what it names"),
        (("seeds: 2", "description: 2024-99-99"), "a value cannot be read"),
        (("seeds: 2", f"description: {'[' * 200}{']' * 200}"), "nested too deeply"),
        (("seeds: 2", f"description: {'[' * 3000}{']' * 3000}"), "nested too deeply"),
        (
            ("seeds: 2", "description:\n  - &a0 [x]\n" + "".join(f"  - &a{i + 1} [*a{i}, *a{i}]\n" for i in range(30))),
            "the aliases below stand for more than",
        ),
        (
            ("seeds: 2", "description:\n  m0: &m0 {x: 1}\n"
             + "".join(f"  m{i + 1}: &m{i + 1} {{<<: [*m{i}, *m{i}, *m{i}]}}\n" for i in range(30))),
            "the aliases below stand for more than",
        ),
    ],
)  # fmt: skip
def test_suites_of_strangers_end_in_one_sentence(tmp_path: Path, change: tuple[str, str], words: str) -> None:
    assert change[0] in GOOD
    message = problem(tmp_path, GOOD.replace(*change))
    assert words in message and "\n" not in message, message


def test_absurdly_long_files_are_not_read(tmp_path: Path) -> None:
    (tmp_path / "long.yaml").write_text("#" * 4_000_001)
    with pytest.raises(DazooError, match="no file of this kind is that large"):
        Suite.load(tmp_path / "long.yaml")
