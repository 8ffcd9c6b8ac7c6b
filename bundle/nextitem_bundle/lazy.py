"""Names of a package that are imported when they are first asked for."""

from __future__ import annotations

import importlib
import sys
from collections.abc import Callable, Mapping
from typing import Any


def imported_later(package: str, modules: Mapping[str, str]) -> Callable[[str], Any]:
    """A package's `__getattr__`.

    What takes seconds to import, as NVTabular and torch do, need not be waited for by who asks for `--help`.

    Args:
        package: its `__name__`.
        modules: of each name, the module below the package that has it.
    """

    def get(name: str) -> Any:
        if name not in modules:
            known = ", ".join(sys.modules[package].__all__)
            raise AttributeError(f"module '{package}' has no attribute '{name}', it has {known}")
        return getattr(importlib.import_module(f".{modules[name]}", package), name)

    return get
