"""KServe v2 over gRPC, for Client and AsyncClient: one channel, which carries all requests at once.

Where the URL's name stands for several addresses, the channel has a connection to each and they take turns.
"""

from __future__ import annotations

import base64
import threading
from collections.abc import Awaitable, Callable, Mapping
from typing import Any, TypeVar

import numpy as np

from nextitem_client._exceptions import MissingPackage, ServerError
from nextitem_client._settings import Settings, own_certificate, root_certificates
from nextitem_client._transport import Inference, Reply
from nextitem_client._transport.address import Address
from nextitem_client._transport.errors import from_grpc_status
from nextitem_client._transport.triton import arguments, half, reply

_T = TypeVar("_T")

_MAX_MESSAGE_BYTES = int(np.iinfo(np.int32).max)


class _GrpcCodec:
    """What the two transports share."""

    def __init__(self, address: Address, settings: Settings, half_name: str):
        self._address = address
        self._settings = settings
        self._tensors = half("grpc")
        # Metadata has names in lower case.
        self._options: dict[str, Any] = {"headers": {name.lower(): value for name, value in settings.headers.items()}}
        self._half = half(half_name)
        self._credentials = _credentials(address, settings)
        self._lock = threading.Lock()
        self._connection = self._new_connection()

    def _new_connection(self) -> Any:
        return self._half.InferenceServerClient(
            self._address.grpc_target,
            creds=self._credentials,
            channel_args=_channel_arguments(self._address, self._settings),
        )

    def _renew(self, failed: Any) -> None:
        # A channel that could not connect pauses before it tries again, in which every request fails at
        # once: by its arguments 0.1 s with grpcio 1.85, 5 s with 1.67 whatever they say. When to try
        # again is decided in _flow.py. The old channel closes with the last request that uses it.
        with self._lock:
            if self._connection is failed:
                self._connection = self._new_connection()

    def _call_options(self, timeout_s: float) -> dict[str, Any]:
        return {**self._options, "client_timeout": timeout_s}

    def _infer_arguments(self, inference: Inference, timeout_s: float) -> tuple[list[Any], dict[str, Any]]:
        inputs, outputs = arguments(self._tensors, inference)
        options = {
            **self._call_options(timeout_s),
            "outputs": outputs,
            "request_id": inference.request_id,
            "compression_algorithm": self._settings.compression,
        }
        return inputs, options

    def _as_server_error(self, connection: Any, error: Exception) -> ServerError | None:
        """Of tritonclient's InferenceServerException; None for anything else."""
        message, status = getattr(error, "message", None), getattr(error, "status", None)
        if not callable(message) or not callable(status):
            return None
        code = str(status() or "").rsplit(".", 1)[-1]
        text = str(message() or error).strip()
        found = from_grpc_status(self._address, code, text, self._settings.timeout_s)
        if found.retryable and "connect" in text:
            self._renew(connection)
        return found


class GrpcTransport(_GrpcCodec):
    """See Transport."""

    def __init__(self, address: Address, settings: Settings):
        super().__init__(address, settings, "grpc")

    def ready_models(self, timeout_s: float) -> list[str]:
        """See Transport."""
        options = self._call_options(timeout_s)
        return _ready(self._call(lambda connection: connection.get_inference_statistics(**options)))

    def model_parameters(self, model: str, timeout_s: float) -> Mapping[str, str]:
        """See Transport."""
        options = self._call_options(timeout_s)
        return _parameters(self._call(lambda connection: connection.get_model_config(model, **options)))

    def infer(self, inference: Inference, timeout_s: float) -> Reply:
        """See Transport."""
        inputs, options = self._infer_arguments(inference, timeout_s)
        result = self._call(lambda connection: connection.infer(inference.model, inputs, **options))
        return reply(result, inference.outputs, str(result.get_response().model_version))

    def close(self) -> None:
        """See Transport."""
        self._connection.close()

    def _call(self, ask: Callable[[Any], _T]) -> _T:
        connection = self._connection
        try:
            return ask(connection)
        except Exception as error:
            found = self._as_server_error(connection, error)
            if found is None:
                raise
            raise found from None


