"""Asks a nextitem server for the next items of a session.

with Client("http://127.0.0.1:8000") as client:
    print(client.recommend([{"item_id": "a", "timestamp": "2024-05-01T10:00:00Z"}], k=5))
"""

from nextitem_client._client import Client
from nextitem_client._exceptions import (
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
    ServerError,
    ServerTimeout,
    ServerUnavailable,
    UnexpectedResponse,
    UnsupportedSignature,
    WrongProtocol,
)
from nextitem_client._offline import OfflineClient
from nextitem_client._response import Recommendation
from nextitem_client._sessions import Session
from nextitem_client._signature import Feature, Signature

__all__ = [
    "AmbiguousModel",
    "BundleError",
    "Client",
    "ClientClosed",
    "Feature",
    "InvalidOption",
    "InvalidSession",
    "MissingPackage",
    "ModelNotFound",
    "NextItemError",
    "NotANextItemModel",
    "OfflineClient",
    "Recommendation",
    "RequestRejected",
    "ServerError",
    "ServerTimeout",
    "ServerUnavailable",
    "Session",
    "Signature",
    "UnexpectedResponse",
    "UnsupportedSignature",
    "WrongProtocol",
]
