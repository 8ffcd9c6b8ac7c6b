"""The types of what is sent, and each one's null. They are part of the runtime, which reads requests inside Triton too."""

from .runtime.wire import DATATYPES, LOWEST_FLOAT32, NULL_INT64, NULL_STRING, NULLS, NUMPY_DTYPES, datatype_of

__all__ = ["DATATYPES", "LOWEST_FLOAT32", "NULLS", "NULL_INT64", "NULL_STRING", "NUMPY_DTYPES", "datatype_of"]
