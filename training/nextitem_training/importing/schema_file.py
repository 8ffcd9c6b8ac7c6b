"""The schema that a model of Transformers4Rec was built from, as Merlin writes it."""

from __future__ import annotations

import json
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
    return {name: frozenset(tag.value for tag in column.tags) for name, column in columns.items()}
