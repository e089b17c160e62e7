"""Methods on features of vision-language models, and the encoder that gives them: made-up names and a tiny CLIP."""

from __future__ import annotations

import json
import math
from pathlib import Path

import numpy as np
import pytest
import torch

import dazoo
from dazoo.bench.plan.plan import make_plan
from dazoo.bench.plan.suite import Suite
from dazoo.core.errors import DazooError
from dazoo.core.memo import Memo
from dazoo.encoders.base import ENCODERS
from dazoo.methods.base import Context, create_method
from dazoo.methods.language._separation import (
    Separation,
    discriminated,
    ensemble_information,
    language_terms,
    vision_terms,
)
from dazoo.methods.language.dapl import joint_loss, prompted
from dazoo.methods.language.unimos import batches, soft_centroid_labels
from dazoo.shallow.classifiers import classifier
from tests.bench_tools import SMALL

K, D = 4, 12


def unit(x: np.ndarray) -> np.ndarray:
    return x / np.linalg.norm(x, axis=-1, keepdims=True)


def softmax(z: np.ndarray) -> np.ndarray:
    e = np.exp(z - z.max(-1, keepdims=True))
    return e / e.sum(-1, keepdims=True)


def named(err: float = 0.0, n: int = 80) -> dazoo.Task:
    """Classes around directions of length 1; names are the directions, off by ``err``; domains lie apart."""
    g = np.random.default_rng(0)
    centres = unit(g.normal(size=(K, D)))
    words = torch.from_numpy(unit(centres + err * g.normal(size=(K, D)) / D**0.5))
    parts = []
    for _ in "st":
        y = g.integers(0, K, n)
        noise = (1.4 * g.normal(size=(n, D)) + 1.5 * g.normal(size=D)) / D**0.5
        parts += [unit(centres[y] + noise), y]
    return dazoo.Task.from_arrays(*parts, words=words)


def fitted(method: str, task: dazoo.Task, **hparams: object) -> object:
    made, seen = create_method(method, **hparams), task.seen()
    ctx = Context(torch.Generator().manual_seed(0), classifier("logistic"), Memo())
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        return made.fit(seen, ctx)  # type: ignore[attr-defined]


def test_zero_shot_is_the_nearest_name() -> None:
    task = named(err=1.0)
    x, words = task.target.x.numpy(), task.words.numpy()  # type: ignore[union-attr]
    model = dazoo.fit("zero_shot", task, scale=20.0)
    assert np.allclose(model.predict(3.0 * x).probs, softmax(20 * x @ words.T))
    assert model.preprocessing.names == () and not model.report.warnings


def test_without_names_the_means_of_the_source_stand_in() -> None:
    task = named().change(words=None)
    with pytest.warns(dazoo.DazooWarning, match="no features of its class names"):
        model = dazoo.fit("zero_shot", task, transform=None)
    x, y = task.sources[0].x.numpy(), task.sources[0].y.numpy()  # type: ignore[union-attr]
    means = unit(np.stack([x[y == c].mean(0) for c in range(K)]))
    assert (model.predict(task.target.x).labels.numpy() == (task.target.x.numpy() @ means.T).argmax(1)).all()


def test_dapl_loss_matches_loops() -> None:
    g = torch.Generator().manual_seed(1)
    words, context = torch.randn(K, D, generator=g).double(), torch.randn(K, D, generator=g).double()
    domains, x = torch.randn(2, D, generator=g).double(), torch.randn(5, D, generator=g).double()
    y = torch.tensor([0, 3, 1, 1, 2])
    t = [[unit((words[c] + context[c] + domains[d]).numpy()) for c in range(K)] for d in range(2)]
    for d in range(2):
        got = joint_loss(x, y, prompted(words, context, domains), d, 7.0)
        for i in range(5):
            all_of = sum(math.exp(7 * float(x[i].numpy() @ t[e][c])) for e in range(2) for c in range(K))
            assert float(got[i]) == pytest.approx(math.log(all_of) - 7 * float(x[i].numpy() @ t[d][int(y[i])]))


