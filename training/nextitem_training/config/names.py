"""Column names that are refused, because a request could not carry them."""

from __future__ import annotations

from collections.abc import Iterable

from nextitem_bundle.names import RESERVED, RESERVED_PREFIXES, is_reserved
from nextitem_training.errors import ConfigError


def check_sent(names: Iterable[str], section: str = "[data]") -> None:
    """Raises ConfigError for a name of a column that callers of the served model could not send.

    section: the table of the configuration that names them.
    """
    for name in names:
        if is_reserved(name):
            raise ConfigError(
                f"{section} names the column '{name}', which callers of the served model would send beside its own tensors "
                f"{', '.join(RESERVED)} and those that begin with {', '.join(RESERVED_PREFIXES)}; rename the column."
            )
        if not name or not name.isprintable():
            raise ConfigError(
                f"{section} names the column {name!r}; callers of the served model send it by its name, which has to be one of "
                "printable characters. Rename the column."
            )
