"""Sessions for validation and evaluation that come from files of their own: --validation-data and --test-data."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

import pandas as pd

from nextitem_training.config import Config, DataConfig, HeadConfig
from nextitem_training.data.split import Given
from nextitem_training.data.targets import check_targets
from nextitem_training.errors import ConfigError, DataError
from nextitem_training.interactions import FLOAT32, INT64, STRING, conform, read_interactions

_TYPES = {STRING: "string", INT64: "integer"}
VALIDATION_OPTION, TEST_OPTION = "--validation-data", "--test-data"


@dataclass(frozen=True)
class GivenFiles:
    """Where they lie; each holds whole sessions, of which the last interaction is asked for."""

    validation: str | Path | None = None
    test: str | Path | None = None

    def check(self, config: Config) -> None:
        """Raises ConfigError where two things are to be the validation, or where patience has none."""
        data = config.data
        if self.validation is not None and data.validates:
            kept = "validation_days" if data.validation_days else "validation_interaction"
            raise ConfigError(
                f"{VALIDATION_OPTION} is given, and [data] {kept} keeps another part for validation; leave one of them out."
            )
        if config.training.patience and self.validation is None and not data.validates:
            raise ConfigError(
                f"[training] patience is {config.training.patience}, but nothing is kept for validation that tells when to "
                f"stop: set [data] validation_days, or validation_interaction with holdout = 'last-interaction', give "
                f"{VALIDATION_OPTION}, or set patience = 0."
            )

    def read(self, data: DataConfig, dtypes: Mapping[str, str], heads: Iterable[HeadConfig] = ()) -> Given:
        """Reads and checks them as the training interactions are.

        dtypes: the pinned types of the training interactions, which are those of these too.
        Raises DataError, with the option in it, where they cannot be used.
        """
        heads = tuple(heads)
        return Given(
            _read(VALIDATION_OPTION, self.validation, data, dtypes, heads),
            _read(TEST_OPTION, self.test, data, dtypes, heads),
        )


def _read(
    option: str, path: str | Path | None, data: DataConfig, dtypes: Mapping[str, str], heads: tuple[HeadConfig, ...]
) -> pd.DataFrame | None:
    if path is None:
        return None
    try:
        frame, found = read_interactions(path, _as_in_training(data, dtypes))
        check_targets(frame, heads)
    except DataError as error:
        raise DataError(f"{option}: {error}") from error
    for name, dtype in found.items():
        # Numbers that happen to be whole are read as integers from CSV.
        if dtype != dtypes[name] and (dtype, dtypes[name]) != (INT64, FLOAT32):
            raise DataError(
                f"{option}: column '{name}' is {dtype}, in --data it is {dtypes[name]}; give it as it is there."
            )
    if not frame[data.session_column].duplicated().any():
        raise DataError(
            f"{option}: no session in {path} has two interactions, of which the last is asked for, given those before it. "
            "Give whole sessions."
        )
    return conform(frame, dtypes).assign(**{data.tie_breaker_column: frame[data.tie_breaker_column]})


def _as_in_training(data: DataConfig, dtypes: Mapping[str, str]) -> DataConfig:
    """With the types of ids, which a file of text alone cannot tell: 7 may be text there and a number elsewhere."""
    ids = (data.session_column, data.item_column, *data.categorical)
    return dataclasses.replace(data, types={**{name: _TYPES[dtypes[name]] for name in ids}, **data.types})
