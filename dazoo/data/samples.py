"""The one door for samples: what tasks are made of, what loaders read and what models predict passes through ``read``.

Vectors become (n, d) floating point: types that single precision holds exactly become float32, longer integers
float64. Columns of frames are matched by name. Pictures become uint8 (n, height, width, channels), whether they come as
bytes, as floats in [0, 1] or as floats in 0..255, with channels first or last or without (grey). Lists of texts, frames
with columns of mixed types or with gaps, large sparse matrices and lists of arrays of unlike length stay what they are
(``data.raw``).
"""

from __future__ import annotations

import hashlib
import warnings
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from torch import Tensor

from dazoo.core.blocks import Blocks
from dazoo.core.errors import DazooError, DazooWarning
from dazoo.core.portable import Portable
from dazoo.data.arrays import numbers, some
from dazoo.data.blocks import on_disk
from dazoo.data.raw import RAW_KINDS, Ragged, Raw, Table
from dazoo.data.raw_input import is_table, read_raw

CHANNELS = (1, 3, 4)
_AXES = {"vector": (2,), "series": (3,), "image": (4,)}
_SLACK = 1e-3  # how far interpolated pixels may leave their range, as a share of it


@dataclass(frozen=True)
class Schema(Portable):
    """How samples look, remembered from those a task or model was made of.

    Attributes:
        kind: of ``Domain.kind``.
        shape: of one sample as stored: (d,), (channels, length) or (height, width, channels).
        names: names of the features, where they came with names.
        layout: of pictures as they were given: channels ``last``, ``first``, or none (``grey``).
        unit: whether pictures were given as floats in [0, 1].
        rate: steps per second of recordings and series, where it is known.
    """

    kind: str
    shape: tuple[int, ...]
    names: tuple[str, ...] = ()
    layout: str = "last"
    unit: bool = False
    rate: float | None = None

    @property
    def raw(self) -> bool:
        """Whether these are raw samples; series may be both, and are raw where their lengths differ."""
        return self.kind in RAW_KINDS and not (self.kind == "series" and len(self.shape) == 2)

    def read(self, x: Any, whose: str = "the array of samples") -> Any:
        """Samples for a model that was fitted on such ones, in any form that ``read`` takes.

        Raises:
            DazooError: they are of another kind or shape, a column is missing, or values are NaN or infinite.
        """
        found, _ = read(x, whose, like=self)
        if isinstance(found, Raw):
            if problem := found.problem():
                raise DazooError(f"{whose}: {problem}")
            return found
        if isinstance(found, Blocks):
            return found  # checked where it is read
        if found.is_floating_point() and not bool(torch.isfinite(found).all()):
            bad = ~torch.isfinite(found)
            columns = [n for n, b in zip(self.names, bad.any(0).tolist()) if b] if bad.ndim == 2 else []
            where = f" in {some(columns)}" if columns else ""
            raise DazooError(
                f"{whose}: {int(bad.flatten(1).any(1).sum())} of {len(found)} samples hold NaN or infinite values"
                f"{where}; remove or impute them before predicting"
            )
        return found


def read(x: Any, whose: str, kind: str | None = None, like: Schema | None = None) -> tuple[Any, Schema]:
    """Samples as stored in a ``Domain``, and how they look.

    Args:
        x: whatever ``dazoo.data.arrays.numbers`` takes.
        whose: whose samples they are, for messages.
        kind: of ``Domain.kind``; by default 4-D arrays are pictures, (n, d) vectors and 3-D arrays series.
        like: how the samples must look: of the source for a target, of the training samples for a model.

    Raises:
        DazooError: no samples of this kind, or unlike ``like``.
    """
    if (blocks := on_disk(x)) is not None:
        return _on_disk(blocks, whose, kind, like)
    raw = read_raw(x, whose, like.kind if like is not None else kind, like is not None and not like.raw)
    if raw is not None:
        return _like(raw, whose, like)
    found, names = _numbered(*numbers(x, whose))
    if like is not None and like.raw and like.kind == "series" and found.ndim in (2, 3):  # all of one length, here
        return _like(Ragged.of(list(found.numpy())), whose, like)
    kind = like.kind if like is not None else kind or _kind(found, whose)
    if kind == "image":
        return _pictures(found, whose, like)
    schema = Schema(kind, tuple(found.shape[1:]), names)
    if like is None:
        _check_axes(found, whose, kind)
    else:
        found, schema = _matched(found, whose, schema, like)
    return _floats(found), schema


def _on_disk(x: Blocks, whose: str, kind: str | None, like: Schema | None) -> tuple[Blocks, Schema]:
    """Samples that stay on disk and how they look; pictures are bytes with channels last, all else floating point."""
    kind = like.kind if like is not None else kind or {2: "vector", 3: "series"}.get(x.ndim, "image")
    if (kind == "image") != (x.dtype == torch.uint8) or not (kind == "image" or x.is_floating_point()):
        wanted = "bytes (n, height, width, channels)" if kind == "image" else "floating point"
        raise DazooError(f"{whose} stays on disk and holds {x.dtype}; {kind} samples on disk must be {wanted}")
    _check_axes(x, whose, kind)
    found = Schema(kind, tuple(x.shape[1:]))
    return (x, found) if like is None else _matched(x, whose, found, like)


