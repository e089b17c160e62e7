"""Views of samples: exact crops, reproducible chance, and every sample on its own."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import Tensor

from dazoo.nets import augment
from dazoo.nets.augment import ImageView

VIEW = ImageView(28, mean=(0.4, 0.5, 0.6), std=(0.2, 0.3, 0.4), crop=0.875)


def gen(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def photos(n: int = 6, height: int = 40, width: int = 32, channels: int = 3) -> Tensor:
    return torch.randint(0, 256, (n, height, width, channels), generator=gen(7), dtype=torch.uint8)


RANDOM: dict[str, tuple[Callable[[Tensor, torch.Generator], Tensor], Tensor]] = {
    "weak_images": (lambda x, g: augment.weak_images(x, VIEW, g), photos()),
    "strong_images": (lambda x, g: augment.strong_images(x, VIEW, g), photos()),
    "weak_vectors": (augment.weak_vectors, torch.randn(6, 9, generator=gen(1))),
    "strong_vectors": (augment.strong_vectors, torch.randn(6, 9, generator=gen(1))),
    "weak_series": (augment.weak_series, torch.randn(6, 3, 40, generator=gen(1))),
    "strong_series": (augment.strong_series, torch.randn(6, 3, 40, generator=gen(1))),
}


@pytest.mark.parametrize("name", RANDOM)
def test_chance_comes_from_the_generator_alone(name: str) -> None:
    view, x = RANDOM[name]
    before, state = x.clone(), torch.get_rng_state()
    a, b, c = view(x, gen(3)), view(x, gen(3)), view(x, gen(4))
    assert torch.equal(a, b)
    assert not torch.equal(a, c)
    assert torch.equal(x, before)
    assert torch.equal(torch.get_rng_state(), state)
    assert torch.isfinite(a).all()


@pytest.mark.parametrize("name", RANDOM)
def test_samples_draw_for_themselves(name: str) -> None:
    view, x = RANDOM[name]
    same = x[:1].expand_as(x).clone()
    if x.ndim == 2:
        same[0] += 1  # a constant batch has no deviation to scale the noise by
    out = view(same, gen())
    assert all(not torch.equal(out[-1], row) for row in out[1:-1])


def test_eval_view_is_the_central_crop_normalised() -> None:
    x = photos(height=32, width=32)
    out = augment.eval_images(x, VIEW)
    crop = x[:, 2:30, 2:30].permute(0, 3, 1, 2).double() / 255
    mean, std = (torch.tensor(v, dtype=torch.float64).view(1, 3, 1, 1) for v in (VIEW.mean, VIEW.std))
    assert torch.allclose(out.double(), (crop - mean) / std, atol=1e-5)
    assert out.is_contiguous(memory_format=torch.channels_last)
    plain = augment.eval_images(x, ImageView(28, VIEW.mean, VIEW.std, 0.875, channels_last=False))
    assert plain.is_contiguous() and torch.equal(plain, out)


@pytest.mark.parametrize("flip", [False, True])
def test_weak_view_is_a_crop_or_its_mirror_image(flip: bool) -> None:
    x = photos(n=24, height=32, width=32)
    view = ImageView(28, (0.0,) * 3, (1 / 255,) * 3, crop=0.875, flip=flip)
    out = augment.weak_images(x, view, gen()).round().to(torch.uint8)
    mirrored = 0
    for image, raw in zip(out, x.permute(0, 3, 1, 2)):
        windows = [raw[:, i : i + 28, j : j + 28] for i in range(5) for j in range(5)]
        straight = any(torch.equal(image, w) for w in windows)
        turned = any(torch.equal(image, w.flip(2)) for w in windows)
        assert straight or turned
        mirrored += turned
    assert (mirrored > 0) == flip


def test_only_cropping_views_flip_by_default() -> None:
    assert ImageView(224, crop=0.875).flips and not ImageView(28).flips and ImageView(28, flip=True).flips


def test_full_size_crops_move_over_a_repeated_border() -> None:
    x = photos(n=16, height=28, width=28, channels=1)
    view = ImageView(28, (0.0,), (1 / 255,), flip=False)
    out = augment.weak_images(x, view, gen())
    assert out.shape == (16, 1, 28, 28)
    assert set(out.round().unique().tolist()) <= set(x.float().unique().tolist())
    assert any(not torch.equal(a[0].round(), b[..., 0].float()) for a, b in zip(out, x))


@pytest.mark.parametrize("size", [16, 28, 64])
@pytest.mark.parametrize("channels", [1, 3])
def test_any_size_and_channel_count(size: int, channels: int) -> None:
    x = photos(n=2, height=100, width=70, channels=channels)
    view = ImageView(size)
    for out in (
        augment.eval_images(x, view),
        augment.weak_images(x, view, gen()),
        augment.strong_images(x, view, gen()),
    ):
        assert out.shape == (2, channels, size, size)
        assert out.abs().max() <= 1 + 1e-5  # mean and std one half: values in [-1, 1]


def test_strong_view_without_strength_is_the_eval_view() -> None:
    x = photos(n=3, height=28, width=40)
    view = ImageView(28, flip=False)
    out = augment.strong_images(x, view, gen(), area=1.0, aspect=1.0, degrees=0.0, colour=0.0, grey=0.0, cutout=0.0)
    plain = augment.eval_images(x, view)
    holes = (out - plain).abs() > 1e-4
    assert holes.any(dim=1).sum(dim=(1, 2)).max() <= 1  # the smallest hole is one pixel
    assert out.masked_select(holes).abs().sum() == 0


def test_grey_takes_all_colour() -> None:
    out = augment.strong_images(photos(n=4), ImageView(28), gen(), grey=1.0)
    assert torch.allclose(out[:, 0], out[:, 1], atol=1e-4) and torch.allclose(out[:, 1], out[:, 2], atol=1e-4)


def test_noise_scales_with_the_data() -> None:
    x = torch.randn(512, 2, generator=gen()) * torch.tensor([1.0, 100.0])
    moved = (augment.weak_vectors(x, gen(1), noise=0.1) - x).std(0)
    assert torch.allclose(moved / x.std(0), torch.tensor([0.1, 0.1]), rtol=0.15)


def test_dropped_entries_take_the_mean() -> None:
    x = torch.randn(400, 5, generator=gen())
    out = augment.strong_vectors(x, gen(1), noise=0.0, drop=0.3)
    dropped = out != x
    assert 0.25 < dropped.float().mean() < 0.35
    assert torch.equal(out[dropped], x.mean(0).expand_as(x)[dropped])
