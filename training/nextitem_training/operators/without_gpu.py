"""Pickles of NVTabular's workflows that were fitted with cuDF, read where that is not installed."""

from __future__ import annotations

import pickle
from collections.abc import Callable
from typing import Any

_GPU_LIBRARIES = ("cudf", "cupy", "dask_cudf", "rmm")


class _AbsentKind(type):
    """Of classes of libraries that are not installed: whatever is made by them stays without content."""

    def __getattr__(cls, name: str) -> Callable[..., Absent]:
        if name.startswith("__"):
            raise AttributeError(name)
        return lambda *given, **named: cls()


class Absent(metaclass=_AbsentKind):
    """Stands for an object of a library that is not installed."""

    def __new__(cls, *given: object, **named: object) -> Absent:  # noqa: D102
        return super().__new__(cls)

    def __init__(self, *given: object, **named: object) -> None:
        pass

    def __setstate__(self, state: object) -> None:
        pass


class WithoutGpu(pickle.Unpickler):
    """Reads a workflow that was fitted with cuDF, most of whose operators keep nothing of it, where it is not installed."""

    def find_class(self, module: str, name: str) -> Any:
        """What a name in the pickle stands for."""
        try:
            return super().find_class(module, name)
        except ModuleNotFoundError:
            if module.split(".")[0] not in _GPU_LIBRARIES:
                raise
            return _AbsentKind(name, (Absent,), {"__module__": module})
