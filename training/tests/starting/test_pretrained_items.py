import dataclasses

import numpy as np
import pytest

from nextitem_training.config import Config, InputsConfig
from nextitem_training.errors import ConfigError
from nextitem_training.starting.pretrained_items import read_pretrained


def test_the_configuration_keeps_the_width_and_the_name(tmp_path):
    path = tmp_path / "items.npz"
    np.savez(path, ids=np.array(["b", "x", "a"]), vectors=np.ones((3, 2)))
    config, found = read_pretrained(Config(inputs=InputsConfig(pretrained_items=str(path), pretrained_frozen=False)))
    assert config.inputs == InputsConfig(pretrained_items="items.npz", pretrained_width=2, pretrained_frozen=False)
    assert found.ids.tolist() == ["b", "x", "a"]
    plain = Config()
    assert read_pretrained(plain) == (plain, None)


def test_a_width_without_vectors_is_refused():
    wrong = dataclasses.replace(Config(), inputs=InputsConfig(pretrained_width=4))
    with pytest.raises(ConfigError, match="pretrained_width is 4 without pretrained_items; training writes it"):
        read_pretrained(wrong)
