"""Views of samples: what a network sees of raw data, with and without augmentation.

Pure functions on whole batches, on the device the batch lies on. All chance comes from the generator passed in (of the
same device); every sample of a batch draws its own crop, flip, colours and noise. Images are stored as uint8
(b, height, width, channels) and leave as normalised float32 (b, channels, size, size) in channels-last memory format.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor


@dataclass(frozen=True)
class ImageView:
    """How images enter a network.

    Attributes:
        size: side of the square output in pixels.
        mean, std: normalisation per channel of values scaled to [0, 1].
        crop: side of the crop as a share of the shorter image side, but never below ``size`` where the image has as
            many pixels. A training crop as large as the image has room to move because the border is repeated over
            an eighth of the side.
        flip: whether training views are mirrored at random, which is wrong for digits and letters. By default only
            views that crop (``crop`` below 1), as pretrained networks for photographs do.
        channels_last: memory format of the output.
    """

    size: int
    mean: tuple[float, ...] = (0.5, 0.5, 0.5)
    std: tuple[float, ...] = (0.5, 0.5, 0.5)
    crop: float = 1.0
    flip: bool | None = None
    channels_last: bool = True

    @property
    def flips(self) -> bool:
        return self.crop < 1 if self.flip is None else self.flip


# -- images -----------------------------------------------------------------------------------------------------------


def eval_images(x: Tensor, view: ImageView) -> Tensor:
    """The central square crop, resized with antialiasing.

    Args:
        x: (b, height, width, channels) uint8.
    """
    height, width = x.shape[1:3]
    side = _side(x, view)
    top, left = (height - side) // 2, (width - side) // 2
    return _finish(x[:, top : top + side, left : left + side], view)


def weak_images(x: Tensor, view: ImageView, gen: torch.Generator) -> Tensor:
    """A square crop at a random place and, with probability 1/2, its mirror image.

    Args:
        x: (b, height, width, channels) uint8.
    """
    b, height, width = x.shape[:3]
    side = _side(x, view)
    pad = math.ceil(side / 8) if side == min(height, width) else 0
    top = _integers(height + 2 * pad - side, b, gen, x.device)
    left = _integers(width + 2 * pad - side, b, gen, x.device)
    steps = torch.arange(side, device=x.device)
    columns = steps.expand(b, side)
    if view.flips:
        mirrored = torch.rand(b, 1, generator=gen, device=x.device) < 0.5
        columns = torch.where(mirrored, side - 1 - columns, columns)
    rows = (top[:, None] + steps - pad).clamp(0, height - 1)
    columns = (left[:, None] + columns - pad).clamp(0, width - 1)
    each = torch.arange(b, device=x.device)
    return _finish(x[each[:, None, None], rows[:, :, None], columns[:, None, :]], view)


def strong_images(
    x: Tensor,
    view: ImageView,
    gen: torch.Generator,
    *,
    area: float = 0.4,
    aspect: float = 4 / 3,
    degrees: float = 15.0,
    colour: float = 0.4,
    grey: float = 0.2,
    cutout: float = 0.3,
) -> Tensor:
    """A random resized, rotated, mirrored crop with changed colours and a grey square.

    Args:
        x: (b, height, width, channels) uint8.
        area: least share of the central square's area that the crop covers.
        aspect: largest ratio of the crop's sides, in either direction.
        degrees: largest rotation.
        colour: brightness, contrast and saturation are scaled by factors in [1 - colour, 1 + colour].
        grey: share of the colour images that lose their colour.
        cutout: largest side of the square that is replaced by the mean, as a share of ``view.size``.
    """
    b, here = len(x), x.device
    images = _cropped(x, view, gen, area, aspect, degrees)
    images = _jitter_colour(images, colour, grey, gen)
    images = _normalise(images, view)
    longest = max(1, int(cutout * view.size))
    side = _integers(longest, b, gen, here)[:, None]
    steps = torch.arange(view.size, device=here)
    top, left = (_integers(view.size - 1, b, gen, here)[:, None] - side // 2 for _ in range(2))
    rows = (steps >= top) & (steps < top + side)
    columns = (steps >= left) & (steps < left + side)
    hole = (rows[:, :, None] & columns[:, None, :])[:, None]
    return _layout(images.masked_fill(hole, 0.0), view)


def resized_images(
    x: Tensor, view: ImageView, gen: torch.Generator, *, area: float = 0.08, aspect: float = 4 / 3
) -> Tensor:
    """A crop of random place, size and shape, resized to the output and, with probability 1/2, mirrored.

    Args:
        x: (b, height, width, channels) uint8.
        area: least share of the central square's area that the crop covers.
        aspect: largest ratio of the crop's sides, in either direction.
    """
    return _layout(_normalise(_cropped(x, view, gen, area, aspect, 0.0), view), view)


def squashed(x: Tensor, side: int) -> Tensor:
    """Whole images (b, height, width, channels), resized to squares: float32 (b, side, side, channels), 0 to 255."""
    images = _channels_first(x)
    if images.shape[2:] != (side, side):
        images = _resize(images, (side, side))
    return images.permute(0, 2, 3, 1)


def _cropped(x: Tensor, view: ImageView, gen: torch.Generator, area: float, aspect: float, degrees: float) -> Tensor:
    """Random resized, rotated, mirrored crops, (b, channels, size, size) in [0, 255]."""
    images = _channels_first(x)
    if min(images.shape[2:]) > 1.5 * view.size:  # bilinear sampling alone would alias
        scale = view.size / (view.crop * min(images.shape[2:]))
        wanted = (round(images.shape[2] * scale), round(images.shape[3] * scale))
        images = _resize(images, wanted)
    shape = [len(x), x.shape[3], view.size, view.size]
    grid = F.affine_grid(_affine(images, view, gen, area, aspect, degrees), shape, False)
    return F.grid_sample(images, grid, mode="bilinear", padding_mode="reflection", align_corners=False)


def _side(x: Tensor, view: ImageView) -> int:
    shorter = min(x.shape[1:3])
    return max(round(view.crop * shorter), min(view.size, shorter))


def _integers(high: int, n: int, gen: torch.Generator, device: torch.device) -> Tensor:
    """(n,) integers in [0, high]."""
    return torch.randint(0, high + 1, (n,), generator=gen, device=device)


def _uniform(low: float, high: float, n: int, like: Tensor, gen: torch.Generator) -> Tensor:
    return low + (high - low) * torch.rand(n, generator=gen, device=like.device)


def _channels_first(x: Tensor) -> Tensor:
    """(b, h, w, c) uint8 as float (b, c, h, w) in [0, 255]; already channels-last in memory."""
    return x.permute(0, 3, 1, 2).float()


def _finish(x: Tensor, view: ImageView) -> Tensor:
    images = _channels_first(x)
    if images.shape[2] != view.size:
        images = F.interpolate(
            images, size=(view.size, view.size), mode="bilinear", antialias=True, align_corners=False
        )
    return _layout(_normalise(images, view), view)


def _resize(images: Tensor, size: tuple[int, ...]) -> Tensor:
    return F.interpolate(images, size=size, mode="bilinear", antialias=True, align_corners=False)


def _normalise(images: Tensor, view: ImageView) -> Tensor:
    channels = images.shape[1]
    mean = view.mean if len(view.mean) == channels else (sum(view.mean) / len(view.mean),) * channels
    std = view.std if len(view.std) == channels else (sum(view.std) / len(view.std),) * channels
    scale = torch.tensor([1 / (255 * s) for s in std], device=images.device).view(1, -1, 1, 1)
    shift = torch.tensor([-m / s for m, s in zip(mean, std)], device=images.device).view(1, -1, 1, 1)
    return images * scale + shift


def _layout(images: Tensor, view: ImageView) -> Tensor:
    return images.contiguous(memory_format=torch.channels_last if view.channels_last else torch.contiguous_format)


def _affine(
    images: Tensor, view: ImageView, gen: torch.Generator, area: float, aspect: float, degrees: float
) -> Tensor:
    """(b, 2, 3) maps from output to input coordinates, both in [-1, 1]."""
    b, _, height, width = images.shape
    least = torch.sqrt(_uniform(area, 1.0, b, images, gen))
    stretch = torch.exp(_uniform(-1.0, 1.0, b, images, gen) * (0.5 * math.log(aspect)))
    tall, wide = (least / stretch).clamp(max=1.0), (least * stretch).clamp(max=1.0)
    angle = _uniform(-math.radians(degrees), math.radians(degrees), b, images, gen)
    move_x = _uniform(-1.0, 1.0, b, images, gen) * (1 - wide)
    move_y = _uniform(-1.0, 1.0, b, images, gen) * (1 - tall)
    if view.flips:
        wide = wide * (1 - 2 * (_uniform(0.0, 1.0, b, images, gen) < 0.5).float())
    short = min(height, width)
    fx, fy = short / width, short / height
    cos, sin = torch.cos(angle), torch.sin(angle)
    first = torch.stack([fx * wide * cos, -fx * tall * sin, fx * move_x], dim=1)
    second = torch.stack([fy * wide * sin, fy * tall * cos, fy * move_y], dim=1)
    return torch.stack([first, second], dim=1)


def _jitter_colour(images: Tensor, strength: float, grey_share: float, gen: torch.Generator) -> Tensor:
    """Brightness, contrast and saturation of (b, c, h, w) in [0, 255]."""
    b, channels = images.shape[:2]
    factors = _uniform(1 - strength, 1 + strength, 3 * b, images, gen).view(3, b, 1, 1, 1)
    images = images * factors[0]
    centre = images.mean(dim=(1, 2, 3), keepdim=True)
    images = centre + factors[1] * (images - centre)
    if channels == 3:
        weights = torch.tensor([0.299, 0.587, 0.114], device=images.device).view(1, 3, 1, 1)
        grey = (images * weights).sum(dim=1, keepdim=True)
        colourless = (_uniform(0.0, 1.0, b, images, gen) < grey_share).view(b, 1, 1, 1)
        images = grey + factors[2].masked_fill(colourless, 0.0) * (images - grey)
    return images.clamp(0.0, 255.0)


# -- vectors ----------------------------------------------------------------------------------------------------------


def weak_vectors(x: Tensor, gen: torch.Generator, *, noise: float = 0.05) -> Tensor:
    """``x`` (b, d) plus Gaussian noise of ``noise`` times each feature's standard deviation in the batch."""
    return x + noise * _deviation(x, 0) * _gauss(x.shape, x, gen)


