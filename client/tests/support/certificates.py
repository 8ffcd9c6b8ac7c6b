"""An authority, a server and a client, made with openssl."""

from __future__ import annotations

import subprocess
from pathlib import Path

#: The server's certificate is for these names, and not for 127.0.0.1.
NAMES = ("localhost", "shop.test")


def make_certificates(folder: Path) -> None:
    """ca.crt; server.crt and .key; client.crt and .key; client.pem with both."""
    _openssl(folder, "req -x509 -newkey rsa:2048 -nodes -days 2 -subj /CN=nextitem-test -keyout ca.key -out ca.crt")
    names = ",".join(f"DNS:{name}" for name in NAMES)
    for name, extension in (("server", f"subjectAltName={names}"), ("client", "extendedKeyUsage=clientAuth")):
        (folder / "extension").write_text(extension)
        _openssl(folder, f"req -newkey rsa:2048 -nodes -subj /CN={name} -keyout {name}.key -out {name}.csr")
        _openssl(
            folder,
            f"x509 -req -in {name}.csr -CA ca.crt -CAkey ca.key -CAcreateserial -days 2 -extfile extension "
            f"-out {name}.crt",
        )
    (folder / "client.pem").write_text((folder / "client.crt").read_text() + (folder / "client.key").read_text())


def grpc_options(folder: Path, *, mutual: bool) -> list[str]:
    """tritonserver's options for TLS on its gRPC port."""
    options = {
        "--grpc-use-ssl": "true",
        "--grpc-server-cert": folder / "server.crt",
        "--grpc-server-key": folder / "server.key",
        "--grpc-root-cert": folder / "ca.crt",
        "--grpc-use-ssl-mutual": "true" if mutual else "false",
    }
    return [f"{name}={value}" for name, value in options.items()]


def _openssl(folder: Path, command: str) -> None:
    subprocess.run(["openssl", *command.split()], cwd=folder, check=True, capture_output=True)
