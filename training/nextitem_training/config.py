"""The configuration: one TOML file with the tables [data], [model] and [training]."""

from __future__ import annotations

import dataclasses
import re
import sys
import types
import typing
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

from nextitem_training.errors import ConfigError, nearest

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib


@dataclass(frozen=True)
class DataConfig:
    """The columns of the interactions and how they are split."""

    session_column: str = "session_id"
    item_column: str = "item_id"
    time_column: str = "timestamp"
    categorical: tuple[str, ...] = ()
    """Further columns of strings or integers; the item column is always read."""
    continuous: tuple[str, ...] = ()
    """Columns of numbers that are normalised."""
    log_continuous: tuple[str, ...] = ()
    """Columns of amounts, such as prices: log(1 + x), then normalised; below 0 counts as 0."""
    time_features: tuple[str, ...] = ()
    """Read from the time column: weekday, hour, month."""
    tie_breaker_column: str = "row_position"
    """Made while reading: the row's position in the data, which orders interactions of one time."""
    window: int = 20
    """The newest interactions of a session that the model reads."""
    holdout_days: float = 14.0
    """Sessions that start in the last so many days are held out for evaluation."""
    min_session_length: int = 2
    """Shorter sessions are no training examples; answers are given for them all the same."""
    sample_sessions: int = 500
    """Held-out sessions that are kept raw in the run directory."""
    item_group: str = ""
    """The column of `categorical` by which items are alike: where training starts from an older run, a new item starts from its
    group's mean. The first of `categorical` if empty."""

    def __post_init__(self) -> None:
        roles = [self.session_column, self.item_column, self.time_column, self.tie_breaker_column]
        names = [*roles, *self.categorical, *self.continuous, *self.log_continuous]
        names += self.time_features
        for name in names:
            if names.count(name) > 1:
                raise ConfigError(f"[data] lists '{name}' more than once; a column or time feature has one use.")
        # Groupby takes such an ending for its own and changes the column's type.
        if re.search("_(list|count|nunique|mean|median|std|var|sum)$", self.session_column):
            raise ConfigError(
                f"[data] session_column is '{self.session_column}': NVTabular's Groupby takes the "
                "ending for an aggregation; rename the column, for example to 'session_id'."
            )
        if self.item_group and self.item_group not in self.categorical:
            raise ConfigError(
                f"[data] item_group is '{self.item_group}'; it has to be one of categorical: "
                f"{', '.join(self.categorical) or 'which is empty'}."
            )
        _at_least("data", "window", self.window, 1)
        _at_least("data", "min_session_length", self.min_session_length, 2)
        _at_least("data", "sample_sessions", self.sample_sessions, 1)
        _above_zero("data", "holdout_days", self.holdout_days)


@dataclass(frozen=True)
class ModelConfig:
    """The session model. Defaults of the body are those of Transformers4Rec."""

    body: str = "xlnet"
    pretraining: str = "mlm"
    d_model: int = 64
    """D: width of the item embedding, of the body and of the query."""
    layers: int = 2
    heads: int = 4
    dropout: float = 0.3
    layer_norm_eps: float = 0.03
    initializer_range: float = 0.01
    side_width: int = 16
    """Width of the embedding of every feature but the item."""
    normalize: bool = False
    """Scale queries and item embeddings to length 1 before they are compared."""
    temperature: float = 1.0
    """Scores are divided by it; 0.07 suits `normalize = true`."""
    mask_probability: float = 0.3
    """MLM and RTD: share of a session's interactions that is hidden; PLM: that is predicted."""
    generator_share: float = 0.5
    """RTD: the generator's width and heads as a share of the body's (the paper: a quarter to half)."""
    detection_weight: float = 1.0
    """RTD: weight of the detection loss beside the losses over items, see docs/pretraining.md."""
    compat: str = ""
    """Another program's way of masking and of reading the prediction, for models trained there:
    transformers4rec, or none."""

    def __post_init__(self) -> None:
        for name in ("d_model", "layers", "heads", "side_width"):
            _at_least("model", name, getattr(self, name), 1)
        for name in ("temperature", "layer_norm_eps", "initializer_range"):
            _above_zero("model", name, getattr(self, name))
        if not 0 <= self.dropout < 1:
            raise ConfigError(f"[model] dropout is {self.dropout}; it has to be from 0 to below 1.")
        if not 0 < self.mask_probability < 1:
            raise ConfigError(f"[model] mask_probability is {self.mask_probability}; it has to be between 0 and 1.")
        if not 0 < self.generator_share <= 1:
            raise ConfigError(f"[model] generator_share is {self.generator_share}; it has to be above 0 and at most 1.")
        if not self.detection_weight >= 0:
            raise ConfigError(f"[model] detection_weight is {self.detection_weight}; it has to be at least 0.")
        if self.d_model % (2 * self.heads):
            raise ConfigError(
                f"[model] d_model is {self.d_model} with {self.heads} heads; every head needs an "
                f"even width, so d_model has to be a multiple of {2 * self.heads}."
            )


