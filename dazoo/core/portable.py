"""Saving fitted models without pickle: tensors in a safetensors file, everything else as JSON in its header."""

from __future__ import annotations

import dataclasses
import hashlib
import importlib
import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from dazoo.core.errors import DazooError
from dazoo.core.files import replacing

FORMAT = "dazoo-2"
FILE = "model.safetensors"
"""The model in the folder of an adaptation."""
READABLE = ("dazoo-1", FORMAT)  # 1: without checksum and ``json``
MOVED = {"dazoo.methods.steps": "dazoo.shallow.steps"}  # modules as older files name them, to where they are now


class Portable:
    """Base of dataclasses that can be saved: fields hold tensors, plain values, other Portables, or tuples and
    string-keyed dicts of these."""

    def check_savable(self) -> None:
        """Raise ``DazooError`` with the reason and the remedy where this object cannot be saved."""

    def packed(self) -> Portable:
        """What stands in a file in the place of this object."""
        return self

    def unpacked(self, trust: Sequence[str]) -> Portable:
        """The object that this stands for in a file; ``trust`` as of ``load``."""
        return self


def save(obj: Portable, path: str | Path) -> None:
    """Write ``obj`` to ``path``, atomically, and to the disk.

    Raises:
        DazooError: something in ``obj`` cannot be saved, or the file cannot be written.
    """
    from safetensors import SafetensorError
    from safetensors.torch import save_file

    if not isinstance(obj, Portable):
        raise DazooError(f"save takes a fitted model, not {type(obj).__name__}")
    tensors: dict[str, Tensor] = {}
    spec = json.dumps(_encode(obj, tensors))
    meta = {"format": FORMAT, "spec": spec, "sha256": _checksum(spec, tensors)}
    path = Path(path)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with replacing(path) as temporary:
            save_file(tensors, temporary, metadata=meta)
    except (OSError, SafetensorError) as error:
        raise DazooError(f"cannot write the model file {path} ({error}); choose a folder with space") from error


def load(path: str | Path, trust: Sequence[str] = ()) -> Any:
    """Read what ``save`` wrote, in this format or an older one; nothing in the file is executed.

    Args:
        trust: names of modules and packages that may be imported, and types that may be made, for networks and
            estimators of one's own: what they hold runs as code, and the file says which of it.

    Raises:
        DazooError: the file is missing, damaged or of another format.
    """
    from safetensors import SafetensorError, safe_open

    if isinstance(trust, str):
        raise DazooError(f"trust is a list of names, as trust=[{trust!r}]")
    path = Path(path)
    if (inside := path / FILE).is_file():
        path = inside
    if not path.is_file():
        raise DazooError(f"no such model file: {path}")
    try:
        with safe_open(str(path), "pt") as file:
            meta = file.metadata() or {}
            tensors = {key: file.get_tensor(key) for key in file.keys()}  # noqa: SIM118
    except (SafetensorError, OSError, RuntimeError, ValueError, TypeError) as error:
        raise DazooError(f"{path} is damaged or not a model file ({error}); fit and save it again") from error
    _check_format(meta.get("format"), str(path))
    spec = meta.get("spec", "")
    if meta.get("format") != "dazoo-1" and meta.get("sha256") != _checksum(spec, tensors):
        raise DazooError(f"{path} is damaged (its checksum does not match); copy it again, or fit and save it again")
    return _object(spec, tensors, str(path), trust)


def dump(obj: Portable) -> bytes:
    """``obj`` as bytes, the same bytes for the same object."""
    from safetensors.torch import save as save_bytes

    tensors: dict[str, Tensor] = {}
    spec = _encode(obj, tensors)
    # one entry: the library writes several in random order
    data: bytes = save_bytes(tensors, metadata={"model": json.dumps({"format": FORMAT, "spec": spec})})
    return data


def parse(data: bytes) -> Any:
    """The object that ``dump`` turned into bytes; nothing in them is executed.

    Raises:
        DazooError: the bytes are damaged or of another format.
    """
    from safetensors import SafetensorError
    from safetensors.torch import load as load_bytes

    try:
        tensors = load_bytes(data)
        header = json.loads(data[8 : 8 + int.from_bytes(data[:8], "little")])
        meta = json.loads(header.get("__metadata__", {}).get("model", "{}"))
    except (SafetensorError, ValueError) as error:
        raise DazooError(f"the model is damaged ({error})") from error
    if not isinstance(meta, dict):
        raise DazooError("the model is damaged (no description)")
    _check_format(meta.get("format"), "the model")
    return _object(meta.get("spec"), tensors, "the model")


def _check_format(found: object, whose: str) -> None:
    if found in READABLE:
        return
    number = str(found).removeprefix("dazoo-")
    if str(found).startswith("dazoo-") and number.isdigit() and int(number) > int(FORMAT.removeprefix("dazoo-")):
        raise DazooError(
            f"{whose} has the format {found!r}, which is newer than this version of dazoo reads (up to {FORMAT!r}); "
            "update dazoo"
        )
    raise DazooError(f"{whose} is not a dazoo model (format {found!r}, expected {FORMAT!r})")


