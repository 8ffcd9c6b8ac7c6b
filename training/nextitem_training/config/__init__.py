"""The configuration of a run: one TOML file, a table for each module here."""

from nextitem_training.config.data import DataConfig
from nextitem_training.config.heads import HeadConfig
from nextitem_training.config.imported import ImportedConfig
from nextitem_training.config.inputs import InputsConfig
from nextitem_training.config.items import ItemsConfig
from nextitem_training.config.loss import LossConfig
from nextitem_training.config.model import ModelConfig
from nextitem_training.config.reading import Config, config_from, read_config
from nextitem_training.config.training import TrainingConfig

__all__ = [
    "Config",
    "DataConfig",
    "HeadConfig",
    "ImportedConfig",
    "InputsConfig",
    "ItemsConfig",
    "LossConfig",
    "ModelConfig",
    "TrainingConfig",
    "config_from",
    "read_config",
]
