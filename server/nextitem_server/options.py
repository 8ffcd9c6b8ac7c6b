"""Reading tritonserver's options that a caller passes on."""

from __future__ import annotations

from collections.abc import Sequence


def option_value(options: Sequence[str], name: str) -> str | None:
    """The value of `--name=value` or `--name value` among `options`; None if it is not there."""
    for position, option in enumerate(options):
        if option.startswith(f"{name}="):
            return option.split("=", 1)[1]
        if option == name and position + 1 < len(options):
            return options[position + 1]
    return None