def strong_vectors(x: Tensor, gen: torch.Generator, *, noise: float = 0.2, drop: float = 0.2) -> Tensor:
    """``x`` (b, d) with a share ``drop`` of its entries replaced by their batch mean, plus noise as above."""
    kept = torch.rand(x.shape, generator=gen, device=x.device, dtype=x.dtype) >= drop
    return torch.where(kept, x, x.mean(dim=0, keepdim=True)) + noise * _deviation(x, 0) * _gauss(x.shape, x, gen)


# -- series -----------------------------------------------------------------------------------------------------------


def weak_series(x: Tensor, gen: torch.Generator, *, jitter: float = 0.05, scaling: float = 0.1) -> Tensor:
    """``x`` (b, channels, length), each channel scaled by a factor of mean 1 and deviation ``scaling``, plus Gaussian
    noise of ``jitter`` times the channel's standard deviation over time."""
    factor = 1 + scaling * _gauss((*x.shape[:2], 1), x, gen)
    return factor * x + jitter * _deviation(x, 2) * _gauss(x.shape, x, gen)


def strong_series(
    x: Tensor, gen: torch.Generator, *, jitter: float = 0.2, scaling: float = 0.3, mask: float = 0.25
) -> Tensor:
    """The weak view with larger jitter and scaling, and up to ``mask`` of the time set to each channel's mean."""
    b, _, length = x.shape
    out = weak_series(x, gen, jitter=jitter, scaling=scaling)
    span = _integers(int(mask * length), b, gen, x.device)[:, None]
    start = _integers(length - 1, b, gen, x.device)[:, None]
    steps = torch.arange(length, device=x.device)
    hidden = ((steps >= start) & (steps < start + span))[:, None]
    return torch.where(hidden, out.mean(dim=2, keepdim=True), out)


