"""20 newsgroups as pairs of domains: two top groups to be told apart, their sub-groups divided between two domains.

Six questions of two classes (``comp_sci``: computers or science, ...), each with the domains ``..._1`` and ``..._2``,
which share no newsgroup: who learns graphics from cryptography must tell Macintosh hardware from medicine. The division
is that of Dai et al. (KDD 2007), from ``_1`` to ``_2``.

Files below the data root, one message each: ``newsgroups/20news-bydate-train/<group>/<number>`` and
``newsgroups/20news-bydate-test/...`` as the archive unpacks and as scikit-learn leaves them (``20news_home``), or
``newsgroups/<group>/<number>``. A message loses its header unless ``headers: true``, since it names the sender.
"""

from __future__ import annotations

import hashlib
import warnings
from pathlib import Path
from typing import Any

import torch

from dazoo.core.errors import DazooError, DazooWarning
from dazoo.core.paper import Paper
from dazoo.data.domain import Domain
from dazoo.data.raw import Texts
from dazoo.data.registry import Dataset, register_dataset
from dazoo.data.samples import Schema

FOLDERS = ("newsgroups", "20news_home", "20newsgroups", "20news-bydate")
PARTS = ("20news-bydate-train", "20news-bydate-test")
MESSAGES = {
    "comp.graphics": 973, "comp.os.ms-windows.misc": 985, "comp.sys.ibm.pc.hardware": 982,
    "comp.sys.mac.hardware": 963, "comp.windows.x": 988, "rec.autos": 990, "rec.motorcycles": 996,
    "rec.sport.baseball": 994, "rec.sport.hockey": 999, "sci.crypt": 991, "sci.electronics": 984, "sci.med": 990,
    "sci.space": 987, "talk.politics.guns": 910, "talk.politics.mideast": 940, "talk.politics.misc": 775,
    "talk.religion.misc": 628,
}  # fmt: skip
FIRST = {
    "comp_rec": ("comp.graphics", "comp.sys.ibm.pc.hardware", "comp.sys.mac.hardware", "rec.motorcycles",
                 "rec.sport.hockey"),
    "comp_sci": ("comp.graphics", "comp.os.ms-windows.misc", "sci.crypt", "sci.electronics"),
    "comp_talk": ("comp.graphics", "comp.sys.mac.hardware", "comp.windows.x", "talk.politics.mideast",
                  "talk.religion.misc"),
    "rec_sci": ("rec.autos", "rec.sport.baseball", "sci.med", "sci.space"),
    "rec_talk": ("rec.autos", "rec.motorcycles", "talk.politics.guns", "talk.politics.misc"),
    "sci_talk": ("sci.electronics", "sci.med", "talk.politics.misc", "talk.religion.misc"),
}  # fmt: skip
"""Of each question the newsgroups of its first domain; those of its two top groups that are left are the second."""
WHERE = (
    "get the archive 20news-bydate from the page of the 20 newsgroups data set and unpack it so that "
    "newsgroups/20news-bydate-train/<group>/<number> and newsgroups/20news-bydate-test lie below the data root"
)
_TOLD: set[str] = set()


def groups(domain: str) -> tuple[str, ...]:
    """The newsgroups of a domain, e.g. of ``comp_sci_1``."""
    question, _, side = domain.rpartition("_")
    every = [g for top in question.split("_") for g in MESSAGES if g.startswith(f"{top}.")]
    return tuple(g for g in every if (g in FIRST[question]) == (side == "1"))


DOMAINS = tuple(f"{question}_{side}" for question in FIRST for side in (1, 2))
COUNTS = {domain: sum(MESSAGES[g] for g in groups(domain)) for domain in DOMAINS}


def load(domain: str, root: Path | None, headers: bool = False) -> Domain:
    """The messages of one domain, by newsgroup and number.

    Raises:
        DazooError: the files are not there; the message says which to put where.
    """
    place = _place(root or Path())
    texts, y = [], []
    classes = tuple(domain.split("_")[:2])
    for group in groups(domain):
        files = _files(place, group)
        if not files:
            raise DazooError(f"newsgroups needs messages in {place / PARTS[0] / group}, and there are none: {WHERE}")
        texts += [_message(file, headers) for file in files]
        y += [classes.index(group.split(".")[0])] * len(files)
    if len(texts) != COUNTS[domain] and domain not in _TOLD:
        _TOLD.add(domain)
        warnings.warn(
            f"newsgroups/{domain} has {len(texts)} of {COUNTS[domain]} messages here; results are no results of the "
            "whole set",
            DazooWarning,
            stacklevel=3,
        )
    return Domain(domain, Texts.of(texts), torch.tensor(y), classes, "text", schema=Schema("text", ()))


def content(root: Path, **options: Any) -> str:
    """Hash of the names and sizes of all messages that are there."""
    digest = hashlib.sha256()
    place = _place(root)
    for group in MESSAGES:
        for file in _files(place, group):
            digest.update(f"{group}/{file.name} {file.stat().st_size}\n".encode())
    return digest.hexdigest()[:16]


def _place(root: Path) -> Path:
    for folder in FOLDERS:
        if (root / folder).is_dir():
            return root / folder
    raise DazooError(f"newsgroups needs {root / FOLDERS[0]}, which is not there: {WHERE}")


def _files(place: Path, group: str) -> list[Path]:
    inside = [folder for part in (*PARTS, ".") if (folder := place / part / group).is_dir()]
    found = [f for folder in inside for f in folder.iterdir() if f.is_file() and not f.name.startswith(".")]
    return sorted(found, key=lambda f: (len(f.name), f.name, f.parts))


def _message(file: Path, headers: bool) -> str:
    text = file.read_bytes().decode("latin-1").replace("\r\n", "\n")
    _, blank, body = text.partition("\n\n")
    return body if blank and not headers else text


register_dataset(
    Dataset(
        name="newsgroups",
        domains=DOMAINS,
        load=load,
        description="20 newsgroups, six questions of two classes between sub-groups, e.g. comp_sci_1->comp_sci_2",
        options={"headers": False},
        needs_root=True,
        pairs=tuple((f"{question}_1", f"{question}_2") for question in FIRST),
        content=content,
        license="collected by Ken Lang from public newsgroups; research use",
        papers=(
            Paper(
                title="NewsWeeder: Learning to Filter Netnews",
                authors="Ken Lang",
                year=1995,
                url="https://doi.org/10.1016/B978-1-55860-377-6.50048-7",
                venue="International Conference on Machine Learning",
            ),
            Paper(
                title="Co-clustering based Classification for Out-of-domain Documents",
                authors="Wenyuan Dai, Gui-Rong Xue, Qiang Yang, Yong Yu",
                year=2007,
                url="https://doi.org/10.1145/1281192.1281218",
                venue="ACM SIGKDD International Conference on Knowledge Discovery and Data Mining",
            ),
        ),
        counts=COUNTS,
        where=WHERE,
        encoder="tfidf",
    )
)