def test_dapl_learns_the_source_and_keeps_what_names_say_of_the_target() -> None:
    task = named(err=1.0)
    model, zero = fitted("dapl", task), fitted("zero_shot", task)
    x, y = task.sources[0].x, task.sources[0].y
    right = [(m.predict_source(x).labels == y).double().mean() for m in (model, zero)]  # type: ignore[attr-defined]
    assert right[0] > right[1] + 0.1
    same = model.predict(task.target.x).labels == zero.predict(task.target.x).labels  # type: ignore[attr-defined]
    assert same.double().mean() > 0.9


def test_unimos_losses_match_loops() -> None:
    g = np.random.default_rng(2)
    a, b, e, zero = (g.normal(size=(6, K)) for _ in range(4))
    y, c = g.integers(0, K, 6), g.integers(0, K, 6)

    def ce(scores: np.ndarray, labels: np.ndarray) -> float:
        return float(np.mean([-math.log(softmax(s)[k]) for s, k in zip(scores, labels)]))

    t = [torch.from_numpy(v) for v in (a, b, e, zero, y, c)]
    assert float(vision_terms(t[0], t[4], t[2], t[5])) == pytest.approx(ce(a, y) + ce(e, c))
    kl = np.mean([sum(p * math.log(p / q) for p, q in zip(softmax(r), softmax(z))) for r, z in zip(b, zero)])
    assert float(language_terms(t[0], t[4], t[1], t[3])) == pytest.approx(ce(a, y) + kl)
    rows, mean = softmax(e), softmax(e).mean(0)

    def entropy(r: np.ndarray) -> float:
        return -sum(p * math.log(p + 1e-5) for p in r)

    assert float(ensemble_information(t[2])) == pytest.approx(entropy(mean) - np.mean([entropy(r) for r in rows]))
    parts = Separation(D, K, 8).double().eval()
    v, w = torch.randn(3, D).double(), torch.randn(3, D).double()
    odds = parts.judge(torch.cat([v, w])).detach()[:, 0].tolist()
    truth = np.mean([math.log1p(math.exp(o if i < 3 else -o)) for i, o in enumerate(odds)])
    assert discriminated(parts.judge, v, w).item() == pytest.approx(truth)
    f = g.normal(size=(9, 3))
    p = softmax(g.normal(size=(9, K)))
    centres = [sum(p[i, k] * unit(f[i]) for i in range(9)) / p[:, k].sum() for k in range(K)]
    nearest = [max(range(K), key=lambda k: unit(centres[k]) @ unit(f[i])) for i in range(9)]
    assert soft_centroid_labels(torch.from_numpy(f), torch.from_numpy(p)).tolist() == nearest


def test_unimos_is_an_affine_map_that_starts_from_the_names() -> None:
    task = named(err=1.0)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        parts = Separation(D, K, 8).double().eval()
    x, words = task.target.x.double(), task.words.double()  # type: ignore[union-attr]
    method, even = create_method("unimos", debias=0.5), torch.full((K,), 1 / K).double()
    zero = 100 * x @ words.T + 0.5 * math.log(K)
    assert torch.allclose(method.ensemble(parts, x, words, even, 0.0), zero)  # type: ignore[attr-defined]
    assert torch.allclose(method.ensemble(parts, x, words, even, 1.0), parts.vision(x))  # type: ignore[attr-defined]
    assert len(batches(10, 4, torch.Generator())) == 2
    model = fitted("unimos", task, epochs=2)
    scores = [model.head(z) for z in (x[:3], x[3:6], (x[:3] + x[3:6]) / 2)]  # type: ignore[attr-defined]
    apart = [s[:, 1:] - s[:, :1] for s in scores]
    assert torch.allclose((apart[0] + apart[1]) / 2, apart[2])


def test_names_that_err_are_mended() -> None:
    task = named(err=1.6, n=130)
    right = {m: dazoo.evaluate(fitted(m, task), task)["accuracy"] for m in ("zero_shot", "unimos")}  # type: ignore[arg-type]
    assert right["unimos"] > right["zero_shot"] + 0.03


def test_words_belong_to_classes_and_samples() -> None:
    task = named()
    for words in (torch.zeros(K - 1, D), torch.zeros(K, D + 1), torch.full((K, D), math.nan)):
        with pytest.raises(DazooError, match="words must be finite features of the class names"):
            task.change(words=words)
    with pytest.raises(DazooError, match="give transform=None"):
        dazoo.fit("zero_shot", task, transform="zscore_within")


