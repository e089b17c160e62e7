"""A module of one's own as data: classes by name and their plain attributes, so that a file can build it again.

Nothing is pickled. Of every part the file holds the class as ``module:Class``, the attributes that are numbers, texts,
or layers and functions known by name, and the shapes of its tensors, whose values come with the state. Building sets
attributes and calls no code of the class. Layers of torch, torchvision and timm are imported by their names; those of
other modules have to be imported already, or to be trusted by name (``dazoo.load(path, trust=["mynets"])``), since
importing runs code. Functions of other modules have to be trusted, whether imported or not.
"""

from __future__ import annotations

import importlib
import inspect
import sys
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn

from dazoo.core.errors import DazooError
from dazoo.core.portable import Portable

KNOWN = ("torch", "torchvision", "timm")
_USUAL = frozenset(nn.Module().__dict__)
_HOOKS = tuple(k for k in _USUAL if k.endswith("_hooks"))


@dataclass(frozen=True)
class SavedModule(Portable):
    """A module as data; ``tree`` describes its parts, ``tensors`` are those that no state dict holds."""

    tree: dict[str, Any]
    tensors: dict[str, Tensor] = field(default_factory=dict)

    @staticmethod
    def of(module: nn.Module) -> SavedModule:
        """Describe a module.

        Raises:
            DazooError: a part that no file can name, and why.
        """
        made = SavedModule({}, {})
        made.tree.update(_described(module, "", {}, made.tensors))
        return made

    def unpacked(self, trust: Sequence[str]) -> SavedModule:
        """Build the module while the file is read, so that what it needs is missed at once."""
        object.__setattr__(self, "_module", _built(self.tree, "", {}, self.tensors, tuple(trust)))
        return self

    @property
    def module(self) -> nn.Module:
        """The module, with tensors of the right shapes whose values are to be loaded."""
        found: nn.Module = self._module if hasattr(self, "_module") else self.unpacked(()).module
        return found


def saved(module: nn.Module) -> tuple[SavedModule | None, str]:
    """A module as data, or None and the reason why not."""
    try:
        return SavedModule.of(module), ""
    except DazooError as error:
        return None, str(error)


# -- to data ----------------------------------------------------------------------------------------------------------


def _described(module: nn.Module, place: str, seen: dict[int, str], tensors: dict[str, Tensor]) -> dict[str, Any]:
    if id(module) in seen:
        return {"same": seen[id(module)]}
    seen[id(module)] = place
    cls, where = type(module), place or "the module"
    if isinstance(module, torch.jit.ScriptModule) or hasattr(module, "graph_module") or "GraphModule" in cls.__name__:
        raise DazooError(f"{where} is compiled code, which a model file does not hold; give the module it was made of")
    if any(module.__dict__.get(k) for k in _HOOKS):
        raise DazooError(
            f"{where} ({cls.__name__}) has hooks, which are code; remove them, or do their work in forward"
        )
    plain = {k: v for k, v in module.__dict__.items() if k not in _USUAL}
    parts: dict[str, Any] = {}
    for name, value in plain.items():
        key = f"{place}.{name}".strip(".")
        if isinstance(value, Tensor):
            tensors[key] = value.detach()
            parts[name] = {"tensor": key}
        else:
            parts[name] = _plain(value, key)
    transient: set[str] = getattr(module, "_non_persistent_buffers_set", set())
    buffers: dict[str, Any] = {}
    for name, value in module._buffers.items():
        key = f"{place}.{name}".strip(".")
        if value is not None and name in transient:
            tensors[key] = value.detach()
        buffers[name] = None if value is None else [list(value.shape), _type(value), name in transient]
    return {
        "class": written_name(cls, where),
        "plain": parts,
        "parameters": {
            n: None if p is None else _parameter(p, f"{place}.{n}".strip("."), seen)
            for n, p in module._parameters.items()
        },
        "buffers": buffers,
        "modules": {
            n: None if m is None else _described(m, f"{place}.{n}".strip("."), seen, tensors)
            for n, m in module._modules.items()
        },
    }


def _parameter(p: nn.Parameter, place: str, seen: dict[int, str]) -> Any:
    if id(p) in seen:
        return {"same": seen[id(p)]}
    seen[id(p)] = place
    return [list(p.shape), _type(p), p.requires_grad]


def _type(x: Tensor) -> str:
    return str(x.dtype).removeprefix("torch.")


def _plain(value: Any, place: str) -> Any:
    if value is None or type(value) in (bool, int, float, str):
        return {"value": value}
    if isinstance(value, (tuple, list)):
        return {type(value).__name__ if type(value) in (tuple, list) else "tuple": [_plain(v, place) for v in value]}
    if type(value) is dict and all(type(k) is str for k in value):
        return {"dict": {k: _plain(v, place) for k, v in value.items()}}
    if isinstance(value, torch.dtype):
        return {"dtype": str(value).removeprefix("torch.")}
    if isinstance(value, torch.device):
        return {"value": str(value)}
    if inspect.isclass(value) or inspect.isroutine(value):
        return {"named": written_name(value, place)}
    raise DazooError(
        f"the attribute {place} is a {type(value).__name__}, which a model file does not hold; make it a number, a "
        "text, a tensor or a submodule"
    )