def _checksum(spec: str, tensors: dict[str, Tensor]) -> str:
    digest = hashlib.sha256(spec.encode())
    for key in sorted(tensors):
        tensor = tensors[key].contiguous()
        digest.update(f"{key} {tuple(tensor.shape)} {tensor.dtype}".encode())
        digest.update(tensor.reshape(-1).view(torch.uint8).numpy().data)
    return digest.hexdigest()


def _object(spec: Any, tensors: dict[str, Tensor], whose: str, trust: Sequence[str] = ()) -> Portable:
    """The object that a description and tensors make; whatever is wrong with them ends in one clear error."""
    try:
        made = _decode(json.loads(spec) if isinstance(spec, str) else spec, tensors, trust)
    except DazooError as error:
        raise DazooError(f"{whose}: {error}") from error
    except (ValueError, TypeError, KeyError, AttributeError, IndexError, ImportError, RecursionError) as error:
        raise DazooError(
            f"{whose} is damaged ({type(error).__name__}: {str(error)[:200]}); copy it again, or fit and save it again"
        ) from error
    if not isinstance(made, Portable):
        raise DazooError(f"{whose} holds a {type(made).__name__} and no model; fit and save it again")
    return made


def _encode(value: Any, tensors: dict[str, Tensor]) -> Any:
    if isinstance(value, Tensor):
        key = f"t{len(tensors):04d}"
        tensors[key] = value.detach().cpu().contiguous().clone()
        return {"tensor": key}
    if isinstance(value, Portable) and dataclasses.is_dataclass(value):
        value.check_savable()
        value = value.packed()
        cls = type(value)
        fields = {f.name: _encode(getattr(value, f.name), tensors) for f in dataclasses.fields(value) if f.init}
        return {"class": f"{cls.__module__}:{cls.__qualname__}", "fields": fields}
    if isinstance(value, tuple):
        return {"tuple": [_encode(v, tensors) for v in value]}
    if isinstance(value, list):
        return {"list": [_encode(v, tensors) for v in value]}
    if isinstance(value, dict) and _is_json(value):
        return {"json": value}
    if isinstance(value, dict):
        return {"dict": {str(k): _encode(v, tensors) for k, v in value.items()}}
    if isinstance(value, torch.dtype):
        return {"dtype": str(value).removeprefix("torch.")}
    if value is None or isinstance(value, (bool, int, float, str)):
        return {"value": value}
    raise DazooError(f"cannot save a field of type {type(value).__name__}; use tensors, numbers, text or Portables")


def _decode(spec: Any, tensors: dict[str, Tensor], trust: Sequence[str]) -> Any:
    ((kind, body),) = ((k, v) for k, v in spec.items() if k != "fields")
    if kind == "tensor":
        return tensors[body]
    if kind == "class":
        fields = {k: _decode(v, tensors, trust) for k, v in spec["fields"].items()}
        module, colon, name = str(body).partition(":")
        cls = _find_class(MOVED.get(module, module) + colon + name, trust)
        unknown = sorted(set(fields) - {f.name for f in dataclasses.fields(cls)})  # type: ignore[arg-type]
        if unknown:
            raise DazooError(f"{cls.__name__} has no field {unknown[0]!r}; the file is damaged or of a newer version")
        return cls(**fields).unpacked(trust)
    if kind == "tuple":
        return tuple(_decode(v, tensors, trust) for v in body)
    if kind == "list":
        return [_decode(v, tensors, trust) for v in body]
    if kind == "dict":
        return {k: _decode(v, tensors, trust) for k, v in body.items()}
    if kind == "dtype":
        found = getattr(torch, str(body), None)
        if not isinstance(found, torch.dtype):
            raise DazooError(f"there is no type {body!r} of numbers; the file is damaged")
        return found
    if kind not in ("value", "json"):
        raise DazooError(f"the file holds something of the kind {kind!r}; it is damaged or of a newer version")
    return body


def _is_json(value: Any) -> bool:
    """Whether JSON gives ``value`` back as it is: no tuples, tensors or keys other than text."""
    if isinstance(value, dict):
        return all(isinstance(k, str) and _is_json(v) for k, v in value.items())
    if isinstance(value, list):
        return all(map(_is_json, value))
    return value is None or type(value) in (bool, int, float, str)


def _find_class(path: str, trust: Sequence[str] = ()) -> type:
    module, _, name = path.partition(":")
    trusted = bool({module, module.partition(".")[0]} & set(trust))
    if module not in sys.modules and not module.startswith("dazoo.") and not trusted:
        raise DazooError(f"the model needs {path}; import that package before loading")
    try:
        found: Any = importlib.import_module(module)
    except ImportError as error:
        raise DazooError(f"the model needs {path}, which this version of dazoo does not have ({error})") from error
    for part in name.split("."):
        found = getattr(found, part, None)
    if not (isinstance(found, type) and issubclass(found, Portable) and dataclasses.is_dataclass(found)):
        raise DazooError(f"the model file names {path}, which is not a loadable class")
    return found
