"""What a setting has to satisfy. Each raises ConfigError with the table, the key, what came and what is expected."""

from __future__ import annotations

from collections.abc import Sequence

from nextitem_training.errors import ConfigError, nearest


def at_least(table: str, name: str, value: int, least: int) -> None:
    """A whole number from `least` on."""
    if value < least:
        raise ConfigError(f"[{table}] {name} is {value}; it has to be at least {least}.")


def not_negative(table: str, name: str, value: float) -> None:
    """A number from 0 on."""
    if not value >= 0:
        raise ConfigError(f"[{table}] {name} is {value}; it has to be at least 0.")


def above_zero(table: str, name: str, value: float) -> None:
    """A number above 0."""
    if not value > 0:
        raise ConfigError(f"[{table}] {name} is {value}; it has to be above 0.")


def share(table: str, name: str, value: float) -> None:
    """From 0 to below 1."""
    if not 0 <= value < 1:
        raise ConfigError(f"[{table}] {name} is {value}; it has to be from 0 to below 1.")


def one_of(table: str, name: str, value: str, known: Sequence[str]) -> None:
    """One of the known names."""
    if value not in known:
        raise ConfigError(
            f"[{table}] {name} is '{value}'.{nearest(value, known)} Known are {', '.join(name or 'none' for name in known)}."
        )
