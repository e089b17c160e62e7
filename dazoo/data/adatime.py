"""What AdaTime's datasets share: a file of windows per subject and part, its channels, classes and pairs.

    <folder>/train_<subject>.pt, test_<subject>.pt      dictionaries: ``samples`` (n, channels, length), ``labels`` (n,)

as the authors preprocessed them (Ragab et al., TKDD 2023). Files hold numbers alone and are read without running code.
``samples`` may stand with time before channels, or without the axis of a single channel. Methods see the windows of the
part ``train``; a target is tested on its part ``test``.
"""

from __future__ import annotations

import pickle
import zipfile
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from dazoo.core.archive import check_unpacked
from dazoo.core.errors import DazooError
from dazoo.core.paper import Paper
from dazoo.data.domain import Domain
from dazoo.data.generic import check_choice
from dazoo.data.registry import Dataset, register_dataset
from dazoo.data.samples import Schema

NORMALISE = ("part", "none")
BENCHMARK = Paper(
    title="AdaTime: A Benchmarking Suite for Domain Adaptation on Time Series Data",
    authors="Mohamed Ragab, Emadeldeen Eldele, Wee Ling Tan, Chuan-Sheng Foo, Zhenghua Chen, Min Wu, "
    "Chee-Keong Kwoh, Xiaoli Li",
    year=2023,
    url="https://arxiv.org/abs/2203.08321",
    venue="ACM Transactions on Knowledge Discovery from Data (Journal)",
)


@dataclass(frozen=True)
class WindowSet:
    """A dataset of AdaTime's.

    Attributes:
        folders: folders below the data root where its files may lie, the usual one first.
        subjects: the domains. pairs: those that AdaTime reports.
        channels, length: of every window.
    """

    name: str
    folders: tuple[str, ...]
    subjects: tuple[str, ...]
    pairs: tuple[tuple[str, str], ...]
    classes: tuple[str, ...]
    channels: int
    length: int
    description: str
    license: str
    papers: tuple[Paper, ...]

    @property
    def where(self) -> str:
        """Where the files are had, in a sentence."""
        return (
            f"get AdaTime's preprocessed {self.folders[0].rpartition('/')[2]} from the page that its repository names, "
            f"and put train_<subject>.pt and test_<subject>.pt into {self.folders[0]} below the data root"
        )

    def register(self) -> Dataset:
        """The dataset in the registry."""
        return register_dataset(
            Dataset(
                name=self.name,
                domains=self.subjects,
                load=partial(load, self),
                description=self.description,
                options={"normalise": "part"},
                needs_root=True,
                pairs=self.pairs,
                check=_check,
                license=self.license,
                papers=(BENCHMARK, *self.papers),
                where=self.where,
            )
        )


def _check(normalise: str) -> None:
    check_choice("normalise", normalise, NORMALISE)


def load(family: WindowSet, domain: str, root: Path | None, normalise: str = "part") -> Domain:
    """The windows of one subject (n, channels, length) float32, the part ``test`` for testing.

    Args:
        normalise: ``part``: the channels of each part by its own mean and deviation, as AdaTime does; or ``none``.

    Raises:
        DazooError: files are not there (the message says which to put where), damaged, or of other windows.
    """
    train, test = (_part(family, _place(family, domain, part, root), domain, normalise) for part in ("train", "test"))
    return Domain(domain, *train, family.classes, "series", test=Domain(domain, *test, family.classes, "series"),
                  schema=Schema("series", (family.channels, family.length)))  # fmt: skip


def _place(family: WindowSet, domain: str, part: str, root: Path | None) -> Path:
    places = [(root or Path()) / folder / f"{part}_{domain}.pt" for folder in family.folders]
    for place in places:
        if place.is_file():
            return place
    raise DazooError(f"{family.name} needs {places[0]}, which is not there: {family.where}")


def _part(family: WindowSet, place: Path, domain: str, normalise: str) -> tuple[Tensor, Tensor]:
    found = read_tensors(place)
    if not {"samples", "labels"} <= set(found):
        raise DazooError(f"{place} holds {sorted(found)}, not 'samples' and 'labels'; {family.where}")
    x, y = found["samples"].float(), found["labels"]
    x = x[:, None] if x.ndim == 2 else x
    shape = (family.channels, family.length)
    if x.ndim == 3 and tuple(x.shape[1:]) == shape[::-1] != shape:
        x = x.transpose(1, 2)
    if x.ndim != 3 or tuple(x.shape[1:]) != shape:
        raise DazooError(f"{place}: windows are {tuple(x.shape[1:])}, not (channels, length) = {shape}; copy it again")
    y = y.reshape(-1).round().long()
    if len(y) != len(x) or not bool(((y >= 0) & (y < len(family.classes))).all()):
        raise DazooError(
            f"{place}: {len(x)} windows have {len(y)} labels up to {int(y.max())}, which must be one each below "
            f"{len(family.classes)}; copy it again"
        )
    if normalise == "part":
        mean, std = x.double().mean((0, 2)), x.double().std((0, 2))
        std = torch.where(std > 0, std, torch.ones_like(std))
        x = ((x.double() - mean[:, None]) / std[:, None]).float()
    return x.contiguous(), y


def read_tensors(place: Path) -> dict[str, Tensor]:
    """The tensors and arrays of numbers in a file that torch wrote as a dictionary; nothing in it is run.

    Raises:
        DazooError: it is damaged, or holds what is no number.
    """
    try:
        if zipfile.is_zipfile(place):
            with zipfile.ZipFile(place) as archive:
                check_unpacked(place, sum(member.file_size for member in archive.infolist()), "its tensors")
        with torch.serialization.safe_globals(_arrays()):
            held = torch.load(place, map_location="cpu", weights_only=True)
    except (OSError, EOFError, RuntimeError, ValueError, pickle.UnpicklingError, zipfile.BadZipFile) as error:
        raise DazooError(
            f"{place} is damaged or holds more than tensors and arrays, and what may be code is not loaded "
            f"({str(error).splitlines()[0]}); copy it again"
        ) from error
    if not isinstance(held, dict):
        raise DazooError(f"{place} holds a {type(held).__name__}, not a dictionary of tensors; copy it again")
    made = {}
    for key, value in held.items():
        if isinstance(value, np.ndarray) and value.dtype.kind in "biuf":
            value = torch.from_numpy(np.ascontiguousarray(value))
        if isinstance(value, Tensor):
            made[str(key)] = value
    return made


def _arrays() -> list[Any]:
    """What an array of numbers in such a file is made of, under the names of old and new versions of numpy."""
    from numpy._core.multiarray import _reconstruct

    kinds = [type(np.dtype(k)) for k in ("bool", "i1", "i2", "i4", "i8", "u1", "u2", "u4", "u8", "f2", "f4", "f8")]
    return [(_reconstruct, "numpy.core.multiarray._reconstruct"), _reconstruct, np.ndarray, np.dtype, *kinds]
