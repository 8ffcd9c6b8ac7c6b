"""Reads the pretrained item vectors that [inputs] names."""

from __future__ import annotations

import dataclasses
from pathlib import Path

from nextitem_training.config import Config
from nextitem_training.errors import ConfigError
from nextitem_training.tables.vectors import PretrainedVectors, read_vectors


def read_pretrained(config: Config) -> tuple[Config, PretrainedVectors | None]:
    """Reads [inputs] pretrained_items, where it is set.

    Returns the configuration as the run directory keeps it, with the vectors' width and the file's mere name, since it holds no
    path of this machine. Raises ConfigError where the settings contradict each other, DataError where the file cannot be used.
    """
    inputs = config.inputs
    if not inputs.pretrained_items:
        if inputs.pretrained_width:
            raise ConfigError(
                f"[inputs] pretrained_width is {inputs.pretrained_width} without pretrained_items; training writes it by "
                "itself, so leave it out."
            )
        return config, None
    found = read_vectors(inputs.pretrained_items)
    name, width = Path(inputs.pretrained_items).name, found.vectors.shape[1]
    kept = dataclasses.replace(inputs, pretrained_items=name, pretrained_width=width)
    return dataclasses.replace(config, inputs=kept), found
