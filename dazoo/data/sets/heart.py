"""Heart disease in four hospitals: 13 features of mixed types with real gaps, and other shares of the ill.

File below the data root: ``heart/hospitals.csv`` with the 13 features, ``hospital`` and ``disease`` (0 or 1). Outside
Cleveland most cells of ``ca``, ``thal`` and ``slope`` are missing; 46, 36, 75 and 93 % of the patients are ill.
"""

from __future__ import annotations

from pathlib import Path

from dazoo.core.errors import DazooError
from dazoo.core.paper import Paper
from dazoo.data.domain import Domain
from dazoo.data.registry import Dataset, register_dataset
from dazoo.data.sets import table

DOMAINS = ("cleveland", "hungarian", "va", "switzerland")


def load(domain: str, root: Path | None) -> Domain:
    """The patients of one hospital, in the order of the file.

    Raises:
        DazooError: the file is missing.
    """
    place = (root or Path()) / "heart" / "hospitals.csv"
    if not place.is_file():
        raise DazooError(f"the dataset heart needs {place} (13 features, hospital, disease); put the file there")
    return table.load(domain, root, path=str(place), label_column="disease", domain_column="hospital")


register_dataset(
    Dataset(
        name="heart",
        domains=DOMAINS,
        load=load,
        description="heart disease, 13 features of mixed types with gaps, 4 hospitals, 920 patients",
        options={},
        needs_root=True,
        license="CC BY 4.0; UCI heart disease (Janosi, Steinbrunn, Pfisterer, Detrano)",
        papers=(
            Paper(
                title="International Application of a New Probability Algorithm for the Diagnosis of Coronary Artery "
                "Disease",
                authors="Robert Detrano, Andras Janosi, Walter Steinbrunn, Matthias Pfisterer, Johann-Jakob Schmid, "
                "Sarbjit Sandhu, Kern H. Guppy, Stella Lee, Victor Froelicher",
                year=1989,
                url="https://doi.org/10.1016/0002-9149(89)90524-9",
                venue="American Journal of Cardiology (Journal)",
            ),
        ),
        encoder="table",
    )
)
