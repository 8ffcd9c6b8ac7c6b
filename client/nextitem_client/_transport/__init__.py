"""The way to a server, as the clients see it: what the modules here implement, and which of them answers for a URL."""

from __future__ import annotations

import importlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

from nextitem_client._exceptions import InvalidOption
from nextitem_client._settings import Settings
from nextitem_client._transport.address import Address, by_its_way
from nextitem_client._wire import Tensors

# protocol → module, and the names of its transports: only the one in use is imported
_TRANSPORTS: Mapping[str, tuple[str, str]] = {
    "http": ("_transport.http_sync", "HttpTransport"),
    "grpc": ("_transport.grpc", "GrpcTransport"),
}
_ASYNC_TRANSPORTS: Mapping[str, tuple[str, str]] = {
    "http": ("_transport.http_async", "AsyncHttpTransport"),
    "grpc": ("_transport.grpc", "AsyncGrpcTransport"),
}


@dataclass(frozen=True)
class Inference:
    """One request."""

    model: str
    inputs: Tensors
    outputs: Sequence[str]
    request_id: str


@dataclass(frozen=True)
class Reply:
    """The tensors of a response, and the version of the model that answered."""

    tensors: Tensors
    model_version: str


class Transport(Protocol):
    """What Client needs of a connection; every method but close() raises ServerError's family."""

    def ready_models(self, timeout_s: float) -> list[str]:
        """Names of the models that are ready, sorted."""
        ...

    def model_parameters(self, model: str, timeout_s: float) -> Mapping[str, str]:
        """The `parameters` of a model's configuration; ModelNotFound if there is none."""
        ...

    def infer(self, inference: Inference, timeout_s: float) -> Reply:
        """Send one request."""
        ...

    def close(self) -> None:
        """Close the connections; may be repeated."""
        ...


class AsyncTransport(Protocol):
    """Transport, for AsyncClient; made and used within one event loop."""

    async def ready_models(self, timeout_s: float) -> list[str]:
        """See Transport."""
        ...

    async def model_parameters(self, model: str, timeout_s: float) -> Mapping[str, str]:
        """See Transport."""
        ...

    async def infer(self, inference: Inference, timeout_s: float) -> Reply:
        """See Transport."""
        ...

    async def close(self) -> None:
        """See Transport."""
        ...

    def abandon(self) -> None:
        """Let go of everything without the event loop, which has ended."""
        ...


def check_tls(address: Address, settings: Settings) -> None:
    """Raise InvalidOption where TLS is configured for a URL without it."""
    if settings.tls is not None and not address.tls:
        raise InvalidOption(
            f"tls was given, but {address.url} is a URL without TLS; write {address.protocol}s://… or leave tls away."
        )


def connect(address: Address, settings: Settings) -> Transport:
    """The transport for a URL; the first request opens the connection. Raises InvalidOption."""
    return _load(_TRANSPORTS[address.protocol])(by_its_way(address), settings)


def connect_async(address: Address, settings: Settings) -> AsyncTransport:
    """The same for AsyncClient, to be called in its event loop."""
    return _load(_ASYNC_TRANSPORTS[address.protocol])(by_its_way(address), settings)


def _load(where: tuple[str, str]) -> type:
    module, name = where
    return getattr(importlib.import_module(f"nextitem_client.{module}"), name)
