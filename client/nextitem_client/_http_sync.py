"""HTTP for Client: http.client's connections, which threads share."""

from __future__ import annotations

import http.client
from collections.abc import Mapping

from nextitem_client._http import HttpCodec, HttpRequest, HttpResponse
from nextitem_client._http_pool import ConnectionPool, NotConnectedError, PoolBusyError
from nextitem_client._meaning import from_os_error, no_connection, no_free_connection
from nextitem_client._settings import Settings
from nextitem_client._tls import ssl_context
from nextitem_client._transport import Address, Inference, Reply
from nextitem_client._triton import Placement


class HttpTransport:
    """See Transport; and shared memory, for _shared_memory.py."""

    def __init__(self, address: Address, settings: Settings):
        self._address = address
        self._settings = settings
        self._codec = HttpCodec(address, settings)
        context = ssl_context(settings.tls) if address.tls else None
        self._pool = ConnectionPool(address.host, address.port, settings.pool_size, settings.connect_timeout_s, context)

    def ready_models(self, timeout_s: float) -> list[str]:
        """See Transport."""
        return self._codec.read_ready(self._exchange(self._codec.statistics_request(), timeout_s))

    def model_parameters(self, model: str, timeout_s: float) -> Mapping[str, str]:
        """See Transport."""
        return self._codec.read_parameters(self._exchange(self._codec.config_request(model), timeout_s))

    def infer(self, inference: Inference, timeout_s: float, placement: Placement | None = None) -> Reply:
        """See Transport; `placement`: tensors that lie in shared memory."""
        request = self._codec.infer_request(inference, placement)
        return self._codec.read_reply(self._exchange(request, timeout_s), inference, placement)

    def register_memory(self, region: str, key: str, size: int, timeout_s: float) -> None:
        """Make a shared memory known to the server."""
        self._codec.read_nothing(self._exchange(self._codec.memory_request(region, key, size), timeout_s))

    def unregister_memory(self, region: str, timeout_s: float) -> None:
        """Let the server forget it."""
        self._codec.read_nothing(self._exchange(self._codec.forget_memory_request(region), timeout_s))

    def close(self) -> None:
        """See Transport."""
        self._pool.close()

    def _exchange(self, request: HttpRequest, timeout_s: float) -> HttpResponse:
        try:
            return self._pool.exchange(request, timeout_s)
        except PoolBusyError:
            raise no_free_connection(self._address, self._settings.pool_size, timeout_s) from None
        except NotConnectedError as error:
            raise no_connection(self._address, error.timeout_s) from None
        except (OSError, http.client.HTTPException, ValueError) as error:
            raise from_os_error(self._address, error, self._settings.timeout_s) from None
