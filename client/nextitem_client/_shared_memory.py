"""Tensors through system shared memory, for a server on the same host.

Inputs of every type are written into a block of memory that the server has mapped, and item_ids and
scores come back through it; the request itself goes over HTTP or gRPC and names the places. A block
serves one request at a time and is kept for the next.

The memory is Python's multiprocessing.shared_memory: tritonclient's own wants pkg_resources in 2.51
and leaves its files behind when a process is killed.
"""

from __future__ import annotations

import contextlib
import threading
import time
import uuid
from collections.abc import Mapping, Sequence
from multiprocessing.shared_memory import SharedMemory
from typing import Any, Protocol, Union

import numpy as np
import numpy.typing as npt

from nextitem_client._exceptions import InvalidOption, RequestRejected, ServerError, UnexpectedResponse
from nextitem_client._settings import Settings
from nextitem_client._transport import Inference, Reply
from nextitem_client._transport.errors import NO_MEMORY
from nextitem_client._transport.triton import Placement, deserialize_strings, serialize_strings

_ALIGNMENT = 64
_SMALLEST_BLOCK = 1 << 16
_LAST_WAIT_S = 5.0
_SWEEP_S = 0.1
_DTYPES: Mapping[str, Any] = {"INT64": np.int64, "FP32": np.float32}


class MemoryTransport(Protocol):
    """A Transport whose infer() takes a placement, and which can make memory known to the server."""

    def ready_models(self, timeout_s: float) -> list[str]: ...
    def model_parameters(self, model: str, timeout_s: float) -> Mapping[str, str]: ...
    def infer(self, inference: Inference, timeout_s: float, placement: Placement | None = None) -> Reply: ...
    def register_memory(self, region: str, key: str, size: int, timeout_s: float) -> None: ...
    def unregister_memory(self, region: str, timeout_s: float) -> None: ...
    def close(self) -> None: ...


class Block:
    """One shared memory, and where the tensors of the request under way lie in it. See Placement."""

    def __init__(self, size: int):
        self.region = f"nextitem-{uuid.uuid4().hex}"
        self.memory = SharedMemory(create=True, size=size)
        self.key = f"/{self.memory.name}"
        self.size = size
        self.inputs: Mapping[str, tuple[int, int]] = {}
        self.outputs: Mapping[str, tuple[int, int]] = {}

    def read(self, name: str, datatype: str, shape: Sequence[int]) -> npt.NDArray[Any]:
        """A copy of an output."""
        offset, size = self.outputs[name]
        count = int(np.prod(shape))
        if datatype == "BYTES":
            return self._read_strings(offset, size, count).reshape(shape)
        dtype = _DTYPES[datatype]
        if count * np.dtype(dtype).itemsize > size:
            raise UnexpectedResponse(f"The answer has {name} of shape {list(shape)}, more than was asked for.")
        array: npt.NDArray[Any] = np.frombuffer(self._buffer(), dtype=dtype, count=count, offset=offset)
        return array.reshape(shape).copy()

    def remove(self) -> None:
        """Give the memory back to the system; the server keeps what it has mapped until it unregisters."""
        self.memory.close()
        with contextlib.suppress(FileNotFoundError):
            self.memory.unlink()

    def write(self, contents: Mapping[str, Union[bytes, npt.NDArray[Any]]], output_bytes: Mapping[str, int]) -> None:
        """Lay out a request: its inputs, then room for its outputs."""
        end, inputs, outputs = 0, dict[str, tuple[int, int]](), dict[str, tuple[int, int]]()
        buffer = self._buffer()
        for name, content in contents.items():
            size = _size(content)
            inputs[name] = (end, size)
            if isinstance(content, bytes):
                buffer[end : end + size] = content
            else:
                target: npt.NDArray[Any] = np.frombuffer(buffer, content.dtype, content.size, end)
                target[:] = content.reshape(-1)
            end = _aligned(end + size)
        for name, size in output_bytes.items():
            outputs[name] = (end, size)
            end = _aligned(end + size)
        self.inputs, self.outputs = inputs, outputs

    def _buffer(self) -> memoryview:
        buffer = self.memory.buf
        assert buffer is not None, "a removed block is never used"
        return buffer

    def _read_strings(self, offset: int, size: int, count: int) -> npt.NDArray[Any]:
        # How long they are together only they say: 4 bytes of length before each.
        buffer, end = self._buffer(), offset
        for _ in range(count):
            if end + 4 > offset + size:
                raise UnexpectedResponse("The answer has longer item ids than the model's signature allows.")
            end += 4 + int.from_bytes(buffer[end : end + 4], "little")
        return deserialize_strings(bytes(buffer[offset:end])) if count else np.empty(0, dtype=np.object_)


