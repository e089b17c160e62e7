"""Folders of one's own as source and target: pictures, recordings or texts, in a folder per class where labelled."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from dazoo.core.errors import DazooError
from dazoo.data import audio, images
from dazoo.data.raw import Texts

TEXTS = (".txt", ".md")
SIDE = 224
KINDS = {"pictures": images.SUFFIXES, "recordings": audio.SUFFIXES, "texts": TEXTS}


def read_folders(source: Path, target: Path) -> tuple[Any, list[str], Any, list[str] | None, list[str]]:
    """Samples and labels of the source, samples and labels of the target (None without any), and a sentence.

    Raises:
        DazooError: no class folder in the source, no file in one of them, or unlike files.
    """
    found = [_listed(source), _listed(target)]
    kinds = [_kind(files, place) for (files, _), place in zip(found, (source, target))]
    if kinds[0] != kinds[1]:
        raise DazooError(f"{source} holds {kinds[0]} and {target} {kinds[1]}; source and target must be of one kind")
    (files, labels), (others, known) = found
    if not any(labels):
        swapped = "; are source and target swapped?" if any(known) else ""
        raise DazooError(f"{source} has no class folders; put {kinds[0]} into {source}/CLASS/{swapped}")
    loose = [f for f, y in zip(files, labels) if not y]
    files, labels = [f for f, y in zip(files, labels) if y], [y for y in labels if y]
    said = f"{len(files)} {kinds[0]} in {len(set(labels))} class folders, and {len(others)} as target"
    notes = [said, *([f"{len(loose)} files outside of class folders are left out"] if loose else [])]
    x, xt = samples_of(kinds[0], files), samples_of(kinds[0], others, like=source)
    return x, labels, xt, known if any(known) else None, notes


def read_samples(place: Path, rate: float | None = None) -> tuple[Any, list[str]]:
    """The samples in a folder, class folders or not, and the names of their files."""
    files, _ = _listed(place)
    kind = _kind(files, place)
    x = audio.read_all(files, int(rate)) if kind == "recordings" and rate else samples_of(kind, files)
    return x, [str(f.relative_to(place)) for f in files]


def names_in(place: Path) -> list[str]:
    """Names of the files of a folder in the order of its samples."""
    return [str(f.relative_to(place)) for f in _listed(place)[0]]


def samples_of(kind: str, files: list[Path], like: Path | None = None) -> Any:
    """Files as samples; recordings have the lowest rate below ``like`` or their own folder."""
    if kind == "pictures":
        return images.decode(files, SIDE)
    if kind == "texts":
        return Texts.of([f.read_text(encoding="utf-8", errors="replace") for f in files])
    from dazoo.data.sets.audio_folder import lowest_rate

    return audio.read_all(files, lowest_rate(like or _top(files)))


def _top(files: list[Path]) -> Path:
    shared = files[0].parent
    while not all(f.is_relative_to(shared) for f in files):
        shared = shared.parent
    return shared


def _listed(place: Path) -> tuple[list[Path], list[str]]:
    """Files in the order of their names, and the class folder of each; empty for those directly in ``place``."""
    inside = sorted(d for d in place.iterdir() if d.is_dir() and not d.name.startswith("."))
    files = [(f, "") for f in sorted(place.iterdir()) if f.is_file()]
    files += [(f, d.name) for d in inside for f in sorted(d.iterdir()) if f.is_file()]
    kept = [(f, c) for f, c in files if any(f.suffix.lower() in s for s in KINDS.values()) and f.name[0] != "."]
    return [f for f, _ in kept], [c for _, c in kept]


def _kind(files: list[Path], place: Path) -> str:
    counts = {kind: sum(f.suffix.lower() in s for f in files) for kind, s in KINDS.items()}
    best = max(counts, key=lambda k: counts[k])
    if not counts[best]:
        raise DazooError(f"{place} holds no pictures, recordings or texts; put files there or into class folders")
    if counts[best] < len(files):
        raise DazooError(f"{place} mixes {', '.join(k for k, c in counts.items() if c)}; keep one kind")
    return best
