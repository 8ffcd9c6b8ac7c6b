"""What the command says of a catalogue and of an update, to people and as JSON."""

from __future__ import annotations

import datetime
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from rich.table import Table

from nextitem_bundle.manifest import CatalogueSummary, read_manifest
from nextitem_bundle.versions import versions_of

from .._errors import RepositoryError
from ..activation import version_that_answers
from .availability import Availability, unavailable_items
from .stored import refusal_of

if TYPE_CHECKING:
    from .proof import Proof
    from .update import CatalogueUpdate

#: Ids that a line names.
_NAMED = 5
_KINDS = ("added", "returned", "changed", "removed")


def describe(repository: Path, name: str, version: int | None) -> dict[str, Any]:
    """What is known of a version's catalogue, the one that answers where none is given. Raises RepositoryError, BundleError."""
    active = version_that_answers(repository, name)
    version = version or active
    there = versions_of(repository, name)
    if version not in there:
        raise RepositoryError(
            f"{repository / name} has no version {version}, there are {', '.join(map(str, there)) or 'none'}"
        )
    manifest = read_manifest(repository, name, version)
    catalogue = manifest.catalogue or CatalogueSummary()
    return {
        "name": name,
        "version": version,
        "active": active,
        "items": catalogue.items or manifest.catalogue_size,
        "removed": catalogue.removed,
        "unavailable": unavailable_items(repository, name, version),
        "attributes": list(catalogue.attributes),
        "created": catalogue.created or manifest.created,
        "refused": refusal_of(manifest),
    }


def show_table(found: dict[str, Any], now: datetime.datetime) -> Table:
    """`describe` for a person."""
    table = Table(title=f"the catalogue of '{found['name']}'", show_header=False)
    table.add_column()
    table.add_column()
    answers = "" if found["version"] == found["active"] else f"; version {found['active']} answers"
    unavailable = "in the graph of the retrieval step" if found["unavailable"] is None else f"{found['unavailable']:,}"
    rows = {
        "version": f"{found['version']}{answers}",
        "items": f"{found['items']:,}",
        "removed": f"{found['removed']:,}, whose codes stay",
        "unavailable": unavailable,
        "attributes": ", ".join(found["attributes"]) or "none: the model knows items by their ids",
        "written": f"{found['created']}, {age(found['created'], now)} ago",
        "updates": "no: " + found["refused"] if found["refused"] else "yes",
    }
    for label, value in rows.items():
        table.add_row(label, value)
    return table


def age(created: str, now: datetime.datetime) -> str:
    """How long ago a moment was, in words."""
    seconds = max(0.0, (now - datetime.datetime.fromisoformat(created)).total_seconds())
    for name, size in (("day", 86_400), ("hour", 3_600), ("minute", 60)):
        if seconds >= size:
            return _counted(int(seconds // size), name)
    return _counted(int(seconds), "second")


def update_lines(update: CatalogueUpdate) -> list[str]:
    """What an update has changed, or would change."""
    changes = update.changes
    if changes.none:
        return [
            f"nothing has changed: version {update.base} of '{update.name}' has these {update.items:,} items already"
        ]
    counts = [f"{len(getattr(changes, kind)):,} {_WORDS[kind]}" for kind in _KINDS if len(getattr(changes, kind))]
    lines = [f"{', '.join(counts)}; {update.items:,} items in all"]
    for kind in _KINDS:
        codes = getattr(changes, kind)
        if len(codes):
            lines.append(f"  {_WORDS[kind]}: {_named(changes.ids(codes[:_NAMED]), len(codes))}")
    for attribute, count in update.unseen.items():
        lines.append(f"  {_counted(count, 'value')} of '{attribute}' that training never saw: unknown to the model")
    return lines


_WORDS = {"added": "added", "returned": "back again", "changed": "changed", "removed": "removed"}


def _named(ids: Iterable[Any], count: int) -> str:
    text = ", ".join(map(str, ids))
    return text if count <= _NAMED else f"{text} and {count - _NAMED:,} more"


def _counted(count: int, what: str) -> str:
    return f"{count:,} {what}{'' if count == 1 else 's'}"


def proof_table(proof: Sequence[Proof]) -> Table:
    """One row a case; every row passed, since a difference stops the update."""
    table = Table(title="proof: the new version against its tables and the session graph")
    for heading in ("case", "sessions", "largest difference of scores"):
        table.add_column(heading, justify="left" if heading == "case" else "right")
    for case in proof:
        table.add_row(case.case, str(case.sessions), f"{case.score_difference:.1e}")
    return table


def what_next(update: CatalogueUpdate) -> str:
    """For a version beside the one that answers."""
    where = f"version {update.version} of '{update.name}' is in {update.repository}"
    return (
        f"{where}; version {update.active} answers until you activate it:\n  nextitem-export --repository "
        f"{update.repository} --name {update.name} --activate\nand with --url http://host:8000 --control-key-file FILE for "
        "a running server"
    )


def update_json(update: CatalogueUpdate) -> dict[str, Any]:
    """An update as the command prints it; the ids of all items that were added or came back, changed and removed."""
    changes = update.changes
    return {
        "repository": str(update.repository),
        "name": update.name,
        "base": update.base,
        "version": update.version,
        "active": update.active,
        "items": update.items,
        **{kind: changes.ids(np.asarray(getattr(changes, kind))) for kind in _KINDS},
        "unseen": dict(update.unseen),
        "proof": [
            {"case": c.case, "sessions": c.sessions, "score_difference": c.score_difference} for c in update.proof
        ],
    }


def availability_line(name: str, found: Availability) -> str:
    """The list as a sentence."""
    count, listed = found.unavailable(), _named(found.ids[:_NAMED], len(found.ids))
    if found.kind == "available":
        return f"'{name}' recommends {_counted(len(found.ids), 'listed item')} and no others: {listed}"
    if not found.ids:
        return f"'{name}' may recommend all items"
    unknown = len(found.ids) - count
    beside = f"; {unknown:,} more are listed, which the catalogue does not have" if unknown else ""
    return f"'{name}' keeps back {_counted(count, 'item')}{beside}: {listed}"
