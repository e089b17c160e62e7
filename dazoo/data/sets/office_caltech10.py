"""Office-Caltech10: ten object classes in four domains, as SURF histograms or as photographs.

Files below the data root: ``office_caltech10/surf/<domain>.mat`` with ``fts`` (n, 800) and ``labels`` (n, 1) in 1..10,
and ``office_caltech10/images/<domain>/<class>/*.jpg``. Gong et al., CVPR 2012; the photographs are from Saenko et al.,
ECCV 2010, and Griffin et al., 2007.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch

from dazoo.core.errors import DazooError
from dazoo.core.paper import Paper
from dazoo.data.domain import Domain
from dazoo.data.images import check_view, decode, image_files
from dazoo.data.label_sets import TEN_CLASSES
from dazoo.data.registry import Dataset, register_dataset

DOMAINS = ("amazon", "caltech10", "dslr", "webcam")
CLASSES = (
    "backpack",
    "bike",
    "calculator",
    "headphones",
    "keyboard",
    "laptop",
    "monitor",
    "mouse",
    "mug",
    "projector",
)


def check(features: str, image_size: int, fit: str) -> None:
    """Refuse sizes that are none."""
    check_view(image_size, fit)


def load(domain: str, root: Path, features: str = "surf", image_size: int = 224, fit: str = "crop") -> Domain:
    """One domain: SURF vectors (n, 800) float64, or photographs (n, image_size, image_size, 3) uint8.

    Args:
        domain: one of ``DOMAINS``.
        root: the data root.
        features: ``surf`` or ``images``.
        image_size: side of the decoded photographs in pixels.
        fit: ``crop`` or ``squash``, see ``dazoo.data.images.decode``.

    Raises:
        DazooError: the files are missing or damaged, or an option has no such value.
    """
    if features == "surf":
        return _surf(domain, root)
    if features == "images":
        files = image_files(root / "office_caltech10" / "images" / domain, CLASSES, "office_caltech10")
        y = torch.tensor([CLASSES.index(f.parent.name) for f in files])
        return Domain(domain, decode(files, image_size, fit), y, CLASSES, "image")
    raise DazooError(f"office_caltech10: features must be 'surf' or 'images', not {features!r}")


def _surf(domain: str, root: Path) -> Domain:
    from scipy.io import loadmat

    path = root / "office_caltech10" / "surf" / f"{domain}.mat"
    if not path.is_file():
        raise DazooError(f"office_caltech10 needs {path}; put the SURF files there or name the data root by DAZOO_DATA")
    try:
        found = loadmat(path)
        x, y = np.asarray(found["fts"], dtype=np.float64), np.asarray(found["labels"]).ravel().astype(np.int64) - 1
    except Exception as error:
        raise DazooError(f"{path} is damaged or no SURF file ({error}); copy it again") from error
    return Domain(domain, torch.from_numpy(x), torch.from_numpy(y), CLASSES)


PAPERS = (
    Paper(
        title="Geodesic Flow Kernel for Unsupervised Domain Adaptation",
        authors="Boqing Gong, Yuan Shi, Fei Sha, Kristen Grauman",
        year=2012,
        url="https://doi.org/10.1109/CVPR.2012.6247911",
        venue="IEEE Conference on Computer Vision and Pattern Recognition",
    ),
    Paper(
        title="Adapting Visual Category Models to New Domains",
        authors="Kate Saenko, Brian Kulis, Mario Fritz, Trevor Darrell",
        year=2010,
        url="https://doi.org/10.1007/978-3-642-15561-1_16",
        venue="European Conference on Computer Vision",
    ),
    Paper(
        title="Caltech-256 Object Category Dataset",
        authors="Gregory Griffin, Alex Holub, Pietro Perona",
        year=2007,
        venue="California Institute of Technology (Report)",
        url="https://resolver.caltech.edu/CaltechAUTHORS:CNS-TR-2007-001",
    ),
)

register_dataset(
    Dataset(
        name="office_caltech10",
        domains=DOMAINS,
        load=load,
        description="ten object classes: amazon, caltech10, dslr, webcam; SURF histograms or photographs",
        options={"features": "surf", "image_size": 224, "fit": "crop"},
        needs_root=True,
        check=check,
        license="research use; Gong et al. 2012, Saenko et al. 2010, Griffin et al. 2007",
        papers=PAPERS,
        splits=TEN_CLASSES,
    )
)
