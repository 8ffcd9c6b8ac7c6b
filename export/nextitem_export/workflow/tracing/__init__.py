"""Compiling Python functions over columns: they are called once, with columns that record what is done to them."""

from .column import SymbolicColumn, TracingError
from .frame import SymbolicFrame, trace

__all__ = ["SymbolicColumn", "SymbolicFrame", "TracingError", "trace"]
