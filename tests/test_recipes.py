"""Recipes: public protocols as data, and what their fields do to training."""

from __future__ import annotations

import dataclasses
import hashlib
import json

import pytest
import torch

from dazoo.contracts import toys
from dazoo.core.errors import DazooError
from dazoo.engine.feed import Sampler
from dazoo.engine.fit import Options, fit
from dazoo.engine.prepare import preparer
from dazoo.engine.recipe import CHOICES, LATER, RECIPES, Recipe
from dazoo.methods.base import create_method
from dazoo.nets import augment
from dazoo.nets.lookup import get_backbone
from dazoo.nets.net import NetSpec


@pytest.mark.parametrize("name", ["tllib", "deepda", "skada_bench", "adatime", "frozen"])
def test_a_recipe_survives_its_plain_form(name: str) -> None:
    recipe = Recipe.named(name)
    plain = json.loads(json.dumps({**recipe.to_json(), "hash": recipe.hash}))
    assert Recipe.from_json(plain) == recipe and Recipe.from_json(plain).hash == recipe.hash
    assert len({r.hash for r in RECIPES.values()}) == len(RECIPES)


def test_a_field_at_its_default_is_left_out_and_never_taken_from_the_named_recipe() -> None:
    recipe = Recipe.named("adatime", cycle="fresh", steps=7)
    assert not LATER.keys() & recipe.to_json().keys()
    assert Recipe.from_json(recipe.to_json()) == recipe


def test_older_hashes_stay() -> None:
    fields = {k: v for k, v in Recipe.named("images").to_json().items() if k != "name"}
    assert not LATER.keys() & fields.keys() and len(fields) == 25
    assert Recipe.named("images").hash == hashlib.sha256(json.dumps(fields, sort_keys=True).encode()).hexdigest()[:16]


def test_stairs_drop_where_the_published_schedule_drops() -> None:
    recipe = Recipe.named("skada_bench").counted(5)  # 20 epochs of 5 iterations
    assert recipe.steps == 100
    plain = torch.optim.SGD([torch.zeros(1, requires_grad=True)], lr=1.0)
    schedule = torch.optim.lr_scheduler.StepLR(plain, step_size=10, gamma=0.2)
    for epoch in range(20):
        for step in range(5 * epoch, 5 * epoch + 5):
            assert recipe.lr_factor(step) == pytest.approx(schedule.get_last_lr()[0])
        plain.step()
        schedule.step()


def test_ramps_of_the_public_protocols() -> None:
    assert Recipe.named("deepda").ramp_at(10000) == pytest.approx(2 / (1 + 2.718281828459045**-1) - 1)
    assert Recipe.named("skada_bench").ramp_at(0) == 1.0


def test_steps_stand_instead_of_epochs() -> None:
    assert Recipe.named("adatime", steps=11).counted(3).steps == 11
    assert Recipe.named("adatime", epochs=2).counted(3).steps == 6
    with pytest.raises(DazooError, match="epochs must not be negative"):
        Recipe.named("adatime", epochs=-1)


def test_a_repeated_domain_comes_in_the_same_order_within_a_pass() -> None:
    sampler = Sampler(10, 4, seed=0, passes=5)
    first = [sampler().tolist() for _ in range(5)]
    assert first[0] == first[2] == first[4] and first[1] == first[3] and not set(first[0]) & set(first[1])
    second = [sampler().tolist() for _ in range(5)]
    assert second != first and second[0] == second[2]
    again = Sampler(10, 4, seed=0, passes=5)
    for _ in range(3):
        again()
    kept = again.state()
    rest = [again().tolist() for _ in range(4)]
    other = Sampler(10, 4, seed=9, passes=5)
    other.restore(kept)
    assert [other().tolist() for _ in range(4)] == rest == [*first[3:], *second[:2]]


@pytest.mark.parametrize("name", ["adatime", "skada_bench"])
def test_epochs_count_the_batches_of_the_source(name: str) -> None:
    task = toys.toy_task()
    seen = task.seen()
    assert seen.source is not None
    recipe = Recipe.named(name, epochs=2, batch=16)
    result = fit(create_method("dann"), seen, options=Options(recipe=recipe))
    assert result.info["steps"] == 2 * (len(seen.source) // 16)
    assert result.predictor.net.body.width == seen.target.x.shape[1]  # no bottleneck


def test_views_of_squashed_images_show_the_whole_picture() -> None:
    gen = torch.Generator().manual_seed(0)
    x = torch.randint(0, 256, (3, 20, 40, 3), generator=gen, dtype=torch.uint8)
    spec = NetSpec("cnn", (20, 40, 3), "image", 2, 8, pretrained=False, image_size=16)
    centre, whole = preparer(spec, "weak", True), preparer(spec, "weak", True, "squashed")
    x[:, :, :10], x[:, :, 30:] = 0, 255  # only the sides, which a central crop leaves out
    assert float((whole.test(x) - centre.test(x)).abs().max()) > 0.5
    for view in (whole.test(x), whole.train(x, gen), whole.strong(x, gen), centre.train(x, gen)):
        assert view.shape == (3, 3, 16, 16)


def test_tllib_squashes_photographs_and_takes_the_centre_of_the_square(monkeypatch: pytest.MonkeyPatch) -> None:
    assert Recipe.named("tllib").test_view == "squashed_centre"
    photo = dataclasses.replace(get_backbone("cnn"), crop=0.875, mean=(0.0,) * 3, std=(1.0,) * 3)
    monkeypatch.setattr("dazoo.nets.net.get_backbone", lambda name: photo)
    ramp = torch.arange(64, dtype=torch.uint8).mul(4).view(1, 1, 64, 1).repeat(2, 32, 1, 3)
    spec = NetSpec("cnn", (32, 64, 3), "image", 2, 8, pretrained=False, image_size=28)
    make = preparer.__wrapped__  # not the cached one: the backbone is not what its name says
    seen = {view: 255 * make(spec, "none", True, view).test(ramp)[0, 0, 14] for view in CHOICES["test_view"]}
    # 64 columns squashed to 32, of which the middle 28 are seen: all but the outer 4 of 64 at each side
    torch.testing.assert_close(seen["squashed_centre"], augment.squashed(ramp, 32)[0, 14, 2:30, 0])
    left = {view: float(row[0]) for view, row in seen.items()}
    assert left["squashed"] < 4 * 2 < left["squashed_centre"] < 4 * 8 < 4 * 16 < left["centre"]


def test_resized_crops_stay_within_the_picture_and_follow_their_generator() -> None:
    view = augment.ImageView(16, crop=0.875)
    x = torch.full((8, 24, 24, 3), 255, dtype=torch.uint8)
    out = augment.resized_images(x, view, torch.Generator().manual_seed(1))
    torch.testing.assert_close(out, torch.ones_like(out))
    ramp = torch.arange(24, dtype=torch.uint8).mul(10).view(1, 1, 24, 1).expand(8, 24, 24, 3)
    crops = augment.resized_images(ramp, view, torch.Generator().manual_seed(1))
    assert torch.equal(crops, augment.resized_images(ramp, view, torch.Generator().manual_seed(1)))
    widths = (crops[:, 0, 8, -1] - crops[:, 0, 8, 0]).abs() / (2 * 230 / 255)
    assert widths.min() < 0.6 and widths.max() > 0.7 and widths.max() <= 1.0
