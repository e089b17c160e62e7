"""What every encoder of the registry promises, on toy samples of each kind that it takes; a plug-in's encoder."""

from __future__ import annotations

import json
from dataclasses import dataclass

import numpy as np
import pandas as pd
import pytest
import torch
from scipy import sparse

import dazoo
from dazoo.core.errors import DazooError
from dazoo.core.hparam import space
from dazoo.core.portable import dump, parse
from dazoo.data.raw import Ragged, Sparse, Table, Texts, joined
from dazoo.encoders.base import ENCODERS, Encoder, Fitted, create_encoder
from dazoo.encoders.encode import encoded
from tests.test_cli import dazoo as command

RNG = np.random.default_rng(0)
NEEDS_ASSETS = {"sentence", "tokens", "image_features", "clip"}  # tried in files of their own, where their models are


def toy(kind: str):
    words = ["red", "green", "blue", "round", "square"]
    if kind == "text":
        return Texts.of([" ".join(RNG.choice(words, 4)) for _ in range(24)])
    if kind == "table":
        return Table(pd.DataFrame({"n": RNG.normal(size=24), "c": RNG.choice(["a", "b"], 24)}))
    if kind == "audio":
        return Ragged.of([RNG.normal(size=1600 + 80 * i) for i in range(24)], "audio", 8000.0)
    if kind == "series":
        return Ragged.of([RNG.normal(size=(2, 20 + i)) for i in range(24)])
    if kind == "sparse":
        return Sparse(sparse.random(24, 30, 0.3, "csr", random_state=0))
    raise AssertionError(f"no toy samples of the kind {kind!r}: add some here")


CASES = [(name, kind) for name, cls in ENCODERS.items() if name not in NEEDS_ASSETS for kind in cls.takes]


@pytest.mark.parametrize(("name", "kind"), CASES)
def test_encoders_keep_their_promises(name: str, kind: str) -> None:
    source, target = toy(kind), toy(kind)
    fitted = create_encoder(name).fit(source, target)
    made = fitted(target)
    assert len(made) == len(target) and made.is_floating_point() and torch.isfinite(made).all()
    rows = torch.tensor([5, 2, 11])
    assert torch.allclose(fitted(target[rows]), made[rows], atol=1e-5), "a sample's numbers depend on other samples"
    assert torch.equal(parse(dump(fitted))(target), made), "a saved encoder makes other numbers"
    assert torch.equal(create_encoder(name).fit(source, target)(target), made), "fitted twice, it makes other numbers"
    assert len(create_encoder(name).fit(source, target[:0])(target)) == len(target), "an unseen target stops it"
    vectors = create_encoder(name).for_vectors().fit(source, target)
    assert vectors.makes != "vector" or vectors(joined([source, target])).ndim == 2


def test_every_option_says_what_it_means() -> None:
    for name, cls in ENCODERS.items():
        assert cls.takes and all(meta.help for meta in space(cls).values()), name


def test_encoders_are_listed_and_told() -> None:
    rows = {r["name"]: r for r in json.loads(command("list", "encoders", "--json").stdout)}
    assert set(rows) == set(ENCODERS.names()) and rows["tfidf"]["takes"] == ["text"]
    assert "mel" in command("info", "log_mel").stdout


def test_an_encoder_of_ones_own_travels_with_the_model(tmp_path) -> None:
    task = dazoo.Task.from_arrays(["aaa b", "aab a", "bbb a", "bba b"] * 3, [0, 0, 1, 1] * 3, ["aaa", "bbb", "abab"])
    model = dazoo.fit("source_only", task, encoder=Letters(), classifier="logistic")
    dazoo.save(model, tmp_path / "m")
    assert dazoo.load(tmp_path / "m").predict(["aaaa", "bbbb"]).labels.tolist() == [0, 1]
    with pytest.raises(DazooError, match="an encoder is a name"):
        encoded(task, 3)


@dataclass(frozen=True)
class Shares(Fitted):
    """Shares (n, k) of letters, given by their numbers."""

    letters: torch.Tensor

    def __call__(self, x):
        return torch.tensor([[t.count(chr(int(c))) / max(1, len(t)) for c in self.letters] for t in x])


@dataclass(frozen=True)
class Letters(Encoder):
    """Shares of two letters."""

    name = "letters"
    takes = ("text",)

    def fit(self, source, target):
        return Shares(torch.tensor([float(ord(c)) for c in "ab"]))
