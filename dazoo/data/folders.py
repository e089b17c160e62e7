"""Files of one's own in folders ``<path>/<domain>/<class>/<file>``: the domains, and what a domain holds.

Every folder below ``path`` is a domain and every folder below that a class, empty ones included. Files directly below
a domain's folder have no label: without class folders they make an unlabelled domain, which can serve as a target;
beside class folders, a target that was labelled in part.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from dazoo.core.errors import DazooError
from dazoo.data.generic import class_names, domain_names, locate


@dataclass(frozen=True)
class Found:
    """Files of a domain with their class indices ``y`` (n,), None where it has no classes, and which of them count."""

    files: list[Path]
    y: Tensor | None
    classes: tuple[str, ...]
    known: Tensor | None


def domains_below(path: object, root: Path | None, dataset: str, instead: str = "") -> tuple[str, ...]:
    """The domains below ``path``. ``instead``: what to do with a file, for the message.

    Raises:
        DazooError: nothing is there, or it is a file.
    """
    place = locate(path, root, dataset)
    if not place.is_dir():
        raise DazooError(f"the dataset {dataset!r} needs a folder, but {place} is a file{instead and f'; {instead}'}")
    return domain_names(_folders(place), place)


def found_below(
    path: object, root: Path | None, dataset: str, domain: str, policy: str, suffixes: Collection[str], what: str
) -> Found:
    """The files of one domain, sorted by class and name, those without a class last.

    Args:
        policy: ``same``, ``common`` or ``union``, see ``dazoo.data.generic``.
        suffixes: of the files, in small letters. what: their name in the singular, for the message.

    Raises:
        DazooError: nothing is there.
    """
    place = locate(path, root, dataset)
    present = {d: _folders(place / d) or None for d in domains_below(path, root, dataset)}
    chosen = class_names(present, domain, policy)
    inside = [_files(place / domain / c, suffixes) for c in chosen] if present[domain] else []
    groups = [*inside, _files(place / domain, suffixes)]
    files = [file for group in groups for file in group]
    if not files:
        listed = ", ".join(suffixes)
        raise DazooError(f"{place / domain} holds no {what} ({listed}); put some there or into its class folders")
    if not inside:
        return Found(files, None, chosen, None)
    y = torch.repeat_interleave(torch.arange(len(groups)), torch.tensor([len(group) for group in groups]))
    return Found(files, y, chosen, y < len(chosen))


def _folders(place: Path) -> list[str]:
    return sorted(f.name for f in place.iterdir() if f.is_dir() and not f.name.startswith("."))


def _files(place: Path, suffixes: Collection[str]) -> list[Path]:
    if not place.is_dir():
        return []
    return sorted(f for f in place.iterdir() if f.suffix.lower() in suffixes and not f.name.startswith("."))
