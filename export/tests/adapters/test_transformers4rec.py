"""What is no model of Transformers4Rec. tests/migration/test_transformers4rec.py has the real ones."""

from __future__ import annotations

import pytest
from torch import nn

from nextitem_export import UnsupportedModel, adapters


def test_another_module_is_refused():
    with pytest.raises(UnsupportedModel, match="Linear has no prediction tasks, expected a transformers4rec"):
        adapters.from_transformers4rec(nn.Linear(1, 1))


def test_another_mask_is_refused():
    with pytest.raises(UnsupportedModel, match="mask is 'none', expected one of original, proper"):
        adapters.from_transformers4rec(nn.Linear(1, 1), mask="none")


def test_another_adapter_is_no_attribute():
    with pytest.raises(AttributeError, match=r"has no attribute 'from_nowhere', it has .*from_transformers4rec"):
        _ = adapters.from_nowhere
