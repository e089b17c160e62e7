"""Office-Home: 65 everyday objects as art, clip art, product pictures and photographs.

Files below the data root: ``office_home/<domain>/<class>/*.jpg``, with the domains called as its authors do.
"""

from __future__ import annotations

from dazoo.core.paper import Paper
from dazoo.data.image_sets import ImageSet

ImageSet(
    name="office_home",
    places={
        "art": ("office_home/Art", "OfficeHomeDataset_10072016/Art"),
        "clipart": ("office_home/Clipart", "OfficeHomeDataset_10072016/Clipart"),
        "product": ("office_home/Product", "OfficeHomeDataset_10072016/Product"),
        "real_world": ("office_home/Real World", "office_home/Real_World", "OfficeHomeDataset_10072016/Real World"),
    },
    n_classes=65,
    counts={"art": 2427, "clipart": 4365, "product": 4439, "real_world": 4357},
    description="65 everyday objects: art, clipart, product, real_world",
    license="research use; Venkateswara et al. 2017",
    where="get OfficeHomeDataset_10072016.zip, named on its authors' page, and unpack it so that "
    "office_home/Art/<class>/*.jpg, office_home/Clipart, office_home/Product and office_home/Real World lie below "
    "the data root",
    papers=(
        Paper(
            title="Deep Hashing Network for Unsupervised Domain Adaptation",
            authors="Hemanth Venkateswara, Jose Eusebio, Shayok Chakraborty, Sethuraman Panchanathan",
            year=2017,
            url="https://arxiv.org/abs/1706.07522",
            venue="IEEE Conference on Computer Vision and Pattern Recognition",
        ),
    ),
    splits={"partial": (25, 40, 0), "open": (25, 0, 40), "universal": (10, 5, 50)},
).register()
