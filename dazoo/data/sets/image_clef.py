"""ImageCLEF-DA: twelve objects with 50 images each from three collections.

Files below the data root: ``image_clef/list/cList.txt`` (``iList.txt``, ``pList.txt``) with lines ``<file> <class
number>`` and the images beside them, or ``image_clef/<domain>/<class>/*.jpg``.
"""

from __future__ import annotations

from dazoo.core.paper import Paper
from dazoo.data.image_sets import ImageSet

LISTS = {"caltech256": "c", "imagenet": "i", "pascal": "p"}

ImageSet(
    name="image_clef",
    places={d: (f"image_clef/{d}", f"image_clef/{k}", f"image_clef/{k}List.txt") for d, k in LISTS.items()},
    n_classes=12,
    counts=dict.fromkeys(LISTS, 600),
    description="twelve objects from three collections: caltech256, imagenet, pascal",
    license="research use; ImageCLEF 2014 domain adaptation task",
    where="get the ImageCLEF-DA archive of the 2014 task and unpack it so that image_clef/c, image_clef/i and "
    "image_clef/p with cList.txt, iList.txt and pList.txt beside them, or image_clef/caltech256/<class>/*.jpg "
    "(and so on), lie below the data root",
    papers=(
        Paper(
            title="Overview of the ImageCLEF 2014 Domain Adaptation Task",
            authors="Barbara Caputo, Novi Patricia",
            year=2014,
            url="https://ceur-ws.org/Vol-1180/CLEF2014wn-Image-CaputoEt2014.pdf",
            venue="Conference and Labs of the Evaluation Forum",
        ),
    ),
).register()
