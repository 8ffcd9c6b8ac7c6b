"""Where the numbers of a graph are stored: small ones in the graph, large ones as npy files beside it, mapped at load.

ONNX Runtime maps external data into memory, read-only, so that processes which serve the same bundle share it. What is mapped
is npy: the graph names the bytes behind the file's header. A protobuf ends at 2 GB, a table of 8 million items.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

#: Larger arrays become a file of their own.
INLINE_BYTES = 16 * 2**20


class StoredArrays:
    """The initializers of a graph that is written into `folder`; each array is stored once, however many read it."""

    def __init__(self, folder: Path) -> None:
        self.initializers: list[onnx.TensorProto] = []
        self._folder = folder
        self._files: dict[str, tuple[np.ndarray, str, int]] = {}

    def add(self, name: str, array: np.ndarray, *, apart: bool = False, unused: bool = False) -> None:
        """Store an array under a name of the graph.

        apart: in a file of its own, whatever its size. unused: only views of it are read.
        """
        if array.nbytes <= INLINE_BYTES and not apart:
            self.initializers.append(numpy_helper.from_array(array, name))
            return
        file = f"table_{len(self._files)}.npy"
        array = np.ascontiguousarray(array)
        np.save(self._folder / file, array, allow_pickle=False)
        self._files[name] = (array, file, (self._folder / file).stat().st_size - array.nbytes)
        if not unused:
            self.initializers.append(self._external(name, name, 0, array.shape))

    def file(self, name: str) -> str | None:
        """The npy file that holds an array, None where the graph does."""
        return self._files[name][1] if name in self._files else None

    def add_view(self, name: str, of: str, first: int, shape: tuple[int, ...]) -> None:
        """Name a part of an array that is stored apart: so many elements from its `first` on, in this shape."""
        self.initializers.append(self._external(name, of, first, shape))

    def _external(self, name: str, of: str, first: int, shape: tuple[int, ...]) -> onnx.TensorProto:
        array, file, header = self._files[of]
        tensor = TensorProto(
            name=name,
            data_type=helper.np_dtype_to_tensor_dtype(array.dtype),
            dims=shape,
            data_location=TensorProto.EXTERNAL,
        )
        item = array.dtype.itemsize
        where = {"location": file, "offset": header + first * item, "length": int(np.prod(shape)) * item}
        for key, value in where.items():
            tensor.external_data.add(key=key, value=str(value))
        return tensor
