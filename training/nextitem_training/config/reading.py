"""Reads the configuration's TOML file and refuses what it does not know."""

from __future__ import annotations

import dataclasses
import math
import sys
import types
import typing
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

from nextitem_training.config.data import DataConfig
from nextitem_training.config.heads import HeadConfig
from nextitem_training.config.inputs import InputsConfig
from nextitem_training.config.loss import LossConfig
from nextitem_training.config.model import ModelConfig
from nextitem_training.config.training import TrainingConfig
from nextitem_training.errors import ConfigError, nearest

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib


@dataclass(frozen=True)
class Config:
    """Everything that decides what a training run makes of given interactions."""

    data: DataConfig = field(default_factory=DataConfig)
    inputs: InputsConfig = field(default_factory=InputsConfig)
    model: ModelConfig = field(default_factory=ModelConfig)
    heads: tuple[HeadConfig, ...] = ()
    loss: LossConfig = field(default_factory=LossConfig)
    training: TrainingConfig = field(default_factory=TrainingConfig)

    def __post_init__(self) -> None:
        _check_heads(self.heads, self.data)
        numbers = (*self.data.continuous, *self.data.log_continuous)
        for name in self.inputs.soft_one_hot:
            if name not in numbers:
                raise ConfigError(
                    f"[inputs] soft_one_hot lists '{name}', which is no number; [data] continuous and log_continuous are "
                    f"{', '.join(numbers) or 'empty'}."
                )


def _check_heads(heads: tuple[HeadConfig, ...], data: DataConfig) -> None:
    """Raises ConfigError where heads do not fit each other or the columns."""
    names = [head.name for head in heads]
    sent = (data.item_column, data.time_column, *data.categorical, *data.continuous, *data.log_continuous)
    for head in heads:
        if names.count(head.name) > 1:
            raise ConfigError(f"[[heads]] has '{head.name}' more than once; every head needs a name of its own.")
        if head.name in sent:
            raise ConfigError(
                f"The head '{head.name}' has the name of a column that callers of the served model send: "
                f"{', '.join(sent)}. Give the head another name."
            )
        if head.column not in data.targets:
            raise ConfigError(
                f"The head '{head.name}' predicts the column '{head.column}', which is none of [data] targets: "
                f"{', '.join(data.targets) or 'which is empty'}."
            )


Section = TypeVar("Section")


def read_config(path: str | Path) -> Config:
    """Reads a TOML file. Raises ConfigError where it is missing, malformed or has unknown keys."""
    path = Path(path)
    try:
        tables = tomllib.loads(path.read_text(encoding="utf-8-sig"))  # editors on Windows put a byte order mark first
    except OSError as error:
        raise ConfigError(
            f"The configuration {path} cannot be read ({error.strerror}); give --config the path of a TOML file."
        ) from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise ConfigError(f"The configuration {path} is no valid TOML: {error}.") from error
    return config_from(tables)


def config_from(tables: Mapping[str, Any]) -> Config:
    """Builds the configuration from nested tables. Raises ConfigError on unknown keys."""
    return _section(Config, tables, "the configuration")


def _section(cls: type[Section], table: Mapping[str, Any], where: str) -> Section:
    """Builds a dataclass from a table and refuses what it does not know."""
    hints = typing.get_type_hints(cls)
    known = [spec.name for spec in dataclasses.fields(cls)]  # type: ignore[arg-type]
    values: dict[str, Any] = {}
    for key, value in table.items():
        if key not in known:
            raise ConfigError(f"Unknown key '{key}' in {where}.{nearest(key, known)} Known are {', '.join(known)}.")
        values[key] = _value(hints[key], value, key, where)
    required = [s.name for s in dataclasses.fields(cls) if s.default is s.default_factory is dataclasses.MISSING]  # type: ignore[arg-type]
    for key in required:
        if key not in values:
            raise ConfigError(f"{where} has no '{key}', which it needs.")
    return cls(**values)


def _value(expected: Any, value: Any, key: str, where: str) -> Any:
    """Checks a value against the field's type; a list of strings becomes a tuple."""
    if dataclasses.is_dataclass(expected):
        if isinstance(value, Mapping):
            return _section(expected, value, f"[{key}]")
        raise ConfigError(f"'{key}' has to be a table [{key}], not {value!r}.")
    if typing.get_origin(expected) is Mapping:
        if isinstance(value, Mapping) and all(isinstance(entry, str) for entry in value.values()):
            return dict(value)
        raise ConfigError(f"{where} {key} is {value!r}; it has to be a table of strings.")
    if isinstance(expected, types.GenericAlias):
        kind = typing.get_args(expected)[0]
        if dataclasses.is_dataclass(kind):
            if isinstance(value, (list, tuple)) and all(isinstance(entry, Mapping) for entry in value):
                return tuple(_section(kind, entry, f"[[{key}]]") for entry in value)
            raise ConfigError(f"'{key}' has to be tables [[{key}]], not {value!r}.")
        if isinstance(value, (list, tuple)) and all(isinstance(item, str) for item in value):
            return tuple(value)
        raise ConfigError(f"{where} {key} is {value!r}; it has to be a list of strings.")
    if expected is float and type(value) is int:
        return float(value)
    if type(value) is not expected:
        raise ConfigError(f"{where} {key} is {value!r}; it has to be of type {expected.__name__}.")
    if expected is float and not math.isfinite(value):
        raise ConfigError(f"{where} {key} is {value!r}; it has to be a finite number.")
    return value
