"""Lets every tensor arrive that Triton lets pass, so that the step can refuse the impossible ones.

Before a step's `execute`, Triton's Python backend makes a numpy array of each tensor, outside of any try: where numpy refuses,
the step's process ends, and with it the bundle. Triton up to 24.10 checks a shape by the product of its dimensions alone, in 64
bits, so that [-2, -3], [0, 2**62] and [2**32, 2**32] pass, and numpy refuses them. docs/decisions/0006-impossible-shapes.md
says what else was thought of.

Both places where the backend makes an array can be reached from Python:

- numbers: pybind11, in which the backend is written, takes numpy's C functions once from the capsule
  `numpy.core.multiarray._ARRAY_API`. For the moment of that taking it gets a copy of the table in which `PyArray_NewFromDescr`
  looks at the shape first. Nothing else in the process sees the copy.
- strings: the backend calls `triton_python_backend_utils.deserialize_bytes_tensor(…).reshape(shape)`, for which nothing is read
  until the step asks for it.

An impossible tensor arrives as `Impossible`, which says the shape that was claimed.
"""

from __future__ import annotations

import ctypes
import importlib
import math
import struct
from collections.abc import Callable, Generator, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from functools import partial
from typing import Any

import numpy as np

from ..request import Array, RequestError

#: numpy's C functions that pybind11 knows of end here; the place of PyArray_NewFromDescr. Both are numpy's ABI, 1 and 2.
_FUNCTIONS, _NEW_FROM_DESCR = 283, 94
#: More elements than any request holds, few enough for numpy with each type.
_MAX_ELEMENTS = 2**48
#: Two dimensions up to this are always possible.
_ORDINARY = 2**20

_Pointer = ctypes.c_void_p
_NewFromDescr = ctypes.PYFUNCTYPE(
    _Pointer, _Pointer, _Pointer, ctypes.c_int, ctypes.POINTER(ctypes.c_ssize_t), _Pointer, _Pointer, ctypes.c_int, _Pointer
)  # fmt: skip
_kept: list[Any] = []  # what C holds pointers to
_LENGTH = struct.Struct("<I")
_TRITON_TYPES: dict[Any, int] = {}  # as far as they were asked for


class Impossible(np.ndarray[Any, Any]):
    """A tensor [] in the place of one whose shape no array can have; `claimed` is that shape."""

    claimed: tuple[int, ...] = ()

    def __array_finalize__(self, obj: Any) -> None:
        self.claimed = getattr(obj, "claimed", ())

    def view(self, *_: Any, **__: Any) -> Impossible:  # the backend asks for the type of the tensor
        """Itself."""
        return self


def refuse_impossible(tensors: Mapping[str, Array]) -> None:
    """Raise RequestError if a tensor arrived with a shape that no array can have."""
    for name, tensor in tensors.items():
        if isinstance(tensor, Impossible):
            raise RequestError(
                f"input '{name}' has the impossible shape {list(tensor.claimed)}: dimensions are 0 or more, and their "
                "product is the number of values that were sent"
            )


def guard_shapes(utils: Any) -> None:
    """Prepare this process, once, before its first request.

    utils: the module triton_python_backend_utils, as it is inside Triton.
    """
    if _kept:
        return
    utils.deserialize_bytes_tensor = _Strings
    utils.numpy_to_triton_type = partial(_triton_type, utils.numpy_to_triton_type)
    utils.serialize_byte_tensor = _encoded  # the backend's own takes six times as long
    modules = list(_numpys())
    with _lent(_checking_functions(modules[0]._ARRAY_API), modules):
        utils.Tensor("taken", np.zeros(1))  # pybind11 takes its functions with the first array that it sees


def _encoded(strings: Array) -> bytes:
    """Strings, str or bytes, as they leave: each its length, uint32 little-endian, and itself."""
    pack = _LENGTH.pack
    parts: list[bytes] = []
    for value in strings.ravel().tolist():
        string = value if isinstance(value, bytes) else value.encode()
        parts += (pack(len(string)), string)
    return b"".join(parts)


def possible(shape: Sequence[int]) -> bool:
    """Whether numpy can make an array of this shape, of whatever type a tensor has."""
    return min(shape, default=0) >= 0 and math.prod([size or 1 for size in shape]) <= _MAX_ELEMENTS


def _impossible(shape: Sequence[int]) -> Impossible:
    array = np.zeros((), np.uint8).view(Impossible)
    array.claimed = tuple(shape)
    return array