def _like(raw: Raw, whose: str, like: Schema | None) -> tuple[Raw, Schema]:
    """Raw samples and how they look; columns of tables in the order of ``like``, missing ones empty."""
    rate = raw.rate if isinstance(raw, Ragged) else None
    if like is None:
        return raw, Schema(raw.kind, raw.form, raw.names if isinstance(raw, Table) else (), rate=rate)
    if raw.kind != like.kind:
        raise DazooError(
            f"{whose} holds {raw.kind} samples, not {like.kind} samples; give samples like those of before"
        )
    if isinstance(raw, Table):
        raw = raw.with_columns(like.names, whose)
    elif raw.form != like.shape:
        raise DazooError(f"{whose} has samples of form {raw.form}, not {like.shape}; give the same columns or channels")
    if rate and like.rate and rate != like.rate:
        raise DazooError(f"{whose} has {rate:g} steps per second, not {like.rate:g}; resample it first")
    return raw, like


def read_all(parts: Sequence[tuple[str, Any]], kind: str | None = None) -> list[tuple[Any, Schema]]:
    """``read`` for the samples of one task by name; all must look like the first.

    Raises:
        DazooError: as ``read``.
    """
    (name, x), *others = parts
    if kind is None and any(is_table(x) for _, x in parts):
        kind = "table"  # a gap or a word in one frame makes tables of all
    found = [read(x, _whose(name), kind)]
    for name, x in others:  # what came first may be an array, and the names come with a later frame
        like = found[0][1] if found[0][1].raw else replace(found[0][1], names=found[-1][1].names)
        found.append(read(x, _whose(name), like=like))
    if found[0][1].raw:
        return found
    names = found[-1][1].names
    return [(x, replace(schema, names=names)) for x, schema in found]


def _whose(name: str) -> str:
    return f"the array of {name} samples"


def _kind(x: Tensor, whose: str) -> str:
    if x.ndim == 3 and x.dtype == torch.uint8:
        warnings.warn(
            f"{whose} of shape {tuple(x.shape)} is taken as series (n, channels, length); for grey pictures say "
            "kind='image'",
            DazooWarning,
            stacklevel=5,
        )
    return {2: "vector", 3: "series"}.get(x.ndim, "image")


def _check_axes(x: Any, whose: str, kind: str) -> None:
    wanted = _AXES.get(kind)
    if wanted is None or x.ndim in wanted:
        return
    remedy = {
        "vector": "flatten every sample: x.reshape(len(x), -1)",
        "series": "series are (n, channels, length); one channel is x[:, None, :]",
    }[kind]
    raise DazooError(f"{whose} has the shape {tuple(x.shape)}, which is not that of {kind} samples; {remedy}")


def _numbered(x: Tensor, names: tuple[str, ...]) -> tuple[Tensor, tuple[str, ...]]:
    """Columns called 0 to d - 1 in this order and without names: that is how frames number them by themselves."""
    place = {n: i for i, n in enumerate(names)}
    numbering = tuple(map(str, range(len(names))))
    if not names or place.keys() != set(numbering):
        return x, names
    return (x if names == numbering else x[:, [place[n] for n in numbering]]), ()


def _matched(x: Any, whose: str, found: Schema, like: Schema) -> tuple[Any, Schema]:
    """Columns in the order of ``like`` where both have names; else the shapes must agree."""
    if found.names and like.names and found.names != like.names:
        missing = [n for n in like.names if n not in found.names]
        if missing:
            raise DazooError(
                f"{whose} lacks the columns {some(missing)}; columns are matched by name, so rename or add them"
            )
        extra = [n for n in found.names if n not in like.names]
        if extra:
            warnings.warn(f"{whose}: the columns {some(extra)} are not used", DazooWarning, stacklevel=5)
        place = {n: i for i, n in enumerate(found.names)}
        x = x[:, [place[n] for n in like.names]]
        found = replace(found, shape=tuple(x.shape[1:]), names=like.names)
    if found.shape != like.shape:
        flat = len(found.shape) == len(like.shape) == 1
        have, need = (f"{s.shape[0]} features" if flat else f"samples of shape {s.shape}" for s in (found, like))
        raise DazooError(
            f"{whose} has {have}, not {need}; all samples must be of one feature space, in training and later "
            "(setting='heterogeneous' is for a source and a target with different features)"
        )
    return x, found if found.names else replace(found, names=like.names)


def _floats(x: Tensor) -> Tensor:
    """Floating point that holds every value of the type; integers of 32 bits and more need double precision."""
    if x.dtype in (torch.float32, torch.float64):
        return x
    return x.to(torch.float64 if x.dtype in (torch.int32, torch.int64) else torch.float32)


# -- pictures ---------------------------------------------------------------------------------------------------------


