"""Address → transport."""

from __future__ import annotations

import importlib
from collections.abc import Mapping

from nextitem_client._exceptions import InvalidOption
from nextitem_client._settings import Settings
from nextitem_client._transport import Address, AsyncTransport, Transport, by_its_way

# protocol → module, and the names of its transports: only the one in use is imported
_TRANSPORTS: Mapping[str, tuple[str, str]] = {
    "http": ("_http_sync", "HttpTransport"),
    "grpc": ("_grpc", "GrpcTransport"),
}
_ASYNC_TRANSPORTS: Mapping[str, tuple[str, str]] = {
    "http": ("_http_async", "AsyncHttpTransport"),
    "grpc": ("_grpc", "AsyncGrpcTransport"),
}


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
