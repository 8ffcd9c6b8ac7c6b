"""A bundle on disk: which version answers, what its manifest says, and whether its files are those of the export.

The runtime that it carries is imported from memory, under a name that is made of the source's digest: steps and bundles with
the same runtime share it, and those with different ones live beside each other. Nothing is added to sys.path, and neither
read from nor written to a __pycache__.
"""

from __future__ import annotations

import hashlib
import importlib
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib.abc import ExecutionLoader, MetaPathFinder
from importlib.machinery import ModuleSpec
from importlib.util import spec_from_loader
from pathlib import Path
from types import ModuleType
from typing import Any

from nextitem_bundle.checksums import verify
from nextitem_bundle.config import Config, EnsembleStep, read_config
from nextitem_bundle.errors import BundleError as FormatError
from nextitem_bundle.manifest import Manifest, read_manifest
from nextitem_bundle.signature import PARAMETER
from nextitem_bundle.versions import CONFIG
from nextitem_client._exceptions import BundleError, MissingPackage

_PREFIX = "_nextitem_runtime_"

_Sources = Mapping[str, "tuple[Path, bytes]"]  # by the module's name within the runtime, "" for the runtime itself


@dataclass(frozen=True)
class Bundle:
    """One version of a bundle in a model repository.

    parameters: of its configuration. steps: in the order in which they run.
    """

    repository: Path
    name: str
    version: int
    parameters: Mapping[str, str]
    steps: tuple[EnsembleStep, ...]
    holds_pickle: bool
    manifest: Manifest

    def folder(self, step: EnsembleStep) -> Path:
        """The version folder of a step."""
        return self.repository / step.model / str(step.version)


def read_bundle(path: Path) -> Bundle:
    """Read the bundle of that folder, `<repository>/<name>`, in the version that its configuration is pinned to.

    Raises BundleError, MissingPackage.
    """
    config = _config(path)
    steps = config.steps or _own_step(config)
    if len(config.versions) != 1 or not steps or any(step.version < 1 for step in steps):
        raise BundleError(
            f"{path / CONFIG} does not pin the bundle and its steps to one version each, as nextitem-export writes "
            "it, so there is no telling which would answer. Export the bundle again."
        )
    version = config.versions[0]
    name = config.name or path.name
    try:
        manifest = read_manifest(path.parent, name, version)
    except FormatError as error:
        raise BundleError(f"{error}.") from None
    bundle = Bundle(
        repository=path.parent,
        name=name,
        version=version,
        parameters=config.parameters,
        steps=steps,
        holds_pickle=manifest.holds_pickle or _lies_in(path.parent, steps, "*.pkl"),
        manifest=manifest,
    )
    for step in bundle.steps:
        if not bundle.folder(step).is_dir():
            raise BundleError(
                f"{bundle.folder(step)} is missing, which the bundle {name} needs: copy all of the bundle's folders, "
                f"{', '.join(dict.fromkeys((*(s.model for s in bundle.steps), name)))}."
            )
    return bundle


def verify_files(bundle: Bundle) -> None:
    """Compare every file with the checksum in the manifest. Raises BundleError with the file's name."""
    try:
        verify(bundle.repository, bundle.manifest, answers=True)
    except FormatError as error:
        raise BundleError(
            f"{error}. Export or copy the bundle again, or open it with verify=False (--no-verify) if the change is meant."
        ) from None


def _config(path: Path) -> Config:
    if not path.is_dir():
        raise BundleError(
            f"{path} {'is a file' if path.exists() else 'does not exist'}; expected is the folder of a bundle, "
            "<repository>/<name>."
        )
    if not (path / CONFIG).is_file():
        inside = sorted(config.parent.name for config in path.glob(f"*/{CONFIG}") if _is_bundle(config))
        if inside:
            raise BundleError(f"{path} is a model repository; name one of its bundles: {', '.join(inside)}.")
        raise BundleError(f"{path} is no bundle: it has no {CONFIG}. Expected is <repository>/<name>.")
    try:
        config = read_config(path / CONFIG)
    except ImportError as error:
        raise MissingPackage(
            f"Triton's model configuration cannot be imported ({error}). Install it with: "
            "pip install 'tritonclient[grpc]>=2.51'"
        ) from error
    except FormatError as error:
        raise BundleError(f"{error}.") from None
    if PARAMETER not in config.parameters:
        raise BundleError(
            f"{path} is no bundle: its {CONFIG} has no {PARAMETER}. It was not exported by nextitem-export, or is "
            "a step of a bundle: name the bundle."
        )
    return config


def _own_step(config: Config) -> tuple[EnsembleStep, ...]:
    """A bundle that is one model, as its one step."""
    inputs, outputs = ({spec.name: spec.name for spec in specs} for specs in (config.inputs, config.outputs))
    return tuple(EnsembleStep(config.name, version, inputs, outputs) for version in config.versions[:1])


def _is_bundle(config: Path) -> bool:
    return PARAMETER.encode() in config.read_bytes()


def _lies_in(repository: Path, steps: tuple[EnsembleStep, ...], pattern: str) -> bool:
    return any(file for step in steps for file in (repository / step.model / str(step.version)).rglob(pattern))


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
