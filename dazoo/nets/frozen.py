"""Features of a frozen pretrained backbone, computed once per domain and kept on disk.

An entry's key is the hash of the samples, the backbone's name, its weights and the view it takes; so the same samples
under another domain name share an entry, and other weights never do. Writers put a whole file in place at once, so any
number of processes may make the same entry; a reader checks the checksum and makes a damaged entry anew.
"""

from __future__ import annotations

import hashlib
import json
import sys
from dataclasses import replace
from pathlib import Path

import torch
from torch import Tensor, nn

from dazoo.core.errors import DazooError, NonFiniteError
from dazoo.core.files import replacing
from dazoo.data.domain import Domain
from dazoo.data.registry import cache_root
from dazoo.nets.augment import ImageView, eval_images
from dazoo.nets.backbones.base import Backbone
from dazoo.nets.lookup import frozen_backbone

VERSION = "1"  # of the computation: raise it when features of the same key would come out differently
LONG = 200  # samples from which a progress bar is worth its line


def frozen(
    domain: Domain, backbone: str, *, image_size: int | None = None, device: str | torch.device = "cpu", batch: int = 32
) -> Domain:
    """The domain as vectors: frozen pretrained features (n, width) float32, with its test part where it has one.

    Args:
        domain: any domain whose samples the backbone takes; ``"none"`` only flattens.
        backbone: a name that ``get_backbone`` knows; of ``NAME@5`` the flattened maps after its stage 5
            (``nets.stages``). Without pretrained weights (small networks) the features would be random and are refused,
            ``"none"`` excepted.
        image_size: side of the images as the network sees them; the backbone's own by default.
        batch: images per forward pass.

    Raises:
        UnknownName: no such backbone.
        DazooError: it does not take such samples, or has no pretrained weights.
    """
    entry = frozen_backbone(backbone)
    entry.input_shape(tuple(domain.x.shape[1:]), image_size)
    if entry.name == "none":
        test = frozen(domain.test, backbone) if domain.test is not None else None
        return domain.with_x(domain.x.reshape(len(domain), -1).float(), test=test)
    if not entry.has_pretrained:
        raise DazooError(
            f"backbone {backbone!r} has no pretrained weights, so its frozen features would be random; "
            "train it (recipe with this backbone) or use 'none' or a pretrained one such as 'tf_efficientnet_lite0'"
        )
    with torch.random.fork_rng(devices=[]):
        net = entry.make(tuple(domain.x.shape[1:]), pretrained=True, image_size=image_size)
    return _frozen(domain, entry, net, _hash_weights(net), image_size, torch.device(device), batch)


def _frozen(
    domain: Domain, entry: Backbone, net: nn.Module, weights: str, size: int | None, device: torch.device, batch: int
) -> Domain:
    view = image_view(entry, tuple(domain.x.shape[1:]), size) if domain.x.ndim == 4 else None
    path = cache_root() / "features" / f"{_key(domain, entry, weights, view)}.safetensors"
    x = read(path, len(domain))
    if x is None:
        x = extract(domain.x, net, view, device=device, batch=batch, label=f"{entry.name} features of {domain.name}")
        write(path, x)
    test = None if domain.test is None else _frozen(domain.test, entry, net, weights, size, device, batch)
    return domain.with_x(x, test=test)


def image_view(entry: Backbone, example_shape: tuple[int, ...], image_size: int | None = None) -> ImageView:
    """How ``entry`` sees images stored as ``example_shape``."""
    size = entry.input_shape(example_shape, image_size)[1]
    return ImageView(size, entry.mean, entry.std, entry.crop)


def extract(
    x: Tensor, net: nn.Module, view: ImageView | None, *, device: torch.device, batch: int = 32, label: str = "features"
) -> Tensor:
    """Features (n, width) float32 on the CPU of samples ``x`` (n, ...), in evaluation mode without gradients.

    Raises:
        NonFiniteError: a feature is NaN or infinite.
    """
    from rich.console import Console
    from rich.progress import track

    net = net.to(device).eval()
    if view is not None:
        net = net.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    starts = range(0, len(x), batch)
    quiet = len(x) < LONG or not sys.stderr.isatty()
    rows = []
    with torch.no_grad():
        for start in track(starts, label, console=Console(stderr=True), transient=True, disable=quiet):
            chunk = x[start : start + batch].to(device)
            rows.append(net(chunk.float() if view is None else eval_images(chunk, view)).float().cpu())
    features = torch.cat(rows)
    if not bool(torch.isfinite(features).all()):
        raise NonFiniteError(f"{label} hold NaN or infinite values; check the samples and the weights")
    return features


# -- the files --------------------------------------------------------------------------------------------------------


def write(path: Path, x: Tensor) -> None:
    """Put features (n, d) at ``path`` in one move, with their checksum; ``DazooError`` where that cannot be."""
    from safetensors import SafetensorError
    from safetensors.torch import save_file

    try:
        with replacing(path) as temporary:
            save_file({"x": x.contiguous()}, temporary, metadata={"version": VERSION, "sha256": _checksum(x)})
    except (OSError, SafetensorError) as error:
        raise DazooError(
            f"cannot write the features {path} ({error}); set DAZOO_CACHE to a folder with space"
        ) from error


def read(path: Path, n: int) -> Tensor | None:
    """The ``n`` rows kept at ``path``; None where there is no such file or it is damaged in any way."""
    from safetensors import SafetensorError
    from safetensors.torch import load

    try:
        # one read of one open file: opening by name twice could meet the files of two writers
        data = path.read_bytes()
        x = load(data)["x"]
        meta = json.loads(data[8 : 8 + int.from_bytes(data[:8], "little")]).get("__metadata__", {})
    except (SafetensorError, OSError, KeyError):
        return None
    whole = x.ndim == 2 and len(x) == n and meta.get("sha256") == _checksum(x)
    return x if whole else None


def _checksum(x: Tensor) -> str:
    return hashlib.sha256(x.contiguous().numpy().data).hexdigest()


def _key(domain: Domain, entry: Backbone, weights: str, view: ImageView | None) -> str:
    # labels and class names do not enter: relabelled samples have the same features
    samples = replace(domain, y=None, classes=(), test=None).fingerprint
    return hashlib.sha256(repr((VERSION, samples, entry.name, weights, view)).encode()).hexdigest()[:32]


def _hash_weights(net: nn.Module) -> str:
    digest = hashlib.sha256()
    for name, value in net.state_dict().items():
        digest.update(f"{name} {tuple(value.shape)} {value.dtype}".encode())
        digest.update(value.detach().cpu().contiguous().reshape(-1).view(torch.uint8).numpy().data)
    return digest.hexdigest()
