"""docs/configuration.md is what the configuration's classes say."""

import dataclasses
import runpy
from pathlib import Path
from typing import Annotated, ClassVar

import pytest
from pydantic import Field, PositiveInt
from pydantic.dataclasses import dataclass

from nextitem_training.config import Config
from nextitem_training.config.section import Section
from scripts.configuration_reference import NAMES, PAGE, TABLES, chapter, page

COMMAND = "python scripts/configuration_reference.py"


def test_the_page_is_generated():
    written = PAGE.read_text(encoding="utf-8")
    assert written == page(), f"docs/configuration.md differs from the configuration's classes; run {COMMAND}"
    assert COMMAND in written


def test_the_command_writes_the_page(monkeypatch):
    written = {}
    monkeypatch.setattr(Path, "write_text", lambda path, text, **options: written.update({path: text}))
    runpy.run_path(str(PAGE.parents[1] / "scripts/configuration_reference.py"), run_name="__main__")
    assert written == {PAGE: page()}


def test_every_table_and_key_has_a_row():
    tables = {table.table.strip("[]"): table for table in TABLES}
    assert {field.name for field in dataclasses.fields(Config)} == {*tables}
    for table in TABLES:
        rows = [line.split("`")[1] for line in chapter(table).splitlines() if line.startswith("| `")]
        assert sorted(rows) == sorted(field.name for field in dataclasses.fields(table))


def test_every_name_of_a_registry_belongs_to_a_key():
    for table, key in NAMES:
        assert key in {field.name for field in dataclasses.fields(table)}
    text = page()
    for names in NAMES.values():
        assert all(f'`"{name}"`' in text for name in names)


@dataclass(frozen=True)
class Fruit(Section):
    """One fruit.

    See docs/choosing.md.
    """

    table: ClassVar[str] = "[fruit]"

    name: str
    """Its name."""
    weight: Annotated[float, Field(gt=0, le=2)] = 1.0
    """Its weight | mass, in kg;
    see docs/sizing.md."""


@dataclass(frozen=True)
class Apple(Fruit):
    """One apple."""

    colours: Annotated[tuple[str, ...], Field(strict=False)] = ()
    """Its colours."""
    days: PositiveInt = 3
    """Days that it keeps."""


def test_a_row_says_type_range_default_and_meaning():
    assert chapter(Apple) == "\n".join(
        [
            "## `[fruit]`",
            "",
            "One apple.",
            "",
            "| key | type and values | default | meaning |",
            "|---|---|---|---|",
            "| `colours` | list of strings | `[]` | Its colours. |",
            "| `days` | integer, at least 1 | `3` | Days that it keeps. |",
            "",
            "One fruit.",
            "",
            "See [choosing.md](choosing.md).",
            "",
            "| key | type and values | default | meaning |",
            "|---|---|---|---|",
            "| `name` | string | *required* | Its name. |",
            "| `weight` | number, above 0, at most 2 | `1.0` | Its weight \\| mass, in kg; see [sizing.md](sizing.md). |",
            "",
        ]
    )


def test_a_key_without_a_meaning_is_refused():
    @dataclass(frozen=True)
    class Pear(Section):
        """One pear."""

        table: ClassVar[str] = "[pear]"

        ripe: bool = False

    with pytest.raises(ValueError, match=r"\[pear\] ripe has no meaning; write a docstring under the field of Pear"):
        chapter(Pear)
