"""The availability list of the version that answers: which items are recommended to nobody, although the catalogue has them."""

from __future__ import annotations

import dataclasses
import json
import os
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from nextitem_bundle.errors import BundleError
from nextitem_bundle.lock import locked
from nextitem_bundle.manifest import read_manifest
from nextitem_bundle.runtime.item_index import ItemIndex
from nextitem_bundle.runtime.retrieval import AVAILABILITY, AvailabilityError, read_availability
from nextitem_bundle.runtime.special_ids import UNKNOWN

from .._errors import CatalogueError, repository_errors
from ..activation import version_that_answers
from ..control import ModelControl


@dataclasses.dataclass(frozen=True)
class Availability:
    """The list of a version.

    model: the Triton model that reads it. file: where it is. kind: `unavailable`, or `available` where it lists the only items
    that may be recommended. ids: the raw ids that it lists. index: the catalogue.
    """

    model: str
    file: Path
    kind: str
    ids: tuple[Any, ...]
    index: ItemIndex

    @classmethod
    def read(cls, repository: Path, name: str, version: int) -> Availability:
        """That of a version. Raises CatalogueError where it has none or its list is damaged, and BundleError."""
        for model in read_manifest(repository, name, version).models:
            for file in sorted((repository / model / str(version)).rglob(AVAILABILITY)):
                return cls._open(model, file)
        raise CatalogueError(
            f"version {version} of '{name}' has no availability list, since its retrieval runs in Triton's own backends, "
            "where the list is part of the graph: export it again with ExportOptions(availability='FILE')"
        )

    @classmethod
    def _open(cls, model: str, file: Path) -> Availability:
        index = ItemIndex.load(file.parent)
        try:
            read_availability(file, index)
        except AvailabilityError as error:
            raise CatalogueError(f"{error}: mend the file, or set it anew") from error
        ((kind, ids),) = json.loads(file.read_text(encoding="utf-8")).items()
        return cls(model, file, kind, tuple(ids), index)

    def unavailable(self) -> int:
        """How many items of the catalogue the list keeps back."""
        available = read_availability(self.file, self.index)
        return int((self.index.listed & ~available).sum())

    def changed(self, hidden: Sequence[Any], shown: Sequence[Any]) -> Availability:
        """With items that are not to be recommended any more, and such that are again."""
        listed, left_out = (hidden, shown) if self.kind == "unavailable" else (shown, hidden)
        ids = dict.fromkeys([*self.ids, *listed])
        for item in left_out:
            ids.pop(item, None)
        return dataclasses.replace(self, ids=tuple(ids))

    def unknown(self, ids: Sequence[Any]) -> list[Any]:
        """Those of some raw ids that the catalogue does not have."""
        if not ids:
            return []
        codes = self.index.codes(np.array(ids, dtype=object if self.index.of_strings else np.int64))
        return [item for item, code in zip(ids, codes.tolist(), strict=True) if code == UNKNOWN]

    def as_ids(self, words: Sequence[str]) -> list[Any]:
        """Raw ids as they are written on a command line, in the catalogue's type. Raises CatalogueError."""
        if self.index.of_strings:
            return list(words)
        wrong = [word for word in words if not word.removeprefix("-").isdecimal() or not -(2**63) < int(word) < 2**63]
        if wrong:
            raise CatalogueError(
                f"the id {wrong[0]!r} is no 64-bit integer, and those of the catalogue are: correct it"
            )
        return [int(word) for word in words]

    def write(self) -> None:
        """Put the list in its place at once."""
        beside = self.file.with_name(f".{self.file.name}.new")
        beside.write_text(json.dumps({self.kind: list(self.ids)}, ensure_ascii=False), encoding="utf-8")
        os.replace(beside, self.file)


def set_availability(
    repository: str | Path,
    name: str,
    *,
    unavailable: Sequence[str] = (),
    available: Sequence[str] = (),
    file: str | Path | None = None,
    clear: bool = False,
    url: str | None = None,
    key: str | None = None,
    progress: Callable[[str], None] = lambda _: None,
) -> Availability:
    """Change which items the version that answers may recommend.

    Args:
        repository: the model repository's folder.
        name: the bundle.
        unavailable: raw ids that are not to be recommended any more, as text.
        available: raw ids that are to be recommended again.
        file: a JSON file that takes the list's place before these, as model_repository/README.md describes it.
        clear: all items may be recommended, before these.
        url: a running server of this repository, which reads the list again. None: the list counts from its next start on.
        key: the server's control key.
        progress: called with a sentence before each stage.

    Returns:
        The list as it is now.

    Raises:
        CatalogueError: the version has no list, or an id or the file is none.
        RepositoryError: the repository has no such bundle.
        ControlError: the server does not read the list; the file is as it was.
    """
    repository = Path(repository)
    control = None if url is None else ModelControl(url, key)
    with repository_errors():
        version_that_answers(repository, name)  # before a file is made for the lock
        with locked(repository, name, progress):
            before = Availability.read(repository, name, version_that_answers(repository, name))
            after = _replaced(before, file) if file is not None else before
            after = dataclasses.replace(after, kind="unavailable", ids=()) if clear else after
            after = after.changed(before.as_ids(unavailable), before.as_ids(available))
            if after != before:
                _put(before, after, control, progress)
    return after


def _replaced(before: Availability, file: str | Path) -> Availability:
    if not Path(file).is_file():
        raise CatalogueError(f"the availability list {file} is not there, or no file")
    try:
        read_availability(Path(file), before.index)
    except AvailabilityError as error:
        raise CatalogueError(str(error)) from error
    ((kind, ids),) = json.loads(Path(file).read_text(encoding="utf-8")).items()
    return dataclasses.replace(before, kind=kind, ids=tuple(ids))


def _put(
    before: Availability, after: Availability, control: ModelControl | None, progress: Callable[[str], None]
) -> None:
    after.write()
    if control is None:
        return
    try:
        progress(f"loading {after.model}")
        control.load(after.model)
    except BaseException:
        before.write()
        raise


def unavailable_items(repository: Path, name: str, version: int) -> int | None:
    """How many items a version keeps back; None where it has no list of its own."""
    try:
        return Availability.read(repository, name, version).unavailable()
    except (BundleError, CatalogueError):
        return None
