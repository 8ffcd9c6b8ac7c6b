"""Compiling Python functions over columns: they are called with columns that record what is done to them.

A function is called twice, to notice one that gives another result each time; never on real rows.
"""

from .column import SymbolicColumn
from .frame import SymbolicFrame
from .refusals import TracingError
from .trace import trace

__all__ = ["SymbolicColumn", "SymbolicFrame", "TracingError", "trace"]