@dataclass(frozen=True)
class TrainingConfig:
    """The training loop, handed to the Hugging Face Trainer."""

    epochs: int = 10
    batch_size: int = 256
    learning_rate: float = 1e-3
    weight_decay: float = 0.01
    warmup_share: float = 0.1
    """Share of the steps in which the learning rate rises."""
    schedule: str = "cosine"
    """A learning rate schedule of Hugging Face Transformers, such as cosine, linear, constant."""
    seed: int = 42

    def __post_init__(self) -> None:
        _at_least("training", "epochs", self.epochs, 1)
        _at_least("training", "batch_size", self.batch_size, 1)
        _above_zero("training", "learning_rate", self.learning_rate)
        if not self.weight_decay >= 0:
            raise ConfigError(f"[training] weight_decay is {self.weight_decay}; it has to be at least 0.")
        if not 0 <= self.warmup_share <= 1:
            raise ConfigError(f"[training] warmup_share is {self.warmup_share}; it has to be from 0 to 1.")
        if not 0 <= self.seed < 2**32:
            raise ConfigError(f"[training] seed is {self.seed}; it has to be from 0 to {2**32 - 1}.")


@dataclass(frozen=True)
class Config:
    """Everything that decides what a training run makes of given interactions."""

    data: DataConfig = field(default_factory=DataConfig)
    model: ModelConfig = field(default_factory=ModelConfig)
    training: TrainingConfig = field(default_factory=TrainingConfig)


Section = TypeVar("Section")


def read_config(path: str | Path) -> Config:
    """Reads a TOML file. Raises ConfigError where it is missing, malformed or has unknown keys."""
    path = Path(path)
    try:
        tables = tomllib.loads(path.read_text(encoding="utf-8"))
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
    return cls(**values)


def _value(expected: Any, value: Any, key: str, where: str) -> Any:
    """Checks a value against the field's type; a list of strings becomes a tuple."""
    if dataclasses.is_dataclass(expected):
        if isinstance(value, Mapping):
            return _section(expected, value, f"[{key}]")
        raise ConfigError(f"'{key}' has to be a table [{key}], not {value!r}.")
    if isinstance(expected, types.GenericAlias):
        if isinstance(value, (list, tuple)) and all(isinstance(item, str) for item in value):
            return tuple(value)
        raise ConfigError(f"{where} {key} is {value!r}; it has to be a list of strings.")
    if expected is float and type(value) is int:
        return float(value)
    if type(value) is not expected:
        raise ConfigError(f"{where} {key} is {value!r}; it has to be of type {expected.__name__}.")
    return value


def _at_least(table: str, name: str, value: int, least: int) -> None:
    if value < least:
        raise ConfigError(f"[{table}] {name} is {value}; it has to be at least {least}.")


def _above_zero(table: str, name: str, value: float) -> None:
    if not value > 0:
        raise ConfigError(f"[{table}] {name} is {value}; it has to be above 0.")