def strong_spectrograms(x: Tensor, gen: torch.Generator, *, bands: float = 0.25, frames: float = 0.25) -> Tensor:
    """SpecAugment (Park et al., 2019, arXiv:1904.08779) without its warping of time: of spectrograms ``x`` (b, bands,
    frames) twice up to a share of the bands and twice up to a share of the frames set to the sample's mean."""
    out, mean = x, x.mean(dim=(1, 2), keepdim=True)
    for dim, share in ((1, bands), (2, frames), (1, bands), (2, frames)):
        size = x.shape[dim]
        span = _integers(int(share * size), len(x), gen, x.device)[:, None]
        start = _integers(size - 1, len(x), gen, x.device)[:, None]
        steps = torch.arange(size, device=x.device)
        hidden = (steps >= start) & (steps < start + span)
        out = torch.where(hidden[:, :, None] if dim == 1 else hidden[:, None], mean, out)
    return out


def strong_tokens(x: Tensor, gen: torch.Generator, *, drop: float = 0.15) -> Tensor:
    """Numbers of tokens (b, length), 0 for none, of which a share ``drop`` is left out, never the first."""
    gone = torch.rand(x.shape, generator=gen, device=x.device) < drop
    gone[:, 0] = False
    return torch.where(gone, torch.zeros_like(x), x).float()