def _pictures(x: Tensor, whose: str, like: Schema | None) -> tuple[Tensor, Schema]:
    """Pictures as uint8 (n, height, width, channels), whatever their range and layout."""
    if x.ndim == 2:
        raise DazooError(
            f"{whose} has the shape {tuple(x.shape)}; pictures are (n, height, width, channels): reshape it"
        )
    if x.ndim == 3:
        if like is not None and like.shape[-1] != 1:
            one = f"; one picture is x[None], of shape (1, {', '.join(map(str, x.shape))})"
            raise DazooError(f"{whose} has the shape {tuple(x.shape)}, not (n, height, width, channels){one}")
        layout, x = "grey", x[..., None]
    elif x.ndim == 4:
        layout = _layout(tuple(x.shape[1:]), whose, like)
        x = x.permute(0, 2, 3, 1) if layout == "first" else x
    else:
        raise DazooError(f"{whose} has the shape {tuple(x.shape)}; pictures are (n, height, width, channels)")
    if like is not None and x.shape[-1] != like.shape[-1]:
        raise DazooError(
            f"{whose} has pictures of {x.shape[-1]} channels (layout: {layout}), not {like.shape[-1]}; convert them, "
            "e.g. grey to colour by repeating the channel"
        )
    x, unit = _bytes(x, whose, like)
    return x.contiguous(), Schema("image", tuple(x.shape[1:]), (), layout, unit)


def _layout(shape: tuple[int, ...], whose: str, like: Schema | None) -> str:
    """Whether the channels of pictures of ``shape`` come ``first`` or ``last``."""
    channels = CHANNELS if like is None else (like.shape[-1],)
    readings = {"last": shape, "first": (shape[1], shape[2], shape[0])}
    fits = [name for name, read in readings.items() if read[-1] in channels]
    if len(fits) == 2 and like is not None:
        same = [name for name in fits if readings[name] == like.shape]
        return same[0] if len(same) == 1 else like.layout if like.layout in fits else "last"
    if len(fits) == 2:
        fits = [name for name in fits if readings[name][0] == readings[name][1]]
    if not fits and like is None:
        fits = [name for name, read in readings.items() if read[-1] < min(read[:2])]
    if len(fits) == 1:
        return fits[0]
    if like is not None:
        raise DazooError(f"{whose} has pictures of shape {shape}, not (height, width, {like.shape[-1]})")
    raise DazooError(
        f"{whose} has samples of shape {shape}, which may be pictures with channels first or last; give "
        "(height, width, channels) with 1, 3 or 4 channels and larger sides, or, if these are no pictures, vectors "
        "(n, features) or series (n, channels, length)"
    )


def _bytes(x: Tensor, whose: str, like: Schema | None) -> tuple[Tensor, bool]:
    """Pixels as uint8, and whether they were in [0, 1].

    Floats with fractions that stay in [0, 1] are shares of white; where nothing but 0 and 1 occurs, ``like`` says what
    they are, and without it they are shares too.
    """
    if x.dtype == torch.uint8 or not x.numel():
        return x.to(torch.uint8), bool(like and like.unit)
    if x.dtype == torch.bool:
        return x.to(torch.uint8) * 255, True
    floats = x.is_floating_point()
    if floats and not bool(torch.isfinite(x).all()):
        raise DazooError(f"{whose}: pictures hold NaN or infinite values; remove these pictures or fill them in")
    low, high = float(x.min()), float(x.max())
    unit = floats and high <= 1 + _SLACK
    if unit and like is not None and not like.unit and bool((x == x.round()).all()):
        unit = False
    top = 1.0 if unit else 255.0
    if (
        low < -_SLACK * top
        or high > top * (1 + _SLACK)
        or (floats and not unit and high < 2 and bool((x != x.round()).any()))
    ):
        raise DazooError(
            f"{whose}: pixels run from {low:.4g} to {high:.4g}; give pictures as bytes, floats in [0, 1] or floats in "
            "0..255, before any normalisation; if these are none, flatten them or make series (n, channels, length)"
        )
    scaled = x.to(torch.float64 if x.dtype == torch.float64 else torch.float32) * (255.0 / top)
    return scaled.round().clamp(0, 255).to(torch.uint8), unit


# -- content ----------------------------------------------------------------------------------------------------------


def content(x: Any, double: bool = False) -> list[str]:
    """A hash of every sample's values; numbers that are the same in single precision are the same.

    Args:
        x: samples (n, ...) as stored.
        double: tell numbers apart that differ in double precision only.
    """
    if isinstance(x, Raw):
        return x.hashes()
    if isinstance(x, Blocks):
        return [row for block in x.blocks() for row in content(block, double)]
    flat = x.detach().cpu().reshape(len(x), -1)
    if flat.is_floating_point():
        flat = flat.to(torch.float64 if double else torch.float32) + 0.0  # and -0 is 0
    rows = np.ascontiguousarray(flat.numpy())
    return [hashlib.blake2b(row.tobytes(), digest_size=12).hexdigest() for row in rows]