class AsyncGrpcTransport(_GrpcCodec):
    """See AsyncTransport."""

    def __init__(self, address: Address, settings: Settings):
        super().__init__(address, settings, "grpc.aio")

    async def ready_models(self, timeout_s: float) -> list[str]:
        """See AsyncTransport."""
        options = self._call_options(timeout_s)
        return _ready(await self._call(lambda connection: connection.get_inference_statistics(**options)))

    async def model_parameters(self, model: str, timeout_s: float) -> Mapping[str, str]:
        """See AsyncTransport."""
        options = self._call_options(timeout_s)
        return _parameters(await self._call(lambda connection: connection.get_model_config(model, **options)))

    async def infer(self, inference: Inference, timeout_s: float) -> Reply:
        """See AsyncTransport."""
        inputs, options = self._infer_arguments(inference, timeout_s)
        result = await self._call(lambda connection: connection.infer(inference.model, inputs, **options))
        return reply(result, inference.outputs, str(result.get_response().model_version))

    async def close(self) -> None:
        """See AsyncTransport."""
        await self._connection.close()

    def abandon(self) -> None:
        """See AsyncTransport: the channel ends with its last reference."""

    async def _call(self, ask: Callable[[Any], Awaitable[Any]]) -> Any:
        connection = self._connection
        try:
            return await ask(connection)
        except Exception as error:
            found = self._as_server_error(connection, error)
            if found is None:
                raise
            raise found from None


def _ready(statistics: Any) -> list[str]:
    """There are statistics of ready models alone. (The repository's index is closed with the control of models.)"""
    return sorted({str(entry.name) for entry in statistics.model_stats})


def _parameters(answer: Any) -> dict[str, str]:
    parameters = answer.config.parameters
    return {str(name): str(parameters[name].string_value) for name in parameters}


def _credentials(address: Address, settings: Settings) -> Any:
    if not address.tls:
        return None
    try:
        import grpc
    except ImportError as error:
        raise MissingPackage(
            f"grpc cannot be imported ({error}). Install it with: pip install 'tritonclient[http,grpc]>=2.51'"
        ) from error
    library: Any = grpc
    key, chain = own_certificate(settings.tls)
    return library.ssl_channel_credentials(root_certificates(settings.tls), key, chain)


def _channel_arguments(address: Address, settings: Settings) -> list[tuple[str, Any]]:
    connect_ms = max(int(settings.connect_timeout_s * 1000), 1)
    given: list[tuple[str, Any]] = [
        ("grpc.max_send_message_length", _MAX_MESSAGE_BYTES),
        ("grpc.max_receive_message_length", _MAX_MESSAGE_BYTES),
        ("grpc.min_reconnect_backoff_ms", connect_ms),  # the time given to one connection
        ("grpc.use_local_subchannel_pool", 1),  # else a new client inherits another's pauses
    ]
    # Else all goes to the first address that can be reached. The addresses of "localhost" are one server's: there the last of
    # them to fail would tell why none answers, whichever that is.
    if address.host != "localhost":
        given.append(("grpc.lb_policy_name", "round_robin"))
    # Else gRPC would read the environment by rules of its own, for 127.0.0.1 too.
    if address.proxy is None:
        given.append(("grpc.enable_http_proxy", 0))
    else:
        given.append(("grpc.http_proxy", address.proxy.shown))
        if address.proxy.credentials is not None:
            # By ourselves: before 1.68 gRPC cannot read a password with an @ from the URL, and asks without the proxy.
            encoded = base64.b64encode(address.proxy.credentials.encode()).decode()
            given.append(("grpc.http_connect_headers", f"Proxy-Authorization:Basic {encoded}"))
    if settings.tls is not None and settings.tls.server_name is not None:
        given.append(("grpc.ssl_target_name_override", settings.tls.server_name))
    elif address.others:
        given.append(("grpc.default_authority", address.target))  # else it would be all of them in one
    return given
