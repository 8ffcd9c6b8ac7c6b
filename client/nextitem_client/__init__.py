"""Asks a nextitem server for the next items of a session.

with Client("http://127.0.0.1:8000") as client:
    print(client.recommend([{"item_id": "a", "timestamp": "2024-05-01T10:00:00Z"}], k=5))
"""

import logging

from nextitem_bundle.signature import Feature, Head, Signature
from nextitem_client._async_client import AsyncClient
from nextitem_client._client import Client
from nextitem_client._exceptions import (
    AccessDenied,
    AmbiguousModel,
    BundleError,
    ClientClosed,
    InvalidOption,
    InvalidSession,
    MissingPackage,
    ModelNotFound,
    NextItemError,
    NotANextItemModel,
    RequestRejected,
    ServerBusy,
    ServerError,
    ServerTimeout,
    ServerUnavailable,
    UnexpectedResponse,
    UnsupportedOption,
    UnsupportedSignature,
    UntrustedServer,
    WrongProtocol,
)
from nextitem_client._offline import OfflineClient
from nextitem_client._settings import Tls
from nextitem_client._wire import Session
from nextitem_client._wire.filters import ItemIds, ItemIdsPerSession
from nextitem_client._wire.response import Recommendation, Recommendations

__all__ = [
    "AccessDenied",
    "AmbiguousModel",
    "AsyncClient",
    "BundleError",
    "Client",
    "ClientClosed",
    "Feature",
    "Head",
    "InvalidOption",
    "InvalidSession",
    "ItemIds",
    "ItemIdsPerSession",
    "MissingPackage",
    "ModelNotFound",
    "NextItemError",
    "NotANextItemModel",
    "OfflineClient",
    "Recommendation",
    "Recommendations",
    "RequestRejected",
    "ServerBusy",
    "ServerError",
    "ServerTimeout",
    "ServerUnavailable",
    "Session",
    "Signature",
    "Tls",
    "UnexpectedResponse",
    "UnsupportedOption",
    "UnsupportedSignature",
    "UntrustedServer",
    "WrongProtocol",
]

logging.getLogger(__name__).addHandler(logging.NullHandler())
