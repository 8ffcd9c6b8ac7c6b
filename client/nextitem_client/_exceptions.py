"""Everything that this package raises on purpose.

NextItemError
├── InvalidSession (ValueError)      what was sent cannot be a session of this model
├── InvalidOption (ValueError)       a URL, a timeout or a k that cannot be meant
├── ClientClosed (RuntimeError)      the client was used after close()
├── MissingPackage (ImportError)     a package that this call needs is not installed
├── BundleError                      a folder that cannot be answered from: damaged, not trusted, another format
└── ServerError
    ├── ServerUnavailable            nobody answers at that address
    │   ├── ServerTimeout            not within timeout_s
    │   └── WrongProtocol            somebody answers, in another protocol (gRPC on the HTTP port …)
    ├── ModelNotFound                the server has no such model, or none at all
    ├── AmbiguousModel               several nextitem models and none was named
    ├── NotANextItemModel            the model was not exported by nextitem-export
    │   └── UnsupportedSignature     … or by a newer one than this client understands
    ├── RequestRejected              the server's own words about the request
    └── UnexpectedResponse           an answer that breaks the format of a bundle

Every message is a sentence that says what came, what was expected and what to do.
"""

# ruff: noqa: N818 -- the names say what happened; the bases say that these are errors

from __future__ import annotations


class NextItemError(Exception):
    """Base of all errors of this package."""


class InvalidSession(NextItemError, ValueError):
    """A session does not fit the model's features; names session, event and feature."""


class InvalidOption(NextItemError, ValueError):
    """An argument other than the session is out of its range."""


class ClientClosed(NextItemError, RuntimeError):
    """The client was closed before this call."""


class MissingPackage(NextItemError, ImportError):
    """A package that this call needs is not installed; the message is the pip install."""


class BundleError(NextItemError):
    """A folder that OfflineClient cannot answer from; the message says why and what to do."""


class ServerError(NextItemError):
    """Base of all errors that come from the server or the way to it."""


class ServerUnavailable(ServerError):
    """No server answers: down, wrong host or port, still loading."""


class ServerTimeout(ServerUnavailable):
    """The answer did not come within `timeout_s`."""


class WrongProtocol(ServerUnavailable):
    """The port speaks another protocol than the URL says."""


class ModelNotFound(ServerError):
    """The server does not serve that model; the message lists those that it does."""


class AmbiguousModel(ServerError):
    """The server has several nextitem models; the message lists them."""


class NotANextItemModel(ServerError):
    """The model has no `nextitem.signature` in its configuration."""


class UnsupportedSignature(NotANextItemModel):
    """The model's `nextitem.signature` has a format that this client does not read."""


class RequestRejected(ServerError):
    """The server refused the request; the message is its sentence."""


class UnexpectedResponse(ServerError):
    """The answer has other tensors or shapes than the format of a bundle says."""
