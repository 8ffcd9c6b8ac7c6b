"""How a client connects: timeouts, retries, headers, compression, TLS. Checked here, used by the transports."""

from __future__ import annotations

import math
import os
import re
import ssl
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Optional, Union, cast

from nextitem_client._exceptions import InvalidOption

DEFAULT_TIMEOUT_S = 10.0
DEFAULT_CONNECT_TIMEOUT_S = 5.0
DEFAULT_RETRIES = 2
DEFAULT_POOL_SIZE = 100
DEFAULT_MAX_CONCURRENCY = 4

_COMPRESSIONS = ("gzip",)
_HEADER_NAME = re.compile(r"[!#$%&'*+\-.^_`|~0-9A-Za-z]+")  # RFC 9110, token
_HEADER_VALUE = re.compile(r"[\x20-\x7e]*")
# Ours or the protocol's: set by hand they would break the request.
_RESERVED_HEADERS = {
    "accept-encoding", "connection", "content-encoding", "content-length", "content-type", "host",
    "inference-header-content-length", "te", "transfer-encoding",
}  # fmt: skip


@dataclass(frozen=True)
class Tls:
    """What `https://` and `grpcs://` need beyond the system's trust store. Files are PEM.

    Args:
        ca_file: certificates of the authorities to trust, instead of the system's.
        certificate_file: the client's own certificate (chain), for servers that ask for one.
        key_file: its private key. None where `certificate_file` holds it.
        server_name: the name that the server's certificate must have. None: the URL's host.
    """

    ca_file: Optional[Union[str, os.PathLike[str]]] = None
    certificate_file: Optional[Union[str, os.PathLike[str]]] = None
    key_file: Optional[Union[str, os.PathLike[str]]] = None
    server_name: Optional[str] = None


@dataclass(frozen=True)
class Settings:
    """The checked arguments of a client that its transport needs. Raises InvalidOption."""

    timeout_s: float = DEFAULT_TIMEOUT_S
    connect_timeout_s: float = DEFAULT_CONNECT_TIMEOUT_S
    retries: int = DEFAULT_RETRIES
    retry_too_many_requests: bool = False
    pool_size: int = DEFAULT_POOL_SIZE
    headers: Mapping[str, str] = field(default_factory=dict[str, str])
    compression: Optional[str] = None
    tls: Optional[Tls] = None

    def __post_init__(self) -> None:
        require_seconds("timeout_s", self.timeout_s)
        require_seconds("connect_timeout_s", self.connect_timeout_s)
        require_count("retries", self.retries, 0)
        require_count("pool_size", self.pool_size, 1)
        if self.compression is not None and self.compression not in _COMPRESSIONS:
            raise InvalidOption(f"compression is {self.compression!r}; expected is 'gzip' or None.")
        _check_headers(self.headers)
        if self.tls is not None:
            _check_tls(self.tls)


def require_seconds(name: str, value: Any) -> None:
    """Raise InvalidOption unless `value` is a finite number > 0."""
    number = not isinstance(value, bool) and isinstance(value, (int, float))
    if not (number and math.isfinite(value) and value > 0):
        raise InvalidOption(f"{name} is {value!r}; expected is a number of seconds > 0.")


def require_count(name: str, value: Any, least: int) -> None:
    """Raise InvalidOption unless `value` is an int of at least `least`."""
    if isinstance(value, bool) or not isinstance(value, int) or value < least:
        raise InvalidOption(f"{name} is {value!r}; expected is an int, {least} or more.")


def _check_headers(headers: Any) -> None:
    if not isinstance(headers, Mapping):
        raise InvalidOption(f"headers is a {type(headers).__name__}; expected is a dict from name to text.")
    for name, value in cast("Mapping[Any, Any]", headers).items():
        if not isinstance(name, str) or not _HEADER_NAME.fullmatch(name):
            raise InvalidOption(f"The header name {name!r} cannot be sent; expected are letters, digits, - and _.")
        if name.lower() in _RESERVED_HEADERS:
            raise InvalidOption(f"The header {name} is the client's own to set; leave it out of headers.")
        # The value is not shown: it may be a secret.
        if not isinstance(value, str) or not _HEADER_VALUE.fullmatch(value):
            raise InvalidOption(
                f"The value of header {name} ({type(value).__name__}) cannot be sent; expected is one line of ASCII text."
            )


def _check_tls(tls: Any) -> None:
    if not isinstance(tls, Tls):
        raise InvalidOption(f"tls is a {type(tls).__name__}; expected is Tls(ca_file=…, …).")
    if tls.key_file is not None and tls.certificate_file is None:
        raise InvalidOption("Tls has a key_file without its certificate_file; give both.")
    for name in ("ca_file", "certificate_file", "key_file"):
        path = getattr(tls, name)
        if path is not None and not os.path.isfile(path):
            raise InvalidOption(f"The {name} {os.fspath(path)} of Tls is no file; expected is one in PEM format.")


class _NamingContext(ssl.SSLContext):
    """Asks for `server_name` and checks the certificate against it, whatever host was connected to."""

    server_name: Optional[str] = None

    def wrap_socket(self, *arguments: Any, **options: Any) -> ssl.SSLSocket:
        return super().wrap_socket(*arguments, **{**options, "server_hostname": self.server_name})

    def wrap_bio(  # what asyncio calls, by position
        self,
        incoming: ssl.MemoryBIO,
        outgoing: ssl.MemoryBIO,
        server_side: bool = False,
        server_hostname: Any = None,
        session: Any = None,
    ) -> ssl.SSLObject:
        return super().wrap_bio(incoming, outgoing, server_side, self.server_name, session)


def ssl_context(tls: Tls | None) -> ssl.SSLContext:
    """A context that verifies the server's certificate and name. Raises InvalidOption."""
    tls = tls if tls is not None else Tls()
    context = _NamingContext(ssl.PROTOCOL_TLS_CLIENT) if tls.server_name else ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    if isinstance(context, _NamingContext):
        context.server_name = tls.server_name
    try:
        if tls.ca_file is None:
            context.load_default_certs()
        else:
            context.load_verify_locations(cafile=tls.ca_file)
        if tls.certificate_file is not None:
            context.load_cert_chain(tls.certificate_file, tls.key_file)
    except (ssl.SSLError, OSError) as error:
        raise InvalidOption(
            f"The files of {tls} cannot be used ({error}). Expected is PEM, and a key that belongs to the certificate."
        ) from None
    return context


def root_certificates(tls: Tls | None) -> bytes | None:
    """The trusted authorities as PEM: those of `ca_file`, or the system's, as with HTTP; None: gRPC's own."""
    context = ssl_context(tls)  # which checks the files, as gRPC would do only when it connects
    if tls is not None and tls.ca_file is not None:
        return Path(tls.ca_file).read_bytes()
    found = context.get_ca_certs(binary_form=True)
    return "".join(ssl.DER_cert_to_PEM_cert(one) for one in found).encode() or None


def own_certificate(tls: Tls | None) -> tuple[bytes | None, bytes | None]:
    """Private key and certificate chain as PEM."""
    if tls is None or tls.certificate_file is None:
        return None, None
    key_file = tls.key_file if tls.key_file is not None else tls.certificate_file
    return Path(key_file).read_bytes(), Path(tls.certificate_file).read_bytes()
