"""Recordings of one's own: ``<path>/<domain>/<class>/*.wav`` (or flac, ogg, mp3).

Every folder below ``path`` is a domain and every folder below that a class, as of the dataset ``folder``. All
recordings are resampled to ``rate`` steps per second, which is the lowest that occurs where it is not said, so that
no domain is told by what the other cannot hold.

    load_task("audio_folder/studio->street", path="my_sounds")
"""

from __future__ import annotations

import warnings
from functools import lru_cache
from pathlib import Path

import torch

from dazoo.core.errors import DazooError, DazooWarning
from dazoo.data.audio import SUFFIXES, read_all
from dazoo.data.domain import Domain
from dazoo.data.generic import POLICIES, check_choice, class_names, content_of, domain_names, locate
from dazoo.data.registry import Dataset, register_dataset
from dazoo.data.samples import Schema

RATES = (1000, 192_000)
UNREAD = (".m4a", ".aac", ".wma", ".opus", ".amr", ".webm", ".mp4")
"""What people record in, and nothing here decodes."""


def names(root: Path | None, path: str | None = None, **options: object) -> tuple[str, ...]:
    """The domains below ``path``."""
    place = locate(path, root, "audio_folder")
    if not place.is_dir():
        raise DazooError(f"the dataset 'audio_folder' needs a folder, but {place} is a file")
    return domain_names(_folders(place), place)


def check(classes: str, rate: int | None = None, **options: object) -> None:
    """Refuse sizes and choices that are none."""
    check_choice("classes", classes, POLICIES)
    if rate is not None and (isinstance(rate, bool) or not isinstance(rate, int) or not RATES[0] <= rate <= RATES[1]):
        raise DazooError(f"the option rate must be a whole number of steps per second in {RATES}, not {rate!r}")


def load(
    domain: str, root: Path | None, path: str | None = None, rate: int | None = None, classes: str = "same"
) -> Domain:
    """The recordings of one domain, sorted by class and name, those without a class last.

    Args:
        domain: name of the folder.
        root: the data root, where ``path`` is looked up if it does not exist as it is.
        path: the folder of the domains.
        rate: steps per second to resample to; None for the lowest that occurs below ``path``.
        classes: ``same``, ``common`` or ``union``, see ``dazoo.data.generic``.

    Raises:
        DazooError: nothing is there, or a recording cannot be read.
    """
    place = locate(path, root, "audio_folder")
    present = {d: _folders(place / d) or None for d in names(root, path)}
    chosen = class_names(present, domain, classes)
    inside = [_recordings(place / domain / c) for c in chosen] if present[domain] else []
    groups = [*inside, _recordings(place / domain)]
    files = [file for group in groups for file in group]
    if not files:
        raise DazooError(
            f"{place / domain} holds no recording ({', '.join(SUFFIXES)}); put some into its class folders"
        )
    x = read_all(files, rate or lowest_rate(place))
    schema = Schema("audio", x.form, rate=x.rate)
    if not inside:
        return Domain(domain, x, None, chosen, "audio", schema=schema)
    y = torch.repeat_interleave(torch.arange(len(groups)), torch.tensor([len(group) for group in groups]))
    return Domain(domain, x, y, chosen, "audio", known=y < len(chosen), schema=schema)


@lru_cache(maxsize=8)
def lowest_rate(place: Path) -> int:
    """The lowest sampling rate of the recordings below a folder; it says so where there are others."""
    import wave

    rates = set()
    for file in sorted(f for f in place.rglob("*") if f.suffix.lower() in SUFFIXES):
        try:
            with wave.open(str(file), "rb") as opened:
                rates.add(opened.getframerate())
        except (OSError, EOFError, wave.Error):
            try:
                import soundfile

                rates.add(int(soundfile.info(str(file)).samplerate))
            except (ImportError, OSError, RuntimeError):
                continue  # reading it says what is wrong
    if len(rates) > 1:
        warnings.warn(
            f"the recordings below {place} have between {min(rates)} and {max(rates)} steps per second; all are "
            "resampled to the lowest, unless the option rate says another",
            DazooWarning,
            stacklevel=3,
        )
    return min(rates, default=16_000)


def _folders(place: Path) -> list[str]:
    return sorted(f.name for f in place.iterdir() if f.is_dir() and not f.name.startswith("."))


def _recordings(place: Path) -> list[Path]:
    if not place.is_dir():
        return []
    inside = [f for f in place.iterdir() if not f.name.startswith(".")]
    found = [f for f in inside if f.suffix.lower() in SUFFIXES]
    unread = sorted({f.suffix.lower() for f in inside} & set(UNREAD))
    if unread:
        warnings.warn(
            f"{place}: files that end in {', '.join(unread)} are left out; convert them to .wav or .flac",
            DazooWarning,
            stacklevel=4,
        )
    return sorted(found, key=lambda f: (len(f.name), f.name))


register_dataset(
    Dataset(
        name="audio_folder",
        domains=names,
        load=load,
        description="your own recordings in folders <path>/<domain>/<class>/*.wav",
        options={"path": None, "rate": None, "classes": "same"},
        license="yours",
        content=content_of,
        check=check,
        encoder="log_mel",
    )
)
