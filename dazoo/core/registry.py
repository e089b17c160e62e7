"""Registries: a name, and the object a file of that name defines.

A registry finds its entries in three places: the modules below its own package (one file per entry, the file stem
is the name), entry points of installed third-party packages, and files handed over by path. A broken plug-in is kept
with its reason and disturbs nothing else.
"""

from __future__ import annotations

import fnmatch
import hashlib
import importlib
import importlib.metadata
import importlib.util
import pkgutil
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from types import ModuleType
from typing import Generic, TypeVar

from dazoo.core.errors import DazooError, UnknownName, nearest

T = TypeVar("T")


class Registry(Generic[T]):
    """Names to objects of one kind, filled by discovery.

    Args:
        kind: what the entries are, in the singular, for messages (``"method"``).
        package: the package whose modules register themselves when imported.
        group: entry-point group through which other distributions add entries.
    """

    def __init__(self, kind: str, package: str, group: str | None = None):
        self.kind = kind
        self.package = package
        self.group = group or f"dazoo.{kind}s"
        self._derive: Callable[[str], T | None] | None = None
        self.broken: dict[str, str] = {}
        self._items: dict[str, T] = {}
        self._stems: dict[str, str] | None = None
        self._discovered = False

    def add(self, name: str, item: T) -> T:
        """Register ``item``; a second item of the same name from another module is an error."""
        old = self._items.get(name)
        if old is not None and _origin(old) != _origin(item):
            raise DazooError(
                f"{self.kind} {name!r} is registered twice: by {_origin(old)} and by {_origin(item)}; rename one"
            )
        self._items[name] = item
        return item

    def derive_by(self, derive: Callable[[str], T | None]) -> None:
        """Let ``derive`` make entries from names that no file defines; it returns None for a name that is not its own.

        A module of the package calls this when it is imported. Such entries are not listed.
        """
        self._derive = derive

    def get(self, name: str) -> T:
        """The entry called ``name``; raises ``UnknownName`` with the nearest names."""
        if name not in self._items and name in self._module_stems():
            importlib.import_module(self._module_stems()[name])
        if name not in self._items:
            self.discover()
            derived = None if self._derive is None or name in self._items else self._derive(name)
            if derived is not None:
                return derived
        if name not in self._items:
            reason = f" (a plug-in of that name is broken: {self.broken[name]})" if name in self.broken else ""
            raise UnknownName(f"unknown {self.kind} {name!r}{reason}: {nearest(name, self._items)}")
        return self._items[name]

    def names(self, pattern: str = "*") -> list[str]:
        """Sorted names that match a shell-style pattern (``"ot_*"``)."""
        self.discover()
        return sorted(n for n in self._items if fnmatch.fnmatchcase(n, pattern))

    def items(self) -> Iterator[tuple[str, T]]:
        """All ``(name, entry)`` pairs in the order of their names."""
        for name in self.names():
            yield name, self._items[name]

    def __contains__(self, name: object) -> bool:
        self.discover()
        if name in self._items or self._derive is None or not isinstance(name, str):
            return name in self._items
        try:
            return self._derive(name) is not None
        except DazooError:
            return False

    def discover(self) -> None:
        """Import every module of the package and every entry point, once."""
        if self._discovered:
            return
        self._discovered = True
        for module in self._module_stems().values():
            importlib.import_module(module)
        for point in importlib.metadata.entry_points(group=self.group):
            try:
                loaded = point.load()
                if isinstance(loaded, ModuleType):
                    continue  # importing the module registered its entries
                if point.name not in self._items:
                    self._must_be_entry(loaded)
                    self.add(point.name, loaded)
            except (Exception, SystemExit) as error:  # a stranger's import may fail in any way
                self.broken[point.name] = f"{point.value}: {type(error).__name__}: {error}"

    def _must_be_entry(self, loaded: object) -> None:
        """An entry that did not register itself under the point's name is of the type that the other entries have."""
        kinds = {type(item) for item in self._items.values()} - {type}
        if type(loaded) not in kinds:
            raise DazooError(
                f"this is no registered {self.kind}; register it, and call file and entry point by the same name"
            )

    def load_file(self, path: str | Path) -> list[str]:
        """Import a Python file by path and return the names it registered."""
        path = Path(path)
        if not path.is_file():
            raise DazooError(f"no such {self.kind} file: {path}")
        before = set(self._items)
        name = "dazoo_file_" + hashlib.sha256(str(path.resolve()).encode()).hexdigest()[:12] + "." + path.stem
        if name not in sys.modules:
            spec = importlib.util.spec_from_file_location(name, path)
            if spec is None or spec.loader is None:
                raise DazooError(f"{path} is not a Python file")
            module = importlib.util.module_from_spec(spec)
            sys.modules[name] = module
            try:
                spec.loader.exec_module(module)
            except DazooError:
                del sys.modules[name]
                raise
            except Exception as error:
                del sys.modules[name]
                raise DazooError(f"{path} cannot be loaded: {type(error).__name__}: {error}") from error
        new = sorted(n for n, item in self._items.items() if n not in before or _origin(item) == name)
        if not new:
            raise DazooError(f"{path} registers no {self.kind}; decorate the class with @register")
        return new

    def _module_stems(self) -> dict[str, str]:
        if self._stems is None:
            root = importlib.import_module(self.package)
            self._stems = {
                info.name.rsplit(".", 1)[-1]: info.name
                for info in pkgutil.walk_packages(root.__path__, self.package + ".")
                if not info.ispkg and not info.name.rsplit(".", 1)[-1].startswith("_")
            }
        return self._stems


def _origin(item: object) -> str:
    return getattr(item, "__module__", type(item).__module__)
