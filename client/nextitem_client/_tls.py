"""Tls settings → what Python's ssl and gRPC want."""

from __future__ import annotations

import ssl
from pathlib import Path
from typing import Any, Optional

from nextitem_client._exceptions import InvalidOption
from nextitem_client._settings import Tls


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
