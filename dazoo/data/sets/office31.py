"""Office-31: 31 office objects from a shop's catalogue, a camera and a webcam.

Files below the data root: ``office31/<domain>/images/<class>/*.jpg`` as its authors pack them, or without ``images``.
"""

from __future__ import annotations

from dazoo.core.paper import Paper
from dazoo.data.image_sets import ImageSet

DOMAINS = ("amazon", "dslr", "webcam")

ImageSet(
    name="office31",
    places={d: (f"office31/{d}/images", f"office31/{d}") for d in DOMAINS},
    n_classes=31,
    counts={"amazon": 2817, "dslr": 498, "webcam": 795},
    description="31 office objects: amazon, dslr, webcam",
    license="research use; Saenko et al. 2010",
    where="get the Office-31 archive named on its authors' page and unpack it so that "
    "office31/amazon/images/<class>/*.jpg, office31/dslr and office31/webcam lie below the data root",
    papers=(
        Paper(
            title="Adapting Visual Category Models to New Domains",
            authors="Kate Saenko, Brian Kulis, Mario Fritz, Trevor Darrell",
            year=2010,
            url="https://doi.org/10.1007/978-3-642-15561-1_16",
            venue="European Conference on Computer Vision",
        ),
    ),
    splits={"partial": (10, 21, 0), "open": (10, 0, 11), "universal": (10, 10, 11)},
).register()