class Unread(np.ndarray[Any, Any]):
    """A BYTES tensor whose strings nobody has looked at: a request may be refused before. claimed: its shape."""

    encoded: Array
    claimed: tuple[int, ...]


class _Strings:
    """The strings of a BYTES tensor, as the backend asks for them; they are read by `read_strings_of`."""

    def __init__(self, encoded: Array) -> None:
        self._encoded = encoded

    def reshape(self, shape: Sequence[int]) -> Unread:
        """As `Unread`."""
        array = np.empty((), np.uint8).view(Unread)
        array.encoded, array.claimed = self._encoded, tuple(shape)
        return array


def read_strings_of(tensor: Array) -> Array:
    """The object array of bytes that a BYTES tensor holds, or Impossible; any other tensor as it is."""
    if not isinstance(tensor, Unread):
        return tensor
    strings = _split(tensor.encoded.tobytes())
    if not possible(tensor.claimed) or math.prod(tensor.claimed) != len(strings):
        return _impossible(tensor.claimed)
    array = np.empty(len(strings), np.object_)
    array[:] = strings
    return array.reshape(tensor.claimed)


def _split(data: bytes) -> list[bytes]:
    """Strings that stand one behind the other: each its length, uint32 little-endian, and itself."""
    strings: list[bytes] = []
    append, unpack, size, end = strings.append, _LENGTH.unpack_from, len(data), 0
    while end + 4 <= size:
        start = end + 4
        end = start + unpack(data, end)[0]
        if end <= size:  # what is cut off is no string: the shape then claims one too many
            append(data[start:end])
    return strings


def _triton_type(asked: Callable[[Any], int], dtype: Any) -> int:
    """Triton's number of a numpy dtype. asked: the backend's own function, which compares with one after the other."""
    found = _TRITON_TYPES.get(dtype)
    if found is None:
        found = _TRITON_TYPES[dtype] = asked(dtype)
    return found


def _numpys() -> Iterator[Any]:
    """numpy's module of C functions under the names that pybind11 looks for: numpy 1's, numpy 2's."""
    for name in ("numpy.core.multiarray", "numpy._core.multiarray"):
        with suppress(ImportError):
            module = importlib.import_module(name)
            if hasattr(module, "_ARRAY_API"):
                yield module


def _checking_functions(capsule: Any) -> Any:
    """A copy of numpy's table of C functions whose PyArray_NewFromDescr returns Impossible where numpy would refuse."""
    python = ctypes.pythonapi
    python.PyCapsule_GetPointer.restype = _Pointer
    python.PyCapsule_GetPointer.argtypes = [ctypes.py_object, ctypes.c_char_p]
    python.Py_IncRef.argtypes = [ctypes.py_object]
    python.Py_DecRef.argtypes = [_Pointer]
    address = python.PyCapsule_GetPointer(capsule, None)
    table = (_Pointer * _FUNCTIONS).from_buffer_copy((_Pointer * _FUNCTIONS).from_address(address))
    make: Callable[..., int] = _NewFromDescr(table[_NEW_FROM_DESCR])

    def make_if_possible(kind: int, dtype: int, ndim: int, dims: Any, *rest: Any) -> int:
        if ndim == 2 and 0 < dims[0] <= _ORDINARY and 0 < dims[1] <= _ORDINARY:  # nearly all, and this is asked often
            return make(kind, dtype, ndim, dims, *rest)
        shape = dims[:ndim]
        if possible(shape):
            return make(kind, dtype, ndim, dims, *rest)
        array = _impossible(shape)
        python.Py_DecRef(dtype)  # PyArray_NewFromDescr takes the reference over
        python.Py_IncRef(array)  # and gives one
        return id(array)

    checking = _NewFromDescr(make_if_possible)
    table[_NEW_FROM_DESCR] = ctypes.cast(checking, _Pointer).value
    _kept.extend((table, checking))
    return table


@contextmanager
def _lent(table: Any, modules: Sequence[Any]) -> Generator[None]:
    """Show this table in the place of numpy's."""
    python = ctypes.pythonapi
    python.PyCapsule_New.restype = ctypes.py_object
    python.PyCapsule_New.argtypes = [_Pointer, ctypes.c_char_p, _Pointer]
    own = [module._ARRAY_API for module in modules]
    capsule = python.PyCapsule_New(ctypes.addressof(table), None, None)
    try:
        for module in modules:
            module._ARRAY_API = capsule
        yield
    finally:
        for module, functions in zip(modules, own, strict=True):
            module._ARRAY_API = functions
