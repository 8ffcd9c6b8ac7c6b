"""The only module that touches tritonclient: HTTP and gRPC transports, and what their errors mean.

tritonclient carries no types and its two halves have heavy dependencies: each is imported when its
protocol is used first, behind the small protocols below.
"""

from __future__ import annotations

import http.client
import importlib
import threading
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Protocol, TypeVar, cast

import numpy.typing as npt

from nextitem_client._exceptions import (
    ModelNotFound,
    RequestRejected,
    ServerError,
    ServerTimeout,
    ServerUnavailable,
    UnexpectedResponse,
    WrongProtocol,
)
from nextitem_client._request import Tensors
from nextitem_client._transport import Address, Reply, Transport

_T = TypeVar("_T")

_WIRE_TYPES = {"O": "BYTES", "int64": "INT64", "int32": "INT32", "float32": "FP32"}


class _Result(Protocol):
    def as_numpy(self, name: str) -> npt.NDArray[Any] | None: ...
    def get_response(self, as_json: bool = False) -> Any: ...


class _Connection(Protocol):
    """What HTTP's and gRPC's InferenceServerClient have in common."""

    def get_model_config(self, model_name: str, **options: Any) -> Any: ...
    def get_model_repository_index(self, **options: Any) -> Any: ...
    def infer(self, model_name: str, inputs: Any, **options: Any) -> _Result: ...
    def close(self) -> None: ...


def connect(address: Address, timeout_s: float) -> Transport:
    """The transport for a URL; the first request opens the connection."""
    return _TRANSPORTS[address.protocol](address, timeout_s)


class HttpTransport:
    """KServe v2 over HTTP.

    tritonclient's HTTP client works in the thread that made it only (it runs on gevent): there is
    one per thread.
    """

    def __init__(self, address: Address, timeout_s: float):
        self._address = address
        self._timeout_s = timeout_s
        self._module = _import("tritonclient.http")
        self._own = threading.local()
        self._all: list[_Connection] = []
        self._lock = threading.Lock()

    def ready_models(self) -> list[str]:
        """See Transport."""
        index = self._call(lambda connection: connection.get_model_repository_index())
        return _ready_names((entry["name"], entry.get("state", "")) for entry in index)

    def model_parameters(self, model: str) -> Mapping[str, str]:
        """See Transport."""
        config = self._call(lambda connection: connection.get_model_config(model))
        return {name: value.get("string_value", "") for name, value in config.get("parameters", {}).items()}

    def infer(self, model: str, inputs: Tensors, outputs: Sequence[str]) -> Reply:
        """See Transport."""
        tensors, wanted = _arguments(self._module, inputs, outputs)
        result = self._call(lambda connection: connection.infer(model, tensors, outputs=wanted))
        return _reply(result, outputs, str(result.get_response().get("model_version", "")))

    def close(self) -> None:
        """See Transport."""
        with self._lock:
            connections, self._all = self._all, []
        for connection in connections:
            connection.close()

    def _call(self, ask: Callable[[_Connection], _T]) -> _T:
        address, timeout_s = self._address, self._timeout_s
        try:
            return ask(self._connection())
        except TimeoutError:  # socket.timeout is another name of it since 3.10
            raise _timeout(address, timeout_s) from None
        except (http.client.HTTPException, ValueError) as error:
            raise _wrong_protocol(address, str(error)) from None
        except OSError as error:
            raise _from_os_error(error, address, timeout_s) from None
        except Exception as error:
            translated = _from_tritonclient(error, address, timeout_s)
            if translated is None:
                raise
            raise translated from None

    def _connection(self) -> _Connection:
        existing: _Connection | None = getattr(self._own, "connection", None)
        if existing is not None:
            return existing
        options: dict[str, Any] = {}
        if self._address.tls:
            # The default would accept any certificate.
            factory = importlib.import_module("gevent.ssl").create_default_context
            options = {"ssl": True, "ssl_context_factory": factory}
        connection: _Connection = self._module.InferenceServerClient(
            self._address.target,
            connection_timeout=self._timeout_s,
            network_timeout=self._timeout_s,
            **options,
        )
        self._own.connection = connection
        with self._lock:
            self._all.append(connection)
        return connection


class GrpcTransport:
    """KServe v2 over gRPC; one channel for all threads."""

    def __init__(self, address: Address, timeout_s: float):
        self._address = address
        self._timeout_s = timeout_s
        self._module = _import("tritonclient.grpc")
        self._connection: _Connection = self._module.InferenceServerClient(address.target, ssl=address.tls)

    def ready_models(self) -> list[str]:
        """See Transport."""
        index = self._call(lambda: self._connection.get_model_repository_index(client_timeout=self._timeout_s))
        return _ready_names((entry.name, entry.state) for entry in index.models)

    def model_parameters(self, model: str) -> Mapping[str, str]:
        """See Transport."""
        answer = self._call(lambda: self._connection.get_model_config(model, client_timeout=self._timeout_s))
        parameters = answer.config.parameters
        return {name: parameters[name].string_value for name in parameters}

    def infer(self, model: str, inputs: Tensors, outputs: Sequence[str]) -> Reply:
        """See Transport."""
        tensors, wanted = _arguments(self._module, inputs, outputs)
        result = self._call(
            lambda: self._connection.infer(model, tensors, outputs=wanted, client_timeout=self._timeout_s)
        )
        return _reply(result, outputs, str(result.get_response().model_version))

    def close(self) -> None:
        """See Transport."""
        self._connection.close()

    def _call(self, ask: Callable[[], _T]) -> _T:
        try:
            return ask()
        except Exception as error:
            translated = _from_tritonclient(error, self._address, self._timeout_s)
            if translated is None:
                raise
            raise translated from None