def _deviation(x: Tensor, dim: int) -> Tensor:
    return x.std(dim=dim, keepdim=True, correction=0)


def _gauss(shape: tuple[int, ...] | torch.Size, like: Tensor, gen: torch.Generator) -> Tensor:
    return torch.randn(shape, generator=gen, device=like.device, dtype=like.dtype)


# -- pieces -----------------------------------------------------------------------------------------------------------


def shuffled_pieces(x: Tensor, gen: torch.Generator, pieces: int = 4) -> Tensor:
    """Inputs of a network with their pieces in a random order, each sample's own: shapes are lost and values stay.

    Pictures (b, channels, height, width) as ``pieces`` x ``pieces`` patches, resized where a side is no multiple of it;
    series (b, channels, length) and vectors (b, d) as ``pieces ** 2`` runs of nearly equal length.
    """
    order = torch.rand(len(x), pieces**2, generator=gen, device=x.device).argsort(1)
    if x.ndim == 4:
        size = x.shape[2:]
        whole = tuple(max(pieces, side // pieces * pieces) for side in size)
        x = x if whole == tuple(size) else _resize(x, whole)
        b, c, (high, wide) = len(x), x.shape[1], (side // pieces for side in whole)
        parts = x.reshape(b, c, pieces, high, pieces, wide).permute(0, 2, 4, 1, 3, 5).flatten(1, 2)
        parts = parts[torch.arange(b, device=x.device)[:, None], order].unflatten(1, (pieces, pieces))
        x = parts.permute(0, 3, 1, 4, 2, 5).reshape(b, c, *whole)
        return x if whole == tuple(size) else _resize(x, tuple(size))
    piece = torch.arange(x.shape[-1], device=x.device) * pieces**2 // x.shape[-1]
    places = order.argsort(1)[:, piece].argsort(dim=1, stable=True)
    return x.gather(-1, places if x.ndim == 2 else places[:, None].expand_as(x))
