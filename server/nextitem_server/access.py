"""Which of Triton's APIs clients may not reach, and the key that the server itself has.

Triton 24.10 serves an API that is *restricted* only to requests that carry a header with a given value
(--http-restricted-api, --grpc-restricted-protocol). The value is the key of `control.py`; who may read tritonserver's command
line on its machine can read it there.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from nextitem_server.control import new_key
from nextitem_server.errors import InvalidOption

MODEL_REPOSITORY = "model-repository"
# Triton's name → why a client has no business there.
CLOSABLE = {
    "shared-memory": "maps memory of the server's machine into the server",
    "trace": "writes files, and slows every request down",
    "logging": "redirects the log, and can fill the disk",
    MODEL_REPOSITORY: "loads and unloads models",
}
HEADER = "nextitem-control-key"
GRPC_PREFIX = "triton-grpc-protocol-"  # Triton's, before the name of a restricted protocol's header


@dataclass(frozen=True)
class Access:
    """The APIs that are closed, and the key to them."""

    closed: tuple[str, ...]
    key: str

    def options(self) -> list[str]:
        """Tritonserver's options that close them."""
        if not self.closed:
            return []
        rule = f"{','.join(self.closed)}:{HEADER}={self.key}"
        return [f"--http-restricted-api={rule}", f"--grpc-restricted-protocol={rule}"]

    @property
    def headers(self) -> Mapping[str, str]:
        """What opens them: sent as HTTP headers or gRPC metadata, where the other one's name does no harm."""
        return {HEADER: self.key, f"{GRPC_PREFIX}{HEADER}": self.key}


def make_access(open_apis: Sequence[str], key: str | None = None) -> Access:
    """Close what is not in `open_apis`; a key that is not given is new. Raises InvalidOption."""
    for name in open_apis:
        if name not in CLOSABLE:
            raise InvalidOption(
                f"--open-api {name}: there is no such API to open. The closed ones are {', '.join(CLOSABLE)}."
            )
    return Access(tuple(name for name in CLOSABLE if name not in open_apis), new_key() if key is None else key)
