"""TLS and API keys at the load balancer, as docs/operating.md has them."""

import subprocess
from pathlib import Path

from nextitem_client import AccessDenied, Client, ServerError, Tls

from .console import fail, say
from .project import Project, status_of, wait_for

KEY = "0123456789abcdef"


def settings(folder: Path) -> dict[str, str]:
    """A certificate for localhost and a file with keys; the variables that name them."""
    command = "req -x509 -newkey rsa:2048 -nodes -days 2 -subj /CN=localhost -addext subjectAltName=DNS:localhost"
    files = ["-keyout", "key.pem", "-out", "certificate.pem"]
    subprocess.run(["openssl", *command.split(), *files], cwd=folder, check=True, capture_output=True)
    both = folder / "both.pem"
    both.write_text((folder / "certificate.pem").read_text() + (folder / "key.pem").read_text())
    keys = folder / "keys"
    keys.write_text(f"another-key\n{KEY}\n")
    for file in (both, keys):
        file.chmod(0o644)  # the load balancer's user reads them
    return {"LB_CERTIFICATE": str(both), "LB_API_KEYS": str(keys)}


def check_secured(project: Project, folder: Path, model: str) -> None:
    """With the key over TLS there are answers, without either there is none."""
    project.remove("load-balancer")
    project.settings |= settings(folder)
    project.up("load-balancer")
    tls = Tls(ca_file=str(folder / "certificate.pem"), server_name="localhost")
    for scheme, port in (("https", "LB_HTTP_PORT"), ("grpcs", "LB_GRPC_PORT")):
        url = f"{scheme}://127.0.0.1:{project.ports[port]}"

        def asked(key: str | None, url: str = url) -> str:
            headers = {"authorization": f"Bearer {key}"} if key is not None else {}
            with Client(url, model, headers=headers, tls=tls, retries=0) as client:
                session = [{feature.name: None for feature in client.signature.features}]
                return client.recommend(session, k=1).status

        wait_for(f"an answer over {scheme}", lambda asked=asked: _answers(lambda: asked(KEY)), 60)
        for key in (None, "", "guessed"):
            try:
                asked(key)
            except AccessDenied:
                continue
            fail(f"{scheme} with the key {key!r}: AccessDenied was expected.")
    for path in ("/v2/health/ready", f"/v2/models/{model}"):
        if (status := status_of(project.url("LB_HTTP_PORT", path))) == 200:
            fail(f"{path} answers {status} without TLS.")
    say("TLS and key at the load balancer: answers over https and grpcs with the key, none without, none unencrypted")


def _answers(ask) -> bool:
    try:
        return ask() == "cold"
    except AccessDenied:
        raise
    except ServerError:
        return False
