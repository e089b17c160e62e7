"""VisDA-2017: twelve objects, rendered (train) and photographed (validation, test).

Files below the data root: ``visda2017/train/<class>/*.png`` and ``visda2017/validation/<class>/*.jpg``; the test part
as ``visda2017/test/image_list.txt`` with lines ``<file> <class number>``, or class folders.
"""

from __future__ import annotations

from dazoo.core.paper import Paper
from dazoo.data.image_sets import ImageSet

ImageSet(
    name="visda2017",
    places={
        "train": ("visda2017/train", "visda2017/train_list.txt"),
        "validation": ("visda2017/validation", "visda2017/validation_list.txt"),
        "test": ("visda2017/test_list.txt", "visda2017/test"),
    },
    n_classes=12,
    counts={"train": 152_397, "validation": 55_388, "test": 72_372},
    description="twelve objects, rendered and photographed: train (synthetic), validation, test",
    license="research use; Peng et al. 2017",
    where="get train.tar and validation.tar of the VisDA-2017 classification challenge and unpack them so that "
    "visda2017/train/<class>/*.png and visda2017/validation/<class>/*.jpg lie below the data root",
    papers=(
        Paper(
            title="VisDA: The Visual Domain Adaptation Challenge",
            authors="Xingchao Peng, Ben Usman, Neela Kaushik, Judy Hoffman, Dequan Wang, Kate Saenko",
            year=2017,
            url="https://arxiv.org/abs/1710.06924",
            venue="arXiv (Report)",
        ),
    ),
    splits={"partial": (6, 6, 0), "open": (6, 0, 6), "universal": (6, 3, 3)},
).register()
