"""Trained models of other libraries as models that `export_bundle` takes, one module a source."""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .transformers4rec import from_transformers4rec

__all__ = ["from_transformers4rec"]

# Imported when first asked for: one source's module need not wait for another's.
_LATER = {"from_transformers4rec": "transformers4rec"}


def __getattr__(name: str) -> Any:
    if name not in _LATER:
        raise AttributeError(f"module '{__name__}' has no attribute '{name}', it has {', '.join(__all__)}")
    return getattr(importlib.import_module(f".{_LATER[name]}", __name__), name)
