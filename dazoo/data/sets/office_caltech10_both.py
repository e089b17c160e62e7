"""Office-Caltech10 with every domain twice: as SURF histograms and as photographs, for tasks between the two.

``amazon_surf`` are the histograms of ``office_caltech10/amazon``, ``amazon_photos`` its photographs. A suite with
``frozen: true`` turns the photographs into features of a backbone and leaves the histograms as they are, so that source
and target have different features.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from dazoo.data.domain import Domain
from dazoo.data.images import check_view
from dazoo.data.label_sets import TEN_CLASSES
from dazoo.data.registry import Dataset, register_dataset
from dazoo.data.sets.office_caltech10 import DOMAINS, PAPERS
from dazoo.data.sets.office_caltech10 import load as load_one

FORMS = {"surf": "surf", "photos": "images"}


def load(domain: str, root: Path, image_size: int = 224, fit: str = "crop") -> Domain:
    """One domain in one form, e.g. ``amazon_surf`` (n, 800) or ``amazon_photos`` (n, image_size, image_size, 3).

    Raises:
        DazooError: the files are missing or damaged, or an option has no such value.
    """
    name, _, form = domain.rpartition("_")
    return replace(load_one(name, root, FORMS[form], image_size, fit), name=domain)


register_dataset(
    Dataset(
        name="office_caltech10_both",
        domains=tuple(f"{d}_{form}" for d in DOMAINS for form in FORMS),
        load=load,
        description="Office-Caltech10 with every domain twice, as SURF histograms and as photographs",
        options={"image_size": 224, "fit": "crop"},
        needs_root=True,
        check=check_view,
        license="research use; Gong et al. 2012, Saenko et al. 2010, Griffin et al. 2007",
        pairs=tuple(
            (f"{s}_{a}", f"{t}_{b}")
            for a, b in (("surf", "photos"), ("photos", "surf"))
            for s in DOMAINS
            for t in DOMAINS
            if s != t
        ),
        papers=PAPERS,
        splits=TEN_CLASSES,
    )
)
