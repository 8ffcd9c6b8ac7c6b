"""Names that a column or a head cannot have, since the served model gives them to tensors of its own."""

from __future__ import annotations

from collections.abc import Iterable

from nextitem_training.errors import ConfigError

#: The other tensors of a request, of a response and between the steps of a bundle.
RESERVED = (
    *("item_ids", "scores", "status"),
    *("session_length", "top_k", "exclude_item_ids", "allow_item_ids", "exclude_seen"),
    *("top_k_checked", "codes__0", "scores__1", "status__2"),
)
RESERVED_PREFIXES = ("feature__", "excluded__", "allowed__", "available__", "head__")


def is_reserved(name: str) -> bool:
    """Whether a bundle has a tensor of its own of this name."""
    return name in RESERVED or name.startswith(RESERVED_PREFIXES)


def check_sent(names: Iterable[str]) -> None:
    """Raises ConfigError where callers of the served model could not send a column of one of these names."""
    for name in names:
        if is_reserved(name):
            raise ConfigError(
                f"[data] names the column '{name}', which callers of the served model would send beside its own tensors "
                f"{', '.join(RESERVED)} and those that begin with {', '.join(RESERVED_PREFIXES)}; rename the column."
            )
        if not name or not name.isprintable():
            raise ConfigError(
                f"[data] names the column {name!r}; callers of the served model send it by its name, which has to be one of "
                "printable characters. Rename the column."
            )
