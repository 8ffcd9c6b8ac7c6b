"""Imports the runtime that a bundle carries, from memory, under a name of its own.

The name is made of the source's digest: steps and bundles with the same runtime share it, and those with different ones
live beside each other. Nothing is added to sys.path, and neither read from nor written to a __pycache__.
"""

from __future__ import annotations

import hashlib
import importlib
import sys
from collections.abc import Mapping, Sequence
from importlib.abc import ExecutionLoader, MetaPathFinder
from importlib.machinery import ModuleSpec
from importlib.util import spec_from_loader
from pathlib import Path
from types import ModuleType
from typing import Any

_PREFIX = "_nextitem_runtime_"

_Sources = Mapping[str, "tuple[Path, bytes]"]  # by the module's name within the runtime, "" for the runtime itself


def import_runtime(files: Sequence[tuple[str, Path]]) -> str:
    """Make the runtime importable; returns the package's private name.

    files: the name of each Python file within the package ("step.py") and where it is.
    """
    sources: dict[str, tuple[Path, bytes]] = {}
    digest = hashlib.sha256()
    for name, path in sorted(files):
        source = path.read_bytes()
        sources[_module_name(name)] = (path, source)
        digest.update(f"{name}\0{len(source)}\0".encode() + source)
    package = f"{_PREFIX}{digest.hexdigest()[:32]}"
    _finder().known.setdefault(package, sources)
    return package


def runtime_module(package: str, name: str) -> Any:
    """A module of the runtime. Raises ImportError where it needs something that is not installed."""
    return importlib.import_module(f"{package}.{name}")


def _module_name(file: str) -> str:
    parts = file[: -len(".py")].split("/")
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


class _Loader(ExecutionLoader):
    """Compiles a module from the source in memory."""

    def __init__(self, path: Path, source: bytes, is_package: bool) -> None:
        self._path = path
        self._source = source
        self._is_package = is_package

    def get_filename(self, fullname: str) -> str:
        """Where the source was read from, for tracebacks."""
        return str(self._path)

    def get_source(self, fullname: str) -> str:
        """The source as it was read."""
        return self._source.decode("utf-8")

    def is_package(self, fullname: str) -> bool:
        """Whether it is an __init__.py."""
        return self._is_package


class _Finder(MetaPathFinder):
    """Finds the modules of the runtimes that were imported, and no others."""

    def __init__(self) -> None:
        self.known: dict[str, _Sources] = {}

    def find_spec(
        self, fullname: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        """See MetaPathFinder."""
        package, _, module = fullname.partition(".")
        found = self.known.get(package, {}).get(module)
        if found is None:
            return None
        is_package = found[0].name == "__init__.py"
        spec = spec_from_loader(fullname, _Loader(*found, is_package), is_package=is_package)
        if spec is not None and is_package:
            # Python fills in the folder, and its own finder would import the submodules from there, __pycache__ and all.
            spec.submodule_search_locations = []
        return spec


def _finder() -> _Finder:
    existing = next((finder for finder in sys.meta_path if isinstance(finder, _Finder)), None)
    if existing is not None:
        return existing
    made = _Finder()
    sys.meta_path.append(made)  # last, so that no other import is slowed down
    return made