_TRANSPORTS: Mapping[str, Callable[[Address, float], Transport]] = {
    "http": HttpTransport,
    "grpc": GrpcTransport,
}


def _import(name: str) -> Any:
    try:
        return importlib.import_module(name)
    except ImportError as error:
        raise ImportError(
            f"{name} cannot be imported ({error}). Install it with: pip install 'tritonclient[http,grpc]>=2.51'"
        ) from error


def _ready_names(entries: Any) -> list[str]:
    pairs = cast("list[tuple[str, str]]", list(entries))
    return sorted({name for name, state in pairs if state == "READY"})


def _arguments(module: Any, inputs: Tensors, outputs: Sequence[str]) -> tuple[Any, Any]:
    tensors: list[Any] = []
    for name, array in inputs.items():
        wire = _WIRE_TYPES.get(array.dtype.char) or _WIRE_TYPES[array.dtype.name]
        tensor = module.InferInput(name, list(array.shape), wire)
        tensor.set_data_from_numpy(array)
        tensors.append(tensor)
    return tensors, [module.InferRequestedOutput(name) for name in outputs]


def _reply(result: _Result, outputs: Sequence[str], model_version: str) -> Reply:
    tensors: dict[str, npt.NDArray[Any]] = {}
    for name in outputs:
        array = result.as_numpy(name)
        if array is None:
            raise UnexpectedResponse(
                f"The answer lacks the tensor {name}; expected are {', '.join(outputs)}. "
                "Was the model exported by nextitem-export?"
            )
        tensors[name] = array
    return Reply(tensors, model_version)


def _from_tritonclient(error: Exception, address: Address, timeout_s: float) -> ServerError | None:
    """The meaning of tritonclient's InferenceServerException; None for anything else."""
    message = getattr(error, "message", None)
    status = getattr(error, "status", None)
    if not callable(message) or not callable(status):
        return None
    text, code = str(message() or error).strip(), str(status() or "")
    if code.endswith("DEADLINE_EXCEEDED") or "failed to obtain inference response" in text:
        return _timeout(address, timeout_s)
    if code.endswith("UNAVAILABLE") and "connect" in text:
        if "Socket closed" in text or "andshake failed" in text:
            return _wrong_protocol(address, text)
        return _unavailable(address, text)
    if "unknown model" in text or ("is not found" in text and code in ("404", "400")):
        return ModelNotFound(text)
    if code.endswith(("UNAVAILABLE", "UNIMPLEMENTED")) or code in ("502", "503", "504"):
        return _unavailable(address, text)
    if code in ("404", "405"):  # an HTTP server, but not Triton's: its metrics, for instance
        return _wrong_protocol(address, text)
    return RequestRejected(_own_words(text))


def _own_words(text: str) -> str:
    # "in ensemble 'shop', item_id: …": which step said it is nothing to the caller.
    if text.startswith("in ensemble '") and "', " in text:
        return text.split("', ", 1)[1]
    return text


def _from_os_error(error: OSError, address: Address, timeout_s: float) -> ServerError:
    if "timed out" in str(error):  # Python 3.9's socket.timeout
        return _timeout(address, timeout_s)
    if type(error).__module__ == "ssl" and "CERTIFICATE" not in str(error):
        return _wrong_protocol(address, str(error))
    return _unavailable(address, str(error))


def _unavailable(address: Address, detail: str) -> ServerUnavailable:
    return ServerUnavailable(
        f"No server answers at {address.url} ({detail}). Is it running, and are host and port "
        "right? nextitem-serve prints both URLs once it is ready."
    )


def _timeout(address: Address, timeout_s: float) -> ServerTimeout:
    return ServerTimeout(
        f"{address.url} did not answer within {timeout_s:g} s. The server may be overloaded or "
        "still loading; try again, send fewer sessions at once, or raise timeout_s."
    )


def _wrong_protocol(address: Address, detail: str) -> WrongProtocol:
    other = "grpc://…:8001" if address.protocol == "http" else "http://…:8000"
    tls = "without" if address.tls else "with"
    return WrongProtocol(
        f"What listens at {address.url} does not speak Triton's "
        f"{'HTTP' if address.protocol == 'http' else 'gRPC'} ({detail}). The services have ports "
        f"of their own: is it {other}, or a URL {tls} TLS?"
    )
