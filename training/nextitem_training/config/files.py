"""The settings of [data] that say how files are read, where the files leave it open."""

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
    """Keys of `[data]` for how files are read.

    CSV and JSON lines may need them, Parquet rarely does. See docs/data.md.
    """

    table: ClassVar[str] = "[data]"

    time_unit: Literal["", "s", "ms", "us", "ns"] = ""
    """Unit of times that are numbers since 1970 in UTC: seconds, milliseconds, microseconds or nanoseconds. Empty: the unit
    that puts all times between the years 2000 and 2100."""
    time_from: Names = ()
    """Columns of integers from which the time is made, where no single column has it: year, month, day and, optionally, hour,
    minute and second, in this order. `time_column` names the result. Not together with `time_unit`."""
    separator: str = ""
    """The character between the values of a CSV line, one ASCII character. Empty: a tab in `.tsv` files; elsewhere the one of
    comma, semicolon, tab and vertical bar with which alone all columns are found, otherwise a comma."""
    encoding: str = "utf-8"
    """Encoding of CSV and JSON lines, by Python's names, such as `utf-8`, `latin-1`, `cp1252`, `utf-16`."""
    types: Mapping[str, Literal["string", "integer", "float", "datetime"]] = Field(default_factory=dict)
    """The table `[data.types]`: a column's name and its type, where the file has another type or, as CSV does, none."""
    max_id_bytes: PositiveInt = 1024
    """Longest string in the item column and in `categorical`, in bytes of UTF-8. Longer strings are refused. If you raise it,
    raise `nextitem-export --max-id-bytes` too."""

    def check_files(self) -> None:
        """Raises ConfigError for a setting that cannot be used."""
        if self.time_from and not 3 <= len(self.time_from) <= 6:
            raise ConfigError(
                f"[data] time_from lists {len(self.time_from)} columns; it takes those of year, month, day and, after them, of"
                " hour, minute and second."
            )
        if self.time_from and self.time_unit:
            raise ConfigError(
                "[data] time_unit and time_from are both set; each says how to read the time. Leave one out."
            )
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
