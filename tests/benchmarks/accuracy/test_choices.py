"""Every choice that docs/choosing.md speaks of is a configuration that nextitem-train takes."""

import pytest

from benchmarks.accuracy.choices import CHOICES, configuration
from benchmarks.accuracy.protocols import DATA_SETS
from nextitem_training.bodies import check_combination
from nextitem_training.config import read_config


@pytest.mark.parametrize("data_set", DATA_SETS)
def test_every_choice_is_a_configuration_and_changes_what_it_says(tmp_path, data_set):
    for name, changes in CHOICES.items():
        file = tmp_path / f"{name}.toml"
        file.write_text(configuration(data_set, name))
        config = read_config(file)
        check_combination(config.model.body, config.model.pretraining)
        for table, settings in changes.items():
            found = getattr(config, table)
            assert settings == {key: getattr(found, key) for key in settings}, name
