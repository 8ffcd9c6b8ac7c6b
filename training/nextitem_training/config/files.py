"""The settings of [data] that say how files are read, where the files do not tell themselves."""

from __future__ import annotations

import codecs
from collections.abc import Mapping
from typing import ClassVar, Final, Literal

from pydantic import Field, PositiveInt
from pydantic.dataclasses import dataclass

from nextitem_training.config.section import Names, Section
from nextitem_training.errors import ConfigError

AS_STRING: Final = "string"
AS_INTEGER: Final = "integer"
AS_FLOAT: Final = "float"
AS_DATETIME: Final = "datetime"


@dataclass(frozen=True)
class FilesConfig(Section):
    """How the files of interactions are read."""

    table: ClassVar[str] = "[data]"

    time_unit: Literal["", "s", "ms", "us", "ns"] = ""
    """Of times that are numbers since 1970 UTC: s, ms, us or ns. If empty, the unit that puts every time between the years 2000
    and 2100, where there is one."""
    time_from: Names = ()
    """Columns of integers that together say the time, where no single one does: the year's, the month's, the day's and, if
    there are, the hour's, minute's and second's. [data] time_column is then the name of what is made of them."""
    separator: str = ""
    """Between the values in a line of CSV. If empty, a tab in .tsv, otherwise a comma, or the semicolon, tab or bar with
    which alone all columns are found."""
    encoding: str = "utf-8"
    """Of CSV and JSON lines, by Python's names: utf-8, latin-1, cp1252, utf-16, …"""
    types: Mapping[str, Literal["string", "integer", "float", "datetime"]] = Field(default_factory=dict)
    """By column: string, integer, float or datetime, where the file says another type or, as CSV does, none."""
    max_id_bytes: PositiveInt = 1024
    """Bytes of UTF-8 of the longest string in the item column and in categorical. More than 1024 go with nextitem-export
    --max-id-bytes."""

    def check_files(self) -> None:
        """Raises ConfigError where a setting has no meaning."""
        if self.time_from and not 3 <= len(self.time_from) <= 6:
            raise ConfigError(
                f"[data] time_from lists {len(self.time_from)} columns; it takes those of year, month, day and, after them, of"
                " hour, minute and second."
            )
        if self.time_from and self.time_unit:
            raise ConfigError("[data] time_unit and time_from are two ways of telling the time; leave one out.")
        if self.separator and (len(self.separator) != 1 or not self.separator.isascii() or self.separator in '\r\n"\0'):
            raise ConfigError(
                f"[data] separator is {self.separator!r}; it has to be one ASCII character, such as ';' or '\\t', and neither "
                "a quote nor the end of a line."
            )
        try:
            codecs.lookup(self.encoding).encode("")
        except (LookupError, TypeError, ValueError) as error:
            raise ConfigError(
                f"[data] encoding is {self.encoding!r}, which Python does not know; known are utf-8, latin-1, cp1252, utf-16, …"
            ) from error
