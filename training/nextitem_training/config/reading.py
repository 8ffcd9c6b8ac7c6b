"""Reads the configuration's TOML file and refuses unknown keys."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, ClassVar

from pydantic import Field, Strict
from pydantic.dataclasses import dataclass

from nextitem_training.config.data import DataConfig
from nextitem_training.config.heads import HeadConfig
from nextitem_training.config.imported import ImportedConfig
from nextitem_training.config.inputs import InputsConfig
from nextitem_training.config.items import ItemsConfig
from nextitem_training.config.loss import LossConfig
from nextitem_training.config.model import ModelConfig
from nextitem_training.config.section import Section
from nextitem_training.config.training import TrainingConfig
from nextitem_training.errors import ConfigError

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib


@dataclass(frozen=True)
class Config(Section):
    """The whole configuration of a training run, one table per field. A table that the file leaves out has its defaults."""

    table: ClassVar[str] = "the configuration"

    data: DataConfig = Field(default_factory=DataConfig)
    """Columns, files and splits."""
    items: ItemsConfig = Field(default_factory=ItemsConfig)
    """The items table."""
    inputs: InputsConfig = Field(default_factory=InputsConfig)
    """From features to one vector per interaction."""
    model: ModelConfig = Field(default_factory=ModelConfig)
    """The session model."""
    heads: Annotated[tuple[HeadConfig, ...], Strict(False)] = ()
    """Predictions beside the next item."""
    loss: LossConfig = Field(default_factory=LossConfig)
    """The loss over items."""
    training: TrainingConfig = Field(default_factory=TrainingConfig)
    """The training loop."""
    imported: ImportedConfig = Field(default_factory=ImportedConfig)
    """The shape of a model that another library trained."""

    def __post_init__(self) -> None:
        _check_heads(self.heads, (*sent_columns(self.data), *self.items.attributes), self.data.targets)
        _check_items(self)
        numbers = (*self.data.continuous, *self.data.log_continuous)
        for name in self.inputs.soft_one_hot:
            if name not in numbers:
                raise ConfigError(
                    f"[inputs] soft_one_hot lists '{name}', which is no number; [data] continuous and log_continuous are "
                    f"{', '.join(numbers) or 'empty'}."
                )


def sent_columns(data: DataConfig) -> tuple[str, ...]:
    """What callers of the served model send."""
    return (data.item_column, data.time_column, *data.categorical, *data.continuous, *data.log_continuous)


def _check_items(config: Config) -> None:
    """Raises ConfigError for columns that interactions have too, and where the model cannot have the content."""
    data, items = config.data, config.items
    taken = {*sent_columns(data), data.session_column, data.tie_breaker_column, *data.time_features, *data.targets}
    for name in (*items.attributes, *filter(None, [items.vectors_column])):
        if name in taken:
            raise ConfigError(
                f"[items] and [data] both name '{name}'. Leave it out of [data] where it says something of the item, "
                "which then need not be sent, or else out of [items]."
            )
    if items.vectors and config.inputs.pretrained_items:
        raise ConfigError(
            "[items] vectors and [inputs] pretrained_items are both set; each gives items vectors. Leave pretrained_items out."
        )
    if items.learns and config.imported.columns:
        raise ConfigError(
            "[items] is set, but the model is one that nextitem-import took over, which reads no items table. Leave [items] "
            "out, or train a model of your own."
        )


def _check_heads(heads: tuple[HeadConfig, ...], taken: tuple[str, ...], targets: tuple[str, ...]) -> None:
    """Raises ConfigError for heads of one name or of a column's, and for heads whose column is no target."""
    names = [head.name for head in heads]
    for head in heads:
        if names.count(head.name) > 1:
            raise ConfigError(f"[[heads]] has '{head.name}' more than once; every head needs a name of its own.")
        if head.name in taken:
            raise ConfigError(
                f"The head '{head.name}' has the name of a column that callers of the served model send, or of an item's "
                f"attribute: {', '.join(taken)}. Give the head another name."
            )
        if head.column not in targets:
            raise ConfigError(
                f"The head '{head.name}' predicts the column '{head.column}', which is none of [data] targets: "
                f"{', '.join(targets) or 'which is empty'}."
            )


def read_config(path: str | Path) -> Config:
    """Reads a TOML file. Raises ConfigError if it is missing, malformed, has unknown keys or values that are not allowed."""
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
    """Builds the configuration from nested tables. Raises ConfigError as `read_config` does."""
    return Config(**tables)
