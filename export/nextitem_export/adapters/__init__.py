"""Models that were trained with other libraries, as `export_bundle` takes them: a function for each library."""

from __future__ import annotations

from typing import TYPE_CHECKING

from nextitem_bundle.lazy import imported_later

if TYPE_CHECKING:
    from .hugging_face import from_hugging_face
    from .recbole import from_recbole
    from .rectools import from_rectools
    from .rows import from_rows
    from .transformers4rec import from_transformers4rec

__all__ = ["from_hugging_face", "from_recbole", "from_rectools", "from_rows", "from_transformers4rec"]

__getattr__ = imported_later(
    __name__,
    {
        "from_hugging_face": "hugging_face",
        "from_recbole": "recbole",
        "from_rectools": "rectools",
        "from_rows": "rows",
        "from_transformers4rec": "transformers4rec",
    },
)
