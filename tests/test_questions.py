"""What people are told about settings: questions, who sees what, metrics, admissible rules, by commands and pages."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

from dazoo.core.errors import DazooError
from dazoo.core.questions import QUESTIONS, hidden, question, sees, unusual
from dazoo.core.setting import ANSWERS, PRESETS, WORDS, Setting
from dazoo.data.registry import load_task
from dazoo.validators.base import VALIDATORS, admission, leaves_out
from tests.test_cli import dazoo


def test_every_setting_asks_something() -> None:
    assert all(question(s) == QUESTIONS[name] and sees(s) and hidden(s) for name, s in PRESETS.items())
    for word, (kind, answer) in WORDS.items():
        asked = Setting.of(f"unsupervised+{word}")
        if getattr(PRESETS["unsupervised"], kind) != answer:
            assert question(asked) and question(asked) != QUESTIONS["unsupervised"], word


def test_a_setting_without_a_name_is_told_by_its_parts() -> None:
    both = question(Setting.of("source_free_partial+multi_source+few"))
    assert all(QUESTIONS[name] in both for name in ("source_free_partial", "multi_source", "few_labels"))
    few = Setting.of("partial+few")
    assert "a few labelled target samples" in sees(few) and "all other target labels" in hidden(few)


def test_what_is_unusual_is_the_question_and_not_what_a_row_sees() -> None:
    assert unusual(["unsupervised", "multi_source", "few_labels", "oracle"]) == []
    assert unusual(["partial", "partial+few", "oracle"]) == [PRESETS["partial"]]
    assert unusual(["source_free+multi_source"]) == [PRESETS["source_free"]]


@pytest.mark.parametrize("name", sorted(PRESETS))
def test_every_validator_is_admitted_or_a_reason_says_why_not(name: str) -> None:
    setting, found = PRESETS[name], admission(PRESETS[name])
    refused = {n: reason for reason, names in found.refused.items() for n in names}
    asks = setting.marked == "query"
    if setting.target != "stream":
        concerns = {n: not v.needs_left_out or leaves_out(setting) for n, v in VALIDATORS.items()}
        every = {n for n, v in VALIDATORS.items() if concerns[n] and (asks or not v.of_answers)}
        assert set(found.able) | set(refused) | set(found.without) == every
    assert not set(found.able) & (set(refused) | set(found.without))
    assert all(v.of_answers == asks for v in map(VALIDATORS.get, found.able))
    for rule, reason in refused.items() if not asks else ():
        assert VALIDATORS.get(rule).problem(setting.labels) == f"'{rule}' {reason}"
        assert ("closed set" in reason) == ("closed" in VALIDATORS.get(rule).labels and setting.labelled)


def test_a_rule_for_other_label_sets_is_not_said_to_want_a_closed_set() -> None:
    assert "spread" in VALIDATORS.get("info_max").problem("open")
    for labels in set(ANSWERS["labels"]) - {"open", "universal"}:
        assert "made for open and universal label sets" in VALIDATORS.get("unknown_split").problem(labels)


def test_info_tells_a_setting_and_what_else_has_its_name() -> None:
    text = " ".join(dazoo("info", "source_free").stdout.split())
    for word in (QUESTIONS["source_free"], "no source sample", "accuracy", "shot", "without a score", "weight_norm"):
        assert word in text
    kinds = [found["kind"] for found in json.loads(dazoo("info", "source_free", "--json").stdout)]
    assert kinds == ["setting", "recipe"]
    made = json.loads(dazoo("info", "universal", "--json").stdout)
    assert made["metric"] == "hos" and {"os_star", "unk", "auroc_unknown", "oscr"} <= set(made["beside it"])
    assert "ovanet" in made["methods"] and "info_max" in made["may not choose"][0] and "entropy" in made["may choose"]


def test_info_tells_settings_that_are_put_together_and_names_mistakes() -> None:
    made = json.loads(dazoo("info", "source_free+multi_source", "--json").stdout)
    assert made["kind"] == "setting" and "decision" in made["methods"]
    found = dazoo("info", "partial+fwe", ok=False)
    assert found.returncode == 2 and "did you mean" in found.stderr and re.search(r"\bfew\b", found.stderr)
    assert "nothing to choose by" not in dazoo("info", "partial").stdout
    assert "before there is anything to choose by" in " ".join(dazoo("info", "test_time").stdout.split())


def test_settings_that_are_refused_by_name_are_refused_wherever_one_is_named(tmp_path: Path) -> None:
    suite = tmp_path / "s.yaml"
    suite.write_text("dataset: digits\ntasks: upright->rotated\nmethods: dann\nrecipe: digits\nsetting: federated\n")
    calls = [("info", "federated"), ("list", "methods", "--setting", "decentralised"), ("run", str(suite))]
    for call in calls:
        found = dazoo(*call, ok=False)
        assert "learning is not what dazoo does" in " ".join(found.stderr.split()) and "Traceback" not in found.stderr
    for name in ("federated", "decentralised"):
        with pytest.raises(DazooError, match=f"{name} learning is not what dazoo does"):
            load_task("digits/upright->rotated", setting=name)