def test_suites_plan_them_behind_an_encoder_that_gives_names() -> None:
    plain = make_plan(Suite.of({**SMALL, "methods": ["zero_shot", "sa"], "tasks": ["upright->rotated"], "seeds": 1}))
    assert {s.method for s in plain.specs} == {"sa"}
    assert [s.reason for s in plain.skipped] == ["reads features of class names, which no encoder of the suite gives"]
    assert ENCODERS.get("clip").gives_names and not ENCODERS.get("image_features").gives_names


@pytest.fixture(scope="module")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A CLIP model of a few hundred weights, with a tokeniser of single letters."""
    made = pytest.importorskip("transformers", reason="transformers is not on this machine")
    folder = tmp_path_factory.mktemp("clip")
    letters = "abcdefghijklmnopqrstuvwxyz"
    ends = ("<|startoftext|>", "<|endoftext|>")
    vocabulary = {t: i for i, t in enumerate([*letters, *(c + "</w>" for c in letters), *ends])}
    (folder / "vocab.json").write_text(json.dumps(vocabulary))
    (folder / "merges.txt").write_text("#version: 0.2\n")
    made.CLIPTokenizer(str(folder / "vocab.json"), str(folder / "merges.txt")).save_pretrained(folder)
    size = {"hidden_size": 8, "intermediate_size": 8, "num_hidden_layers": 1, "num_attention_heads": 2}
    start, end = (vocabulary[t] for t in ends)
    text = {"vocab_size": len(vocabulary), "bos_token_id": start, "eos_token_id": end, "pad_token_id": end}
    vision = {**size, "image_size": 16, "patch_size": 8}
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        net = made.CLIPModel(made.CLIPConfig(text_config={**text, **size}, vision_config=vision, projection_dim=6))
    net.save_pretrained(folder)
    made.CLIPImageProcessor(size={"shortest_edge": 16}, crop_size={"height": 16, "width": 16}).save_pretrained(folder)
    return folder


def test_clip_gives_pictures_and_names_in_one_space(
    tiny: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from transformers import AutoTokenizer, CLIPImageProcessor, CLIPModel

    monkeypatch.setenv("DAZOO_CACHE", str(tmp_path))
    rng = np.random.default_rng(0)
    x, y = rng.integers(0, 255, (12, 20, 20, 3), dtype=np.uint8), ["cat", "big_dog"] * 6
    task = dazoo.Task.from_arrays(x, y, x[:6])
    with pytest.warns(dazoo.DazooWarning, match="names of classes as 'a sketch of a {}'"):
        model = dazoo.fit("zero_shot", task, encoder={"name": "clip", "model": str(tiny), "prompt": "a sketch of a {}"})
    net = CLIPModel.from_pretrained(tiny).eval()
    pixels = CLIPImageProcessor.from_pretrained(tiny)(list(x), return_tensors="pt")["pixel_values"]
    seen = AutoTokenizer.from_pretrained(tiny)(
        ["a sketch of a big dog", "a sketch of a cat"], padding=True, return_tensors="pt"
    )
    with torch.no_grad():
        logits = net(pixel_values=pixels, **seen).logits_per_image / net.logit_scale.exp()
    assert list(model.classes) == ["big_dog", "cat"]
    assert np.allclose(model.predict(x).probs, softmax(100 * logits.numpy()), atol=1e-4)
    dazoo.save(model, tmp_path / "m.safetensors")
    again = dazoo.load(tmp_path / "m.safetensors").predict(x[::-1].copy()).probs
    assert torch.allclose(again, model.predict(x).probs.flip(0))
    with pytest.raises(DazooError, match="no CLIP model 'nowhere/at-all' within reach"):
        monkeypatch.setenv("HF_HUB_OFFLINE", "1")
        dazoo.fit("zero_shot", task, encoder={"name": "clip", "model": "nowhere/at-all"})
    with pytest.raises(DazooError, match=r"must hold \{\} in the place"):
        dazoo.fit("zero_shot", task, encoder={"name": "clip", "model": str(tiny), "prompt": "a photo"})