def written_name(thing: Any, place: str) -> str:
    """A class or function as ``module:name``, under which it is found again.

    Raises:
        DazooError: it has no such name: it was made in a function, in a script or notebook, or is a lambda.
    """
    module, name = getattr(thing, "__module__", None) or "", getattr(thing, "__qualname__", "")
    if module in ("", "builtins") and getattr(torch, name, None) is thing:
        module = "torch"  # as torch.relu
    if "<" in name:
        what = "a lambda" if "<lambda>" in name else f"{name.split('.')[-1]}, which was made inside a function"
        raise DazooError(f"{place} is {what}: no file can name it; move it to the top of a module that can be imported")
    if module == "__main__":
        raise DazooError(
            f"{place} is {name} of a script or notebook: another program does not find it; move it to a module that "
            "can be imported"
        )
    found: Any = sys.modules.get(module)
    for part in name.split("."):
        found = getattr(found, part, None)
    if found is not thing or not name:
        raise DazooError(
            f"{place} is {name or type(thing).__name__}, which {module or 'no module'} does not have by name"
        )
    return f"{module}:{name}"


# -- from data --------------------------------------------------------------------------------------------------------


def found(path: str, trust: Sequence[str]) -> Any:
    """A class or function by its name.

    Raises:
        DazooError: its module is neither known, imported nor trusted, or does not have it.
    """
    module, _, name = str(path).partition(":")
    root = module.partition(".")[0]
    if module not in sys.modules and root not in KNOWN and not {module, root} & set(trust):
        raise DazooError(
            f"the model needs {path}; import {module} before loading, or dazoo.load(path, trust=[{root!r}]) where you "
            "trust both"
        )
    try:
        thing: Any = importlib.import_module(module)
    except ImportError as error:
        raise DazooError(f"the model needs {path}, and importing {module} fails: {error}") from error
    for part in name.split("."):
        thing = getattr(thing, part, None)
    if thing is None:
        raise DazooError(f"the model needs {path}, which {module} does not have; install the version it was saved with")
    return thing


def _built(
    tree: dict[str, Any], place: str, made: dict[str, Any], tensors: dict[str, Tensor], trust: tuple[str, ...]
) -> nn.Module:
    if "same" in tree:
        same: nn.Module = made[tree["same"]]
        return same
    cls = found(tree["class"], trust)
    if not (inspect.isclass(cls) and issubclass(cls, nn.Module)):
        raise DazooError(f"the model file names {tree['class']}, which is no torch.nn.Module")
    module = cls.__new__(cls)
    nn.Module.__init__(module)
    made[place] = module
    for name, value in tree["plain"].items():
        key = value.get("tensor")
        module.__dict__[name] = tensors[key].clone() if key is not None else _value(value, trust)
    for name, value in tree["parameters"].items():
        key = f"{place}.{name}".strip(".")
        if isinstance(value, dict):
            module.register_parameter(name, made[value["same"]])
            continue
        if value is not None:
            shape, kind, moves = value
            made[key] = nn.Parameter(torch.zeros(shape, dtype=getattr(torch, kind)), requires_grad=moves)
        module.register_parameter(name, None if value is None else made[key])
    for name, value in tree["buffers"].items():
        key = f"{place}.{name}".strip(".")
        blank = None if value is None else torch.zeros(value[0], dtype=getattr(torch, value[1]))
        module.register_buffer(name, tensors[key].clone() if key in tensors else blank, not (value and value[2]))
    for name, part in tree["modules"].items():
        key = f"{place}.{name}".strip(".")
        module.add_module(name, None if part is None else _built(part, key, made, tensors, trust))
    return module


def _value(value: dict[str, Any], trust: tuple[str, ...]) -> Any:
    ((kind, body),) = value.items()
    if kind == "value":
        return body
    if kind in ("tuple", "list"):
        listed = [_value(v, trust) for v in body]
        return tuple(listed) if kind == "tuple" else listed
    if kind == "dict":
        return {k: _value(v, trust) for k, v in body.items()}
    if kind == "dtype":
        return getattr(torch, body)
    if kind == "named":
        thing, root = found(body, trust), str(body).partition(":")[0].partition(".")[0]
        if root not in trust and not _harmless(thing, root):
            raise DazooError(
                f"the model file names {body}, which may be any code; where you trust it: "
                f"dazoo.load(path, trust=[{root!r}])"
            )
        return thing
    raise DazooError(f"the model file holds something of the kind {kind!r}; it is damaged or of a newer version")


def _harmless(thing: Any, root: str) -> bool:
    """Whether a network of an unknown file may hold this class or function: layers, or torch's of tensors."""
    if inspect.isclass(thing):
        return issubclass(thing, nn.Module)
    home = getattr(thing, "__module__", None) or ""
    return root in KNOWN and (inspect.isbuiltin(thing) or home.startswith(("torch.nn.", "torch._jit_internal")))
