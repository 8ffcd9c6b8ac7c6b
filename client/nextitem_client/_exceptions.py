"""Everything that this package raises on purpose.

NextItemError
├── InvalidSession (ValueError)      what was sent cannot be a session of this model
├── InvalidOption (ValueError)       a URL, a timeout, a k, a filter … that cannot be meant
│   └── UnsupportedOption            this model was exported without that option
├── ClientClosed (RuntimeError)      the client was used after close(), or before it was open
├── MissingPackage (ImportError)     a package that this call needs is not installed
├── BundleError                      a folder that cannot be answered from: damaged, not trusted, another format
└── ServerError
    ├── ServerUnavailable            nobody answers at that address
    │   ├── ServerTimeout            not within timeout_s
    │   ├── ServerBusy               it answers that it has too much to do
    │   ├── UntrustedServer          its certificate, or ours, is not accepted
    │   └── WrongProtocol            somebody answers, in another protocol (gRPC on the HTTP port …)
    ├── AccessDenied                 the server wants a key or token that was not sent
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


class UnsupportedOption(InvalidOption):
    """The model does not know this option: its signature's `options` does not list it."""


class ClientClosed(NextItemError, RuntimeError):
    """The client was closed before this call, or not opened yet."""


class MissingPackage(NextItemError, ImportError):
    """A package that this call needs is not installed; the message is the pip install."""


class BundleError(NextItemError):
    """A folder that OfflineClient cannot answer from; the message says why and what to do."""


class ServerError(NextItemError):
    """Base of all errors that come from the server or the way to it.

    Attributes:
        retryable: whether the same request may succeed a moment later. The client has already tried as often as
            `retries` says.
        retry_after_s: seconds to wait, where the server names them; else None.
    """

    retryable: bool = False
    retry_after_s: float | None = None


class ServerUnavailable(ServerError):
    """No server answers: down, wrong host or port, still loading."""

    retryable = True


class ServerTimeout(ServerUnavailable):
    """The answer did not come within `timeout_s`."""

    retryable = False


class ServerBusy(ServerUnavailable):
    """The server has too many requests waiting, or a proxy before it limits their rate."""


class UntrustedServer(ServerUnavailable):
    """TLS failed over a certificate."""

    retryable = False


class WrongProtocol(ServerUnavailable):
    """The port speaks another protocol than the URL says."""

    retryable = False


class AccessDenied(ServerError):
    """The server, or a proxy before it, wants credentials: see the client's `headers`."""


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
