"""What the tables of the configuration have in common: pydantic checks them, and errors are sentences.

A table is a dataclass. The docstring under a field is the key's meaning: mkdocstrings shows it, and
scripts/configuration_reference.py writes docs/configuration.md from it.
"""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Callable, Mapping
from typing import Annotated, Any, ClassVar

from pydantic import ConfigDict, Field, Strict, ValidationError, model_validator
from pydantic.dataclasses import dataclass

from nextitem_training.errors import ConfigError, nearest

Names = Annotated[tuple[str, ...], Strict(False)]
"""A list of names in TOML."""
Share = Annotated[float, Field(ge=0, lt=1)]
"""A rate or share from 0 to below 1."""

_UNKNOWN, _LACKING = "unexpected_keyword_argument", "missing"
# Where pydantic's own words are Python's.
_EXPECTED = {"tuple_type": "be a list", "dict_type": "be a table", "dataclass_exact_type": "be a table"}


_CONFIG = ConfigDict(extra="forbid", strict=True, allow_inf_nan=False, use_attribute_docstrings=True)


@dataclass(frozen=True, config=_CONFIG)
class Section:
    """A table. Read from a file or made in Python, it raises ConfigError for a value that is not allowed."""

    table: ClassVar[str]
    """The table's name as the TOML file has it."""

    @model_validator(mode="wrap")
    @classmethod
    def _checked(cls, given: Any, build: Callable[[Any], Any]) -> Any:
        if isinstance(given, Mapping):
            return cls(**given)
        try:
            return build(given)
        except ValidationError as error:
            raise ConfigError(cls._sentence(error.errors()[0])) from error

    @classmethod
    def _sentence(cls, error: Mapping[str, Any]) -> str:
        key = ".".join(map(str, error["loc"]))
        known = [field.name for field in dataclasses.fields(cls)]
        if error["type"] == _UNKNOWN:
            return f"Unknown key '{key}' in {cls.table}.{nearest(key, known)} Known are {', '.join(known)}."
        if error["type"] == _LACKING:
            return f"{cls.table} has no '{key}', which it needs."
        expected = _EXPECTED.get(error["type"], error["msg"].removeprefix("Input should "))
        came = error["input"]
        choices = re.findall("'([^']+)'", error.get("ctx", {}).get("expected", ""))
        meant = nearest(came, choices) if isinstance(came, str) else ""
        return f"{cls.table} {key}".rstrip() + f" is {came!r}; it has to {expected}.{meant}"
