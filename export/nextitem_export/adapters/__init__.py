"""Models that were trained with other libraries, as `export_bundle` takes them: a function for each library."""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .hugging_face import from_hugging_face
    from .recbole import from_recbole
    from .rectools import from_rectools
    from .rows import from_rows
    from .transformers4rec import from_transformers4rec

__all__ = ["from_hugging_face", "from_recbole", "from_rectools", "from_rows", "from_transformers4rec"]

# Imported when first asked for, as in nextitem_export.
_LATER = {
    "from_hugging_face": "hugging_face",
    "from_recbole": "recbole",
    "from_rectools": "rectools",
    "from_rows": "rows",
    "from_transformers4rec": "transformers4rec",
}


def __getattr__(name: str) -> Any:
    if name not in _LATER:
        raise AttributeError(f"module '{__name__}' has no attribute '{name}', it has {', '.join(__all__)}")
    return getattr(importlib.import_module(f".{_LATER[name]}", __name__), name)
