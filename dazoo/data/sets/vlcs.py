"""VLCS: five classes of photographs from four collections, of the field of domain generalisation.

Files below the data root: ``vlcs/<domain>/<class>/*.jpg``, as DomainBed unpacks it.
"""

from __future__ import annotations

from dazoo.core.paper import Paper
from dazoo.data.image_sets import ImageSet

NAMES = {"caltech101": "Caltech101", "labelme": "LabelMe", "sun09": "SUN09", "voc2007": "VOC2007"}

ImageSet(
    name="vlcs",
    places={d: (f"vlcs/{there}", f"VLCS/{there}") for d, there in NAMES.items()},
    n_classes=5,
    counts={"caltech101": 1415, "labelme": 2656, "sun09": 3282, "voc2007": 3376},
    description="five classes of photographs from four collections: caltech101, labelme, sun09, voc2007",
    license="research use; Fang et al. 2013 and the four collections",
    where="get the VLCS archive that DomainBed names and unpack it so that vlcs/Caltech101/<class>/*.jpg, "
    "vlcs/LabelMe, vlcs/SUN09 and vlcs/VOC2007 lie below the data root",
    papers=(
        Paper(
            title="Unbiased Metric Learning: On the Utilization of Multiple Datasets and Web Images for Softening Bias",
            authors="Chen Fang, Ye Xu, Daniel N. Rockmore",
            year=2013,
            url="https://doi.org/10.1109/ICCV.2013.208",
            venue="IEEE International Conference on Computer Vision",
        ),
    ),
).register()
