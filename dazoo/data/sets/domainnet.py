"""DomainNet: 345 objects in six styles, by the lists of its cleaned version.

Files below the data root: ``domainnet/<domain>_train.txt`` and ``domainnet/<domain>_test.txt`` with lines ``<file>
<class number>``, and the images ``domainnet/<domain>/<class>/*.jpg`` beside them; without lists, all images of the
folders.
"""

from __future__ import annotations

from dazoo.core.paper import Paper
from dazoo.data.image_sets import ImageSet

COUNTS = {
    "clipart": 48_129,
    "infograph": 51_605,
    "painting": 72_266,
    "quickdraw": 172_500,
    "real": 172_947,
    "sketch": 69_128,
}

ImageSet(
    name="domainnet",
    places={d: (f"domainnet/{d}_train.txt+domainnet/{d}_test.txt", f"domainnet/{d}") for d in COUNTS},
    n_classes=345,
    counts=COUNTS,
    description="345 objects in six styles: clipart, infograph, painting, quickdraw, real, sketch",
    license="research use (fair use notice of its authors); Peng et al. 2019",
    where="get the archives and lists of the cleaned version named on its authors' page and unpack them so that "
    "domainnet/clipart_train.txt, domainnet/clipart_test.txt and domainnet/clipart/<class>/*.jpg (and so on) lie below "
    "the data root",
    papers=(
        Paper(
            title="Moment Matching for Multi-Source Domain Adaptation",
            authors="Xingchao Peng, Qinxun Bai, Xide Xia, Zijun Huang, Kate Saenko, Bo Wang",
            year=2019,
            url="https://arxiv.org/abs/1812.01754",
            venue="IEEE International Conference on Computer Vision",
        ),
    ),
    splits={"universal": (150, 50, 145)},
).register()
