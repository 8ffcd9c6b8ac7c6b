"""Updating the catalogue of a bundle: from a table of items to a new version, proved and in its place."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import numpy as np
import pyarrow as pa

from nextitem_bundle import placing, versions
from nextitem_bundle.checksums import verify
from nextitem_bundle.errors import BundleError
from nextitem_bundle.lock import locked
from nextitem_bundle.manifest import Manifest, read_manifest
from nextitem_bundle.runtime.special_ids import FIRST_ITEM

from .._errors import RepositoryError, repository_errors
from ..activation import version_that_answers
from .changes import Changes, How, changes_of
from .proof import Proof, prove, read_sessions
from .reading import TypedItems, read_items
from .rewriting import write_version
from .stored import StoredCatalogue, refuse_without_catalogue


@dataclasses.dataclass(frozen=True)
class CatalogueUpdate:
    """What an update has done, or would do.

    Attributes:
        repository: the model repository's folder.
        name: the bundle.
        base: the version whose catalogue was updated.
        version: the new version; None where nothing has changed, and for a dry run.
        active: the version that answers.
        changes: what is added, changed and removed.
        items: how many items there are now.
        unseen: by attribute, how many of the given values training never saw; they count as unknown.
        proof: how each case of the proof came out; () where nothing was written.
    """

    repository: Path
    name: str
    base: int
    version: int | None
    active: int
    changes: Changes
    items: int
    unseen: Mapping[str, int]
    proof: tuple[Proof, ...] = ()


def update_catalogue(
    repository: str | Path,
    name: str,
    items: str | Path,
    *,
    partial: bool = False,
    group: str | None = None,
    remove_most: bool = False,
    item_column: str | None = None,
    version: int | None = None,
    sample: str | Path | None = None,
    dry_run: bool = False,
    progress: Callable[[str], None] = lambda _: None,
) -> CatalogueUpdate:
    """Write the next version of a bundle, with another catalogue and the same model.

    Neither torch nor NVTabular is needed. The version that answers goes on until `activate_bundle`. One change of a bundle is
    made at a time: while another one runs, this call waits.

    Args:
        repository: the model repository's folder.
        name: the bundle.
        items: a table with one row for each item, Parquet or CSV: its id, and the attributes that the model was trained with.
        partial: the rows are added or changed; otherwise the table is the whole catalogue, and what it leaves out is removed.
        group: of a model that was trained without an items table, the column that groups items. A new item starts from the
            mean of its group's vectors.
        remove_most: more than half of the items may be removed.
        item_column: the table's column of ids. None: as in the interactions.
        version: the version whose catalogue is updated. None: the one that answers.
        sample: raw interactions of some sessions, Parquet or CSV, by which the new version is proved. None: those that the
            export kept.
        dry_run: nothing is written.
        progress: called with a sentence before each stage.

    Returns:
        What has changed, and the new version.

    Raises:
        CatalogueError: the bundle has no catalogue, or the items do not fit it.
        ParityError: the new version does not answer as its tables say.
        RepositoryError: the repository has no such bundle, or it cannot be written. As with every error, it is as it was.
    """
    repository = Path(repository)
    how = How(partial, group, remove_most)
    with repository_errors():
        version_that_answers(repository, name)  # before a file is made for the lock
        progress("reading the items")
        table = read_items(Path(items))
        with locked(repository, name, progress):
            active = version_that_answers(repository, name)
            base = version or active
            manifest = _checked(repository, name, base, progress)
            stored = StoredCatalogue.open(repository, name, base)
            progress("comparing the items with the catalogue")
            given = _typed(table, item_column, stored)
            changes = changes_of(
                stored.tables, given, how, content=stored.attributes is not None, vectors=_vectors(stored)
            )
            found = CatalogueUpdate(
                repository,
                name,
                base,
                None,
                active,
                changes,
                int((~changes.tables.removed).sum()),
                _unseen(stored, changes),
            )
            if dry_run or changes.none:
                return found
            return _written(found, stored, manifest, sample, progress)


def _checked(repository: Path, name: str, version: int, progress: Callable[[str], None]) -> Manifest:
    """The manifest of a version whose files are those that were exported."""
    there = versions.versions_of(repository, name)
    if version not in there:
        raise RepositoryError(
            f"{repository / name} has no version {version}, there are {', '.join(map(str, there)) or 'none'}"
        )
    manifest = read_manifest(repository, name, version)
    refuse_without_catalogue(manifest)
    progress(f"comparing the files of version {version} with their checksums")
    try:
        verify(repository, manifest, answers=False)
    except BundleError as error:
        raise RepositoryError(f"{error}. Export or copy the bundle again; nothing was changed") from error
    return manifest


def _written(
    found: CatalogueUpdate,
    stored: StoredCatalogue,
    manifest: Manifest,
    sample: str | Path | None,
    progress: Callable[[str], None],
) -> CatalogueUpdate:
    repository, models = found.repository, list(manifest.models)
    version = versions.next_version(repository, models)
    tables = found.changes.tables
    sessions = read_sessions(stored, sample)
    with placing.build_folder(repository) as build:
        progress("writing the new version")
        write_version(stored, tables, build, version)
        proof = prove(stored, found.changes, build, version, sessions, progress)
        _note_proof(build, found.name, version, proof)
        progress("putting the version in its place")
        placing.check_place(repository, build, models, replace=False)
        placing.place(repository, build, models, version)
    return dataclasses.replace(found, version=version, proof=proof)


def _typed(table: pa.Table, item_column: str | None, stored: StoredCatalogue) -> TypedItems:
    signature = stored.signature
    return TypedItems(
        table,
        item_column or signature.item_column,
        strings=stored.tables.ids.dtype == object,
        max_id_bytes=signature.max_id_bytes,
    )


def _vectors(stored: StoredCatalogue) -> tuple[str, int]:
    attributes = stored.attributes
    return ("", 0) if attributes is None else (attributes.vectors, attributes.vectors_width)


def _unseen(stored: StoredCatalogue, changes: Changes) -> dict[str, int]:
    """How many values of the rows that are new or have changed training never saw, by attribute."""
    if stored.attributes is None:
        return {}
    places = np.concatenate([changes.added, changes.returned, changes.changed]) - FIRST_ITEM
    rows = changes.tables.rows
    assert rows is not None
    return {name: count for name, count in stored.attributes.encode(rows.take(places)).unseen.items() if count}


def _note_proof(build: Path, name: str, version: int, proof: Sequence[Proof]) -> None:
    """Write how the version was proved into its manifest."""
    manifest = read_manifest(build, name, version)
    dataclasses.replace(manifest, parity=[dataclasses.asdict(case) for case in proof]).write(build)