class SharedMemoryTransport:
    """See Transport."""

    def __init__(self, inner: MemoryTransport, settings: Settings):
        self._inner = inner
        self._settings = settings
        self._lock = threading.Lock()
        self._idle: list[Block] = []
        self._doubtful: list[Block] = []

    def ready_models(self, timeout_s: float) -> list[str]:
        """See Transport."""
        return self._inner.ready_models(timeout_s)

    def model_parameters(self, model: str, timeout_s: float) -> Mapping[str, str]:
        """See Transport."""
        return self._inner.model_parameters(model, timeout_s)

    def infer(self, inference: Inference, timeout_s: float) -> Reply:
        """See Transport."""
        contents = {
            name: serialize_strings(array) if array.dtype == np.object_ else array
            for name, array in inference.inputs.items()
        }
        sizes = [*(_size(content) for content in contents.values()), *inference.output_bytes.values()]
        block = self._take(sum(map(_aligned, sizes)), timeout_s)
        try:
            block.write(contents, inference.output_bytes)
            reply = self._inner.infer(inference, timeout_s, block)
        except RequestRejected as error:
            if NO_MEMORY not in str(error):
                self._give_back(block)  # the request's own fault
                raise
            self._discard(block, timeout_s)  # a server that was started anew knows none of our blocks
            forgotten = ServerError(str(error))
            forgotten.retryable = True
            raise forgotten from None
        except BaseException:
            # The server may still be writing into it.
            with self._lock:
                self._doubtful.append(block)
            raise
        self._give_back(block)
        return reply

    def close(self) -> None:
        """See Transport. Waits a few seconds for requests that the server has not finished."""
        with self._lock:
            self._doubtful, self._idle = self._doubtful + self._idle, []
        deadline = time.monotonic() + _LAST_WAIT_S
        while self._sweep(self._settings.connect_timeout_s) and time.monotonic() < deadline:
            time.sleep(_SWEEP_S)
        for block in self._doubtful:  # the server keeps its hold on these until it ends
            block.remove()
        self._doubtful = []
        self._inner.close()

    def _take(self, size: int, timeout_s: float) -> Block:
        if self._doubtful:
            self._sweep(timeout_s)
        with self._lock:
            fitting = [block for block in self._idle if block.size >= size]
            if fitting:
                self._idle.remove(fitting[-1])
                return fitting[-1]
            too_small, self._idle = self._idle[-1:], self._idle[:-1]
        for block in too_small:
            self._discard(block, timeout_s)
        try:
            block = Block(max(_SMALLEST_BLOCK, 1 << (size - 1).bit_length()))
        except OSError as error:
            raise InvalidOption(
                f"shared_memory=True, but {size} bytes of shared memory cannot be had ({error}). "
                "Enlarge /dev/shm, or leave shared_memory away."
            ) from None
        try:
            self._inner.register_memory(block.region, block.key, block.size, timeout_s)
        except RequestRejected as error:
            block.remove()
            raise InvalidOption(
                f"shared_memory=True, but the server cannot open this process's shared memory ({error}). It must run "
                "on the same host and share /dev/shm (a container needs --ipc=host); else leave shared_memory away."
            ) from None
        except BaseException:
            block.remove()
            raise
        return block

    def _give_back(self, block: Block) -> None:
        with self._lock:
            self._idle.append(block)

    def _sweep(self, timeout_s: float) -> int:
        """Discard the doubtful blocks that the server is done with; returns how many are left."""
        with self._lock:
            blocks, self._doubtful = self._doubtful, []
        kept = [block for block in blocks if not self._discard(block, timeout_s)]
        with self._lock:
            self._doubtful += kept
            return len(self._doubtful)

    def _discard(self, block: Block, timeout_s: float) -> bool:
        """False if the server is still using it: then it says so and refuses (it was seen to, in 24.10)."""
        try:
            self._inner.unregister_memory(block.region, timeout_s)
        except RequestRejected as error:
            if "in use" in str(error):
                return False
        except ServerError:
            pass  # it is gone, and its mapping with it
        block.remove()
        return True


def _size(content: Union[bytes, npt.NDArray[Any]]) -> int:
    return len(content) if isinstance(content, bytes) else content.nbytes


def _aligned(size: int) -> int:
    return -(-size // _ALIGNMENT) * _ALIGNMENT
