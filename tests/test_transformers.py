"""Transformers on texts: tokens, a tiny model built here, fine-tuned, with low-rank updates, saved and loaded."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

import dazoo
from dazoo.core.errors import DazooError
from dazoo.data.raw import Texts
from dazoo.encoders.base import create_encoder
from dazoo.engine.recipe import Recipe
from dazoo.nets.augment import strong_tokens
from dazoo.nets.lookup import get_backbone

pytest.importorskip("transformers", reason="the library transformers is not on this machine: pip install 'dazoo[text]'")
WORDS = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "a", "fine", "good", "dull", "bad", "film", "book", "is"]
GOOD, BAD = (
    ["a fine film", "a good book", "good is fine", "a good film"],
    ["a dull film", "a bad book", "dull bad", "bad"],
)


@pytest.fixture(scope="module")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> str:
    """A folder with a transformer of two small layers and its tokenizer."""
    from transformers import BertConfig, BertModel, BertTokenizerFast

    place = tmp_path_factory.mktemp("tiny")
    (place / "vocab.txt").write_text("\n".join(WORDS))
    BertTokenizerFast(vocab=str(place / "vocab.txt")).save_pretrained(place)
    torch.manual_seed(0)
    config = BertConfig(
        vocab_size=len(WORDS), hidden_size=16, num_hidden_layers=2, num_attention_heads=2, intermediate_size=32
    )
    BertModel(config).save_pretrained(place)
    return str(place)


def test_tokens_are_those_of_the_tokenizer_moved_up_by_one(tiny: str):
    fitted = create_encoder("tokens", model=tiny, length=6).fit(Texts.of(GOOD), Texts.of(BAD))
    made = fitted(["a fine film", "bad"])
    assert made.tolist() == [[3, 6, 7, 11, 4, 0], [3, 10, 4, 0, 0, 0]] and fitted.makes == "text"
    assert create_encoder("tokens", model=tiny).fit(Texts.of(GOOD), Texts.of(BAD)).length == 5


def test_what_is_no_token_changes_nothing(tiny: str):
    net = get_backbone(f"transformers/{tiny}").make((4,), pretrained=True).eval()
    short, long = torch.tensor([[3.0, 7, 4, 0]]), torch.tensor([[3.0, 7, 4]])
    assert torch.allclose(net(short), net(long), atol=1e-6) and net(short).shape == (1, 16)


@pytest.mark.parametrize("option", ["", "?lora=2"])
def test_a_transformer_learns_and_is_saved(option: str, tiny: str, tmp_path: Path):
    task = dazoo.Task.from_arrays(GOOD * 3 + BAD * 3, [1] * 12 + [0] * 12, GOOD + BAD, [1] * 4 + [0] * 4)
    recipe = Recipe.named("text", steps=40, lr=1e-2, backbone_lr=1.0)
    model = dazoo.fit(
        "dann",
        task,
        encoder={"name": "tokens", "model": tiny},
        backbone=f"transformers/{tiny}{option}" if option else None,
        recipe=recipe,
    )
    assert dazoo.evaluate(model, task)["accuracy"] == 1.0
    before = get_backbone(f"transformers/{tiny}").make((4,), pretrained=True).state_dict()
    after = model.net.body.backbone.state_dict()
    name = "model.encoder.layer.0.attention.self.query"
    if option:
        assert torch.equal(after[f"{name}.base_layer.weight"], before[f"{name}.weight"])
        assert any("lora_B" in k and v.any() for k, v in after.items())
    else:
        assert not torch.equal(after[f"{name}.weight"], before[f"{name}.weight"])
    dazoo.save(model, tmp_path / "m")
    assert torch.equal(dazoo.load(tmp_path / "m").predict(BAD).scores, model.predict(BAD).scores)


def test_methods_on_vectors_and_strange_names_get_a_sentence(tiny: str):
    task = dazoo.Task.from_arrays(GOOD + BAD, [1] * 4 + [0] * 4, GOOD + BAD)
    with pytest.raises(DazooError, match="'coral' takes vectors, not text samples"):
        dazoo.fit("coral", task, encoder={"name": "tokens", "model": tiny})
    with pytest.raises(DazooError, match="cannot be loaded"):
        dazoo.fit("dann", task, encoder={"name": "tokens", "model": "/no/such/folder"})
    with pytest.raises(DazooError, match="lora=<rank>"):
        get_backbone("transformers/x?lora=big")


def test_strong_views_leave_tokens_out_but_the_first():
    x = torch.arange(1, 41).reshape(2, 20)
    view = strong_tokens(x, torch.Generator().manual_seed(0))
    assert (view[:, 0] == x[:, 0]).all() and 0 < (view == 0).sum() < 20 and ((view == x) | (view == 0)).all()
