"""Corrupted pictures: seeded, in five severities, of images that no clean domain holds."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from dazoo.core.errors import DazooError
from dazoo.data import corrupt
from dazoo.data.registry import expand_tasks, load_domain
from tests.test_data_sets import real_data

PICTURES = np.random.default_rng(0).random((5, 16, 16, 3))


@pytest.mark.parametrize("kind", corrupt.KINDS)
def test_severities_take_more_and_more_away(kind: str) -> None:
    found = [corrupt.corrupted(PICTURES, f"{kind}-{s}", 0) for s in corrupt.SEVERITIES]
    far = [float(((x - PICTURES) ** 2).mean()) for x in found]
    assert far == sorted(far) and far[0] > 0
    assert all(x.min() >= 0 and x.max() <= 1 and x.shape == PICTURES.shape for x in found)
    assert np.array_equal(found[0], corrupt.corrupted(PICTURES, f"{kind}-1", 0))
    grey = corrupt.corrupted(PICTURES[..., 0], f"{kind}-2", 0)
    assert grey.shape == (5, 16, 16) and np.isfinite(grey).all()


def test_random_corruptions_follow_their_seed_and_formulas() -> None:
    for kind, random in {"noise": True, "haze": True, "blur": False, "contrast": False}.items():
        other = corrupt.corrupted(PICTURES, f"{kind}-3", 1)
        assert np.array_equal(other, corrupt.corrupted(PICTURES, f"{kind}-3", 0)) != random
    mean = PICTURES.mean((1, 2), keepdims=True)
    assert np.allclose(corrupt.corrupted(PICTURES, "contrast-1", 0), 0.6 * PICTURES + 0.4 * mean)
    dark = corrupt.haze(np.zeros((2, 8, 8)), 5, np.random.default_rng(0))
    assert np.isclose(dark.max((1, 2)), 0.81).all() and np.isclose(dark.min((1, 2)), 0.405).all()
    fields = corrupt.smooth_fields((2, 32, 32), np.random.default_rng(0))
    assert np.abs(np.diff(fields, axis=1)).max() < 0.3
    with pytest.raises(DazooError, match="unknown corruption 'noise-6'"):
        corrupt.corrupted(PICTURES, "noise-6", 0)


def test_no_digit_is_in_both_halves_and_all_corruptions_are_of_the_same_ones() -> None:
    clean, noisy, blurred = (load_domain("digits_c", d) for d in ("clean", "noise-3", "blur-1"))
    assert len(clean) + len(noisy) == 1797 and torch.equal(noisy.y, blurred.y)
    counts = torch.stack([torch.bincount(d.y, minlength=10) for d in (clean, noisy)])
    assert int((counts[0] - counts[1]).abs().max()) <= 1
    assert torch.cdist(clean.x, load_domain("digits_c", "contrast-1").x).min() > 0
    assert load_domain("digits_c", "haze-5", kind="image").x.dtype == torch.uint8
    assert load_domain("digits_c", "noise-3").fingerprint == noisy.fingerprint
    assert load_domain("digits_c", "noise-3", data_seed=1).fingerprint != noisy.fingerprint
    assert len(expand_tasks(["digits_c/*->*"])) == 20


def test_photographs_are_corrupted_in_halves() -> None:
    root = real_data("office_caltech10")
    clean, hazy = (load_domain("office_caltech10_c", d, root, image_size=32) for d in ("dslr", "dslr-haze-4"))
    whole = load_domain("office_caltech10", "dslr", root, features="images", image_size=32)
    assert len(clean) + len(hazy) == len(whole) and hazy.x.dtype == torch.uint8
    assert float(hazy.x.double().mean()) > float(clean.x.double().mean())
    again = load_domain("office_caltech10_c", "dslr-haze-4", root, image_size=32)
    assert again.fingerprint == hazy.fingerprint
