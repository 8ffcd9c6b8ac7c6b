"""The schema that a model of Transformers4Rec was built from, as Merlin writes it."""

from __future__ import annotations

import json
from collections.abc import Iterable
from pathlib import Path

from merlin.schema.io.tensorflow_metadata import TensorflowMetadata

from nextitem_training.errors import CheckpointError


def read_schema(path: str | Path) -> dict[str, frozenset[str]]:
    """The columns of a schema file of Merlin, .pbtxt or .json, each with its tags. Raises CheckpointError."""
    path = Path(path)
    try:
        if path.suffix == ".json":
            json.loads(path.read_text(encoding="utf-8"))  # whose errors name the place
            found = TensorflowMetadata.from_json_file(path)
        else:
            found = TensorflowMetadata.from_proto_text_file(path.parent, path.name)
        columns = found.to_merlin_schema().column_schemas
    except Exception as error:
        raise CheckpointError(
            f"The schema {path} cannot be read ({type(error).__name__}: {error}). Give the schema.pbtxt or schema.json "
            "that the model was built from."
        ) from error
    return {name: _tags(column.tags) for name, column in columns.items()}


def _tags(found: Iterable[object]) -> frozenset[str]:
    """Tags by their names; Merlin keeps ITEM_ID as ITEM and ID."""
    tags = frozenset(str(getattr(tag, "value", tag)) for tag in found)
    return tags | {"item_id"} if {"item", "id"} <= tags else tags
