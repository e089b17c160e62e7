"""Texts of one's own: ``<path>/<domain>/<class>/*.txt``, one text per file.

Every folder below ``path`` is a domain and every folder below that a class, as of the dataset ``folder``. Files are
read as UTF-8, and what is none as Latin-1, which a warning says. Texts in a table are the dataset ``table`` with
``text_column``.

    load_task("text_folder/books->films", path="my_reviews")
"""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from pathlib import Path

from dazoo.core.errors import DazooError, DazooWarning
from dazoo.data.domain import Domain
from dazoo.data.folders import domains_below, found_below
from dazoo.data.generic import POLICIES, check_choice, content_of
from dazoo.data.raw import Texts
from dazoo.data.registry import Dataset, register_dataset
from dazoo.data.samples import Schema

SUFFIXES = (".txt",)


def names(root: Path | None, path: str | None = None, **options: object) -> tuple[str, ...]:
    """The domains below ``path``."""
    return domains_below(path, root, "text_folder", "texts in a table are the dataset table with text_column")


def check(classes: str, **options: object) -> None:
    """Refuse choices that are none."""
    check_choice("classes", classes, POLICIES)


def load(domain: str, root: Path | None, path: str | None = None, classes: str = "same") -> Domain:
    """The texts of one domain, sorted by class and name, those without a class last.

    Args:
        domain: name of the folder.
        root: the data root, where ``path`` is looked up if it does not exist as it is.
        path: the folder of the domains.
        classes: ``same``, ``common`` or ``union``, see ``dazoo.data.generic``.

    Raises:
        DazooError: nothing is there, a file cannot be read, or all texts are empty.
    """
    found = found_below(path, root, "text_folder", domain, classes, SUFFIXES, "text")
    x = Texts.of(read_texts(found.files))
    return Domain(domain, x, found.y, found.classes, "text", known=found.known, schema=Schema("text", ()))


def read_texts(files: Sequence[Path]) -> list[str]:
    """One text per file; a file that is no UTF-8 is Latin-1, which decodes everything."""
    texts, old = [], []
    for file in files:
        try:
            content = file.read_bytes()
        except OSError as error:
            raise DazooError(f"cannot read the text {file} ({error}); replace the file or remove it") from error
        try:
            texts.append(content.decode("utf-8-sig"))
        except UnicodeDecodeError:
            old.append(file)
            texts.append(content.decode("latin-1"))
    if old:
        warnings.warn(
            f"{len(old)} of {len(files)} texts, first {old[0]}, are not in UTF-8 and were read as Latin-1; store them "
            "in UTF-8 if letters look wrong",
            DazooWarning,
            stacklevel=4,
        )
    return texts


register_dataset(
    Dataset(
        name="text_folder",
        domains=names,
        load=load,
        description="your own texts in folders <path>/<domain>/<class>/*.txt",
        options={"path": None, "classes": "same"},
        license="yours",
        content=content_of,
        check=check,
        encoder="tfidf",
    )
)
