"""Writes docs/configuration.md: every key of the configuration, from the classes of `nextitem_training.config`.

.venv/bin/python scripts/configuration_reference.py
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from pydantic import TypeAdapter

from nextitem_training.bodies import BODIES
from nextitem_training.config import (
    DataConfig,
    HeadConfig,
    ImportedConfig,
    InputsConfig,
    ItemsConfig,
    LossConfig,
    ModelConfig,
    TrainingConfig,
)
from nextitem_training.config.section import Section
from nextitem_training.loop.trainer import SCHEDULES
from nextitem_training.pretraining import COMPATS, OBJECTIVES
from nextitem_training.workflow import TIME_FEATURES

PAGE = Path(__file__).parents[1] / "docs" / "configuration.md"

TABLES: tuple[type[Section], ...] = (
    DataConfig, ItemsConfig, InputsConfig, ModelConfig, HeadConfig, LossConfig, TrainingConfig, ImportedConfig,
)  # fmt: skip
"""The tables of the TOML file, in the order of the page."""

NAMES: Mapping[tuple[type[Section], str], Iterable[str]] = {
    (DataConfig, "time_features"): TIME_FEATURES,
    (ModelConfig, "body"): BODIES,
    (ModelConfig, "pretraining"): OBJECTIVES,
    (ModelConfig, "compat"): COMPATS,
    (TrainingConfig, "schedule"): SCHEDULES,
}
"""The values that registries allow, by table and key; the classes say all others."""

_INTRODUCTION = """\
# Configuration

`nextitem-train --config FILE` reads one TOML file. This page lists every key that it may have: {contents}.
[demo/config.toml](../demo/config.toml) is an example.

- A table or key that is left out has its default. Only the keys of a `[[heads]]` table that are marked *required* have none.
- Unknown tables and keys, values of another type and values out of range are refused before training, in a sentence that
  names the key.
- A number is an integer or a decimal, never NaN or infinite.

<!-- Generated from the docstrings in training/nextitem_training/config/. To change the page, change them and run
python scripts/configuration_reference.py -->
"""

_TYPES = {"string": "string", "integer": "integer", "number": "number", "boolean": "`true` or `false`"}
_BOUNDS = {
    "minimum": "at least {}",
    "exclusiveMinimum": "above {}",
    "exclusiveMaximum": "below {}",
    "maximum": "at most {}",
}


def page() -> str:
    """The page as Markdown."""
    contents = ", ".join(f"[`{table.table}`](#{table.table.strip('[]')})" for table in TABLES)
    return "\n".join([_INTRODUCTION.format(contents=contents), *(chapter(table) for table in TABLES)])


def chapter(section: type[Section]) -> str:
    """A table's chapter: its own keys, then those that it inherits. Raises ValueError if a key has no docstring."""
    schema = TypeAdapter(section).json_schema()
    lines = [f"## `{section.table}`", ""]
    for declaring in section.__mro__:
        if not issubclass(declaring, Section) or declaring is Section:
            continue
        lines += [_prose(declaring.__doc__ or ""), ""]
        lines += ["| key | type and values | default | meaning |", "|---|---|---|---|"]
        keys = [key for key in declaring.__annotations__ if key in schema["properties"]]
        lines += [_row(declaring, key, schema["properties"][key]) for key in keys]
        lines.append("")
    return "\n".join(lines)


def _row(section: type[Section], key: str, schema: Mapping[str, Any]) -> str:
    field = section.__pydantic_fields__[key]
    if not field.description:
        raise ValueError(
            f"{section.table} {key} has no meaning; write a docstring under the field of {section.__name__}."
        )
    default = "*required*" if field.is_required() else f"`{json.dumps(field.get_default(call_default_factory=True))}`"
    cells = (f"`{key}`", _values(schema, NAMES.get((section, key), ())), default, _prose(field.description))
    return f"| {' | '.join(cell.replace('|', chr(92) + '|') for cell in cells)} |"


def _values(schema: Mapping[str, Any], names: Iterable[str]) -> str:
    """What a value may be, of its JSON Schema and the names that a registry knows."""
    if schema["type"] == "array" and schema["items"]["type"] == "integer":
        return "list of integers"
    if schema["type"] == "array":
        return "list of strings" + (f": {_listed(names)}" if names else "")
    if schema["type"] == "object":
        return f"table of strings: {_listed(schema['additionalProperties']['enum'])}"
    if choices := [*schema.get("enum", names)]:
        empty = [""] if schema.get("default") == "" and "" not in choices else []
        return f"string: {_listed([*empty, *choices])}"
    limits = {bound: schema[bound] for bound in _BOUNDS if bound in schema}
    if schema["type"] == "integer" and "exclusiveMinimum" in limits:
        limits = {"minimum": limits.pop("exclusiveMinimum") + 1, **limits}
    return ", ".join([_TYPES[schema["type"]], *(_BOUNDS[bound].format(limit) for bound, limit in limits.items())])


def _listed(names: Iterable[str]) -> str:
    return ", ".join(f"`{json.dumps(name)}`" for name in names)


def _prose(text: str) -> str:
    """A docstring as Markdown: a paragraph on one line, and links to the pages that it names."""
    paragraphs = (" ".join(paragraph.split()) for paragraph in text.split("\n\n"))
    return re.sub(r"\bdocs/([\w-]+\.md)", r"[\1](\1)", "\n\n".join(paragraphs))


if __name__ == "__main__":
    PAGE.write_text(page(), encoding="utf-8")
