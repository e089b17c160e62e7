"""Saving fitted models without pickle: tensors in a safetensors file, everything else as JSON in its header."""

from __future__ import annotations

import dataclasses
import importlib
import json
import os
import sys
import tempfile
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from dazoo.core.errors import DazooError

FORMAT = "dazoo-1"


class Portable:
    """Base of dataclasses that can be saved: fields hold tensors, plain values, other Portables, or tuples and
    string-keyed dicts of these."""

    def check_savable(self) -> None:
        """Raise ``DazooError`` with the reason and the remedy where this object cannot be saved."""


def save(obj: Portable, path: str | Path) -> None:
    """Write ``obj`` to ``path``, atomically."""
    from safetensors.torch import save_file

    tensors: dict[str, Tensor] = {}
    spec = _encode(obj, tensors)
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, temporary = tempfile.mkstemp(dir=path.parent, suffix=".tmp")
    os.close(handle)
    try:
        save_file(tensors, temporary, metadata={"format": FORMAT, "spec": json.dumps(spec)})
        os.replace(temporary, path)
    except BaseException:
        Path(temporary).unlink(missing_ok=True)
        raise


def load(path: str | Path) -> Any:
    """Read what ``save`` wrote; nothing in the file is executed.

    Raises:
        DazooError: the file is missing, damaged or of another format.
    """
    from safetensors import SafetensorError, safe_open

    path = Path(path)
    if not path.is_file():
        raise DazooError(f"no such model file: {path}")
    try:
        with safe_open(str(path), "pt") as file:
            meta = file.metadata() or {}
            tensors = {key: file.get_tensor(key) for key in file.keys()}  # noqa: SIM118
    except (SafetensorError, OSError) as error:
        raise DazooError(f"{path} is damaged or not a model file ({error}); fit and save it again") from error
    if meta.get("format") != FORMAT:
        raise DazooError(f"{path} is not a dazoo model (format {meta.get('format')!r}, expected {FORMAT!r})")
    return _decode(json.loads(meta["spec"]), tensors)


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
    if meta.get("format") != FORMAT:
        raise DazooError(f"this is no dazoo model (format {meta.get('format')!r}, expected {FORMAT!r})")
    return _decode(meta["spec"], tensors)


def _encode(value: Any, tensors: dict[str, Tensor]) -> Any:
    if isinstance(value, Tensor):
        key = f"t{len(tensors):04d}"
        tensors[key] = value.detach().cpu().contiguous().clone()
        return {"tensor": key}
    if isinstance(value, Portable) and dataclasses.is_dataclass(value):
        value.check_savable()
        cls = type(value)
        fields = {f.name: _encode(getattr(value, f.name), tensors) for f in dataclasses.fields(value) if f.init}
        return {"class": f"{cls.__module__}:{cls.__qualname__}", "fields": fields}
    if isinstance(value, tuple):
        return {"tuple": [_encode(v, tensors) for v in value]}
    if isinstance(value, list):
        return {"list": [_encode(v, tensors) for v in value]}
    if isinstance(value, dict):
        return {"dict": {str(k): _encode(v, tensors) for k, v in value.items()}}
    if isinstance(value, torch.dtype):
        return {"dtype": str(value).removeprefix("torch.")}
    if value is None or isinstance(value, (bool, int, float, str)):
        return {"value": value}
    raise DazooError(f"cannot save a field of type {type(value).__name__}; use tensors, numbers, text or Portables")


def _decode(spec: Any, tensors: dict[str, Tensor]) -> Any:
    ((kind, body),) = ((k, v) for k, v in spec.items() if k != "fields")
    if kind == "tensor":
        return tensors[body]
    if kind == "class":
        fields = {k: _decode(v, tensors) for k, v in spec["fields"].items()}
        return _find_class(body)(**fields)
    if kind == "tuple":
        return tuple(_decode(v, tensors) for v in body)
    if kind == "list":
        return [_decode(v, tensors) for v in body]
    if kind == "dict":
        return {k: _decode(v, tensors) for k, v in body.items()}
    if kind == "dtype":
        return getattr(torch, body)
    return body


def _find_class(path: str) -> type:
    module, _, name = path.partition(":")
    if module not in sys.modules and not module.startswith("dazoo."):
        raise DazooError(f"the model needs {path}; import that package before loading")
    found: Any = importlib.import_module(module)
    for part in name.split("."):
        found = getattr(found, part, None)
    if not (isinstance(found, type) and issubclass(found, Portable)):
        raise DazooError(f"the model file names {path}, which is not a loadable class")
    return found
