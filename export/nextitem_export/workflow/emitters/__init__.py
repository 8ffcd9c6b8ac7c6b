"""How each instruction is written in ONNX, by subject; importing this package registers them all.

`pad` is written by `outputs`, for all outputs at once.
"""

from . import elementwise, lookups, sessions

__all__ = ["elementwise", "lookups", "sessions"]
