"""HTTP for AsyncClient: aiohttp, which comes with tritonclient's extra `http`."""

from __future__ import annotations

import asyncio
import contextlib
import importlib
from collections.abc import Mapping
from typing import Any

from nextitem_client._exceptions import MissingPackage, ServerError
from nextitem_client._settings import Settings, ssl_context
from nextitem_client._transport import Inference, Reply
from nextitem_client._transport.address import Address
from nextitem_client._transport.errors import (
    from_os_error,
    from_proxy,
    handshake_cut,
    no_connection,
    timed_out,
    untrusted,
    wrong_protocol,
)
from nextitem_client._transport.http import HttpCodec, HttpRequest, HttpResponse, ResponseBody


class AsyncHttpTransport:
    """See AsyncTransport."""

    def __init__(self, address: Address, settings: Settings):
        self._address = address
        self._settings = settings
        self._codec = HttpCodec(address, settings)
        self._aiohttp = aiohttp = _import_aiohttp()
        connector = aiohttp.TCPConnector(
            limit=settings.pool_size, ssl=ssl_context(settings.tls) if address.tls else True
        )
        self._session: Any = aiohttp.ClientSession(
            connector=connector, auto_decompress=False, cookie_jar=aiohttp.DummyCookieJar()
        )
        self._base = f"{'https' if address.tls else 'http'}://{address.target}"
        self._proxy = None if address.proxy is None else address.proxy.url

    async def ready_models(self, timeout_s: float) -> list[str]:
        """See AsyncTransport."""
        return self._codec.read_ready(await self._exchange(self._codec.statistics_request(), timeout_s))

    async def model_parameters(self, model: str, timeout_s: float) -> Mapping[str, str]:
        """See AsyncTransport."""
        return self._codec.read_parameters(await self._exchange(self._codec.config_request(model), timeout_s))

    async def infer(self, inference: Inference, timeout_s: float) -> Reply:
        """See AsyncTransport."""
        request = self._codec.infer_request(inference)
        return self._codec.read_reply(await self._exchange(request, timeout_s), inference)

    async def close(self) -> None:
        """See AsyncTransport."""
        await self._session.close()

    def abandon(self) -> None:
        """See AsyncTransport."""
        closing = self._session.close()
        with contextlib.suppress(StopIteration, RuntimeError):
            closing.send(None)  # up to where it would wait: by then it counts as closed
        closing.close()

    async def _exchange(self, request: HttpRequest, timeout_s: float) -> HttpResponse:
        limits = self._aiohttp.ClientTimeout(total=timeout_s, sock_connect=self._settings.connect_timeout_s)
        try:
            async with self._session.request(
                request.method,
                self._base + request.path,
                data=request.body or None,
                headers=dict(request.headers),
                timeout=limits,
                allow_redirects=False,
                proxy=self._proxy,
            ) as response:
                headers = {str(name).lower(): str(value) for name, value in response.headers.items()}
                body = ResponseBody(self._address)
                async for part in response.content.iter_any():
                    body.add(part)
                return HttpResponse(response.status, headers, body.whole())
        except (self._aiohttp.ClientError, asyncio.TimeoutError, OSError, ValueError) as error:
            raise self._as_server_error(error) from None

    def _as_server_error(self, error: Any) -> ServerError:
        aiohttp, address = self._aiohttp, self._address
        if isinstance(error, asyncio.TimeoutError):
            if "onnection timeout" in str(error):  # sock_connect's; the total one says nothing
                return no_connection(address, self._settings.connect_timeout_s)
            return timed_out(address, self._settings.timeout_s)
        if isinstance(error, (aiohttp.ServerDisconnectedError, aiohttp.ClientPayloadError)):
            return from_os_error(address, ConnectionResetError(str(error)), self._settings.timeout_s)
        if isinstance(error, aiohttp.ClientHttpProxyError):
            return from_proxy(address, f"{error.status} {error.message}")
        if isinstance(error, aiohttp.ClientProxyConnectionError):
            return from_proxy(address, str(error.os_error))
        if isinstance(error, aiohttp.ClientConnectorCertificateError):
            return untrusted(address, str(error))
        if isinstance(error, aiohttp.ClientConnectorSSLError):
            return from_os_error(address, ValueError(str(error)), self._settings.timeout_s)
        if isinstance(error, aiohttp.ClientConnectorError) and address.tls and getattr(error, "errno", None) is None:
            return handshake_cut(address)  # asyncio does not say more
        if isinstance(error, OSError):
            return from_os_error(address, error, self._settings.timeout_s)
        return wrong_protocol(address, f"{type(error).__name__}: {error}")


def _import_aiohttp() -> Any:
    try:
        return importlib.import_module("aiohttp")
    except ImportError as error:
        raise MissingPackage(
            f"AsyncClient needs aiohttp for HTTP, which cannot be imported ({error}). Install it with: "
            "pip install 'tritonclient[http,grpc]>=2.51'"
        ) from error
