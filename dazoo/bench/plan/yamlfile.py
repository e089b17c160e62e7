"""YAML whose parts remember their lines, so that a message can point at the place to mend."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

import yaml

from dazoo.core.errors import DazooError, UnknownName

T = TypeVar("T")
Where = tuple[str | int, ...]
BYTES, PARTS, DEPTH = 4_000_000, 200_000, 60
"""What no file for people exceeds: its size, its parts with every alias written out, and how deep they are nested."""


@dataclass(frozen=True)
class Origin:
    """The file a document came from and the line of each of its parts, by path (``("methods", 2, "name")``)."""

    file: str = ""
    lines: dict[Where, int] = field(default_factory=dict)

    def at(self, where: Where) -> str:
        """``"digits.yaml, line 7: "``, the line of the nearest enclosing part that is known; empty without a file."""
        if not self.file:
            return ""
        while len(where) > 1 and where not in self.lines:
            where = where[:-1]
        return f"{self.file}, line {self.lines[where]}: " if where in self.lines else f"{self.file}: "

    def error(self, where: Where, problem: object) -> DazooError:
        """An error that names the place."""
        return DazooError(f"{self.at(where)}{problem}")

    def check(self, where: Where, call: Callable[[], T], fallback: Where | None = None) -> T:
        """``call()``, whose user errors are given the place; ``fallback`` is named where ``where`` is unknown."""
        try:
            return call()
        except (DazooError, UnknownName) as error:
            raise self.error(where if where in self.lines or fallback is None else fallback, error) from None


def read_yaml(path: str | Path) -> tuple[Any, Origin]:
    """The content of a YAML file and where its parts stand.

    Raises:
        DazooError: the file is missing, no YAML, or names a key twice.
    """
    path = Path(path)
    if not path.is_file():
        raise DazooError(f"no such file: {path}")
    origin = Origin(str(path))
    try:
        if path.stat().st_size > BYTES:
            raise DazooError(f"{path} has {path.stat().st_size} bytes; no file of this kind is that large")
        loader = yaml.SafeLoader(path.read_text(encoding="utf-8"))
        node = loader.get_single_node()
        if node is None:
            return {}, origin
        _measure(node, str(path), {}, 1)
        return _build(loader, node, (), origin), origin
    except OSError as error:
        raise DazooError(f"{path} cannot be read: {error.strerror or error}") from error
    except RecursionError as error:
        raise DazooError(f"{path}: nested too deeply; no more than {DEPTH} levels are read") from error
    except UnicodeDecodeError as error:
        raise DazooError(f"{path} is not a text file ({error})") from error
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        line = f", line {mark.line + 1}" if mark else ""
        hint = "; quote text that starts with '*'" if "alias" in str(error.context) else ""
        raise DazooError(f"{path}{line}: not valid YAML: {error.problem or error.context}{hint}") from error
    except yaml.YAMLError as error:
        raise DazooError(f"{path}: not valid YAML: {error}") from error
    except (ValueError, OverflowError) as error:  # a date or a number that Python cannot make
        raise DazooError(f"{path}: a value cannot be read: {error}") from error


def _measure(node: yaml.Node, file: str, known: dict[int, int], depth: int) -> int:
    """Parts below a node with every alias and merge written out, counted without writing them out.

    Raises:
        DazooError: too many, too deep, or an alias that holds itself.
    """
    place = f"{file}, line {node.start_mark.line + 1}"
    if depth > DEPTH:
        raise DazooError(f"{place}: nested too deeply; no more than {DEPTH} levels are read")
    if id(node) not in known:
        known[id(node)] = -1
        inner = node.value if isinstance(node, (yaml.SequenceNode, yaml.MappingNode)) else ()
        parts = [part for item in inner for part in (item if isinstance(item, tuple) else (item,))]
        known[id(node)] = 1 + sum(_measure(part, file, known, depth + 1) for part in parts)
    if known[id(node)] < 0:
        raise DazooError(f"{place}: an alias stands inside of what it names; write the value out")
    if known[id(node)] > PARTS:
        raise DazooError(f"{place}: the aliases below stand for more than {PARTS} parts; write out what is meant")
    return known[id(node)]


def _build(loader: yaml.SafeLoader, node: yaml.Node, where: Where, origin: Origin) -> Any:
    origin.lines.setdefault(where, node.start_mark.line + 1)
    if isinstance(node, yaml.SequenceNode):
        return [_build(loader, item, (*where, i), origin) for i, item in enumerate(node.value)]
    if isinstance(node, yaml.MappingNode):
        loader.flatten_mapping(node)
        found: dict[Any, Any] = {}
        for key_node, value_node in node.value:
            key = _build(loader, key_node, (*where, "\0key"), origin)
            line = key_node.start_mark.line + 1
            if not isinstance(key, str):
                raise DazooError(f"{origin.file}, line {line}: the key {key!r} is not text; quote it")
            if key in found:
                raise DazooError(f"{origin.file}, line {line}: the key {key!r} stands here a second time; remove one")
            origin.lines[(*where, key)] = line
            found[key] = _build(loader, value_node, (*where, key), origin)
        return found
    return loader.construct_object(node)
