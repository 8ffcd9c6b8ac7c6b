"""bundle.json, the manifest of a version: what a bundle was made from, what it answers and what its files are."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, cast

from .errors import BundleError
from .signature import FORMAT_VERSION

MANIFEST = "bundle.json"
"""The manifest's file in `<name>/<version>/`."""
# Fields that reading looks into.
_CHECKED = {"name", "version", "models", "sha256", "catalogue"}


@dataclasses.dataclass(frozen=True)
class CatalogueSummary:
    """The catalogue that a version keeps in `<name>/<version>/catalogue/`, so that nextitem-catalogue can update it.

    Attributes:
        items: that it has, removed ones left out.
        removed: items whose codes are left without an id.
        attributes: the columns of the items table.
        created: when its tables were written, ISO 8601, UTC.
        refused: why the version keeps none and what to do about it, None where it keeps one.
    """

    items: int = 0
    removed: int = 0
    attributes: tuple[str, ...] = ()
    created: str = ""
    refused: str | None = None


@dataclasses.dataclass(frozen=True)
class Manifest:
    """What stands in bundle.json. What a manifest does not say is empty.

    Attributes:
        name: the bundle.
        version: the version.
        models: the bundle's models, the one that clients call last.
        sha256: the digest of each file, by its path in the repository.
        created: ISO 8601, UTC.
        made_from: what the exporter was told of the model's origin.
        layout: `ensemble` or `fused`.
        format: how the session model is written.
        fell_out: the formats that were tried before it, and why each was left.
        runtime: what runs the session model.
        features: how the features are computed.
        holds_pickle: a step unpickles what is in the bundle.
        availability_given: the list of what may be recommended came with the export.
        request: the document of the signature.
        response: the tensors of the answer.
        catalogue_size: V, the number of items.
        model_features: the features that the session model reads.
        libraries: the version of each library that the bundle was exported with, None where it was not there.
        parity: how each case of the parity gate came out.
        catalogue: what it keeps of its catalogue. None where an earlier release wrote it.
    """

    name: str
    version: int
    models: tuple[str, ...]
    sha256: Mapping[str, str]
    created: str = ""
    made_from: Mapping[str, Any] = dataclasses.field(default_factory=dict[str, Any])
    layout: str = ""
    format: str = ""
    fell_out: Mapping[str, str] = dataclasses.field(default_factory=dict[str, str])
    runtime: str = ""
    features: str = ""
    holds_pickle: bool = False
    availability_given: bool = False
    request: Mapping[str, Any] = dataclasses.field(default_factory=dict[str, Any])
    response: Mapping[str, Any] = dataclasses.field(default_factory=dict[str, Any])
    catalogue_size: int = 0
    model_features: Sequence[Mapping[str, str]] = dataclasses.field(default_factory=list[Mapping[str, str]])
    libraries: Mapping[str, str | None] = dataclasses.field(default_factory=dict[str, "str | None"])
    parity: Sequence[Mapping[str, Any]] = dataclasses.field(default_factory=list[Mapping[str, Any]])
    catalogue: CatalogueSummary | None = None

    def write(self, repository: Path) -> Path:
        """Write it to its place.

        Args:
            repository: the model repository's folder.

        Returns:
            The file's path.
        """
        path = manifest_path(repository, self.name, self.version)
        fields = {field.name: getattr(self, field.name) for field in dataclasses.fields(self)}
        if self.catalogue is not None:
            fields["catalogue"] = dataclasses.asdict(self.catalogue)
        # The checksums last, as they are the longest.
        checksums = fields.pop("sha256")
        document = {"format_version": FORMAT_VERSION, **fields, "sha256": checksums}
        path.write_text(json.dumps(document, indent=1, ensure_ascii=False), encoding="utf-8")
        return path


def manifest_path(repository: Path, name: str, version: int) -> Path:
    """Where the manifest of a version is.

    Args:
        repository: the model repository's folder.
        name: the bundle.
        version: the version.
    """
    return repository / name / str(version) / MANIFEST


def read_manifest(repository: Path, name: str, version: int) -> Manifest:
    """Read the manifest of a version. Unknown keys are ignored.

    Args:
        repository: the model repository's folder.
        name: the bundle.
        version: the version.

    Returns:
        The manifest.

    Raises:
        BundleError: it is missing, damaged, that of another bundle, or of another format.
    """
    path = manifest_path(repository, name, version)
    try:
        document = cast("dict[str, Any]", json.loads(path.read_text(encoding="utf-8")))
        models = tuple(str(model) for model in document["models"])
        sha256 = {str(file): str(digest) for file, digest in cast("dict[str, Any]", dict(document["sha256"])).items()}
        format_version, found = document["format_version"], models[-1]
        catalogue = _catalogue(document.get("catalogue"))
    except (OSError, ValueError, KeyError, IndexError, TypeError, AttributeError) as error:
        raise _unreadable(path, name, f"{type(error).__name__}: {error}") from None
    if found != name:
        raise _unreadable(path, name, f"it is that of {found}")
    if format_version != FORMAT_VERSION:
        newer = isinstance(format_version, int) and format_version > FORMAT_VERSION
        remedy = "upgrade the nextitem packages here (pip install --upgrade)" if newer else "export the bundle again"
        raise BundleError(
            f"{path} has format_version {format_version}, and this program reads {FORMAT_VERSION}: {remedy}"
        )
    as_they_are = {field.name for field in dataclasses.fields(Manifest)} - _CHECKED
    rest = {key: value for key, value in document.items() if key in as_they_are}
    return Manifest(name=name, version=version, models=models, sha256=sha256, catalogue=catalogue, **rest)


def _catalogue(document: Mapping[str, Any] | None) -> CatalogueSummary | None:
    """Unknown keys are ignored, and missing ones have their defaults."""
    if document is None:
        return None
    refused = document.get("refused")
    return CatalogueSummary(
        items=int(document.get("items", 0)),
        removed=int(document.get("removed", 0)),
        attributes=tuple(str(name) for name in document.get("attributes", ())),
        created=str(document.get("created", "")),
        refused=None if refused is None else str(refused),
    )


def _unreadable(path: Path, name: str, why: str) -> BundleError:
    return BundleError(f"{path} cannot be read as the manifest of '{name}' ({why}): export or copy the bundle again")
