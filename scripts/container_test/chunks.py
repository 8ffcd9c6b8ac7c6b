"""A request whose body comes in very many chunks."""

import contextlib
import socket

BODY = b'{"inputs":[{"name":"x","shape":[2],"datatype":"INT64","data":[1,2]}]}'
_HEAD = (
    "POST /v2/models/{model}/infer HTTP/1.1\r\nHost: test\r\nContent-Type: application/json\r\n"
    "Transfer-Encoding: chunked\r\n\r\n"
)
_SPACES = b"1\r\n \r\n" * 10_000


def sent_in_chunks(port: int, count: int, model: str = "shop", body: bytes = BODY) -> bytes:
    """The beginning of the answer to `body` behind `count` chunks of one space each; empty where there is none."""
    with socket.create_connection(("127.0.0.1", port), timeout=120) as connection:
        with contextlib.suppress(ConnectionError):  # refused before all was sent: the answer may be there
            connection.sendall(_HEAD.format(model=model).encode())
            for _ in range(count // 10_000):
                connection.sendall(_SPACES)
            connection.sendall(b"%x\r\n%b\r\n0\r\n\r\n" % (len(body), body))
        try:
            return connection.recv(4096)
        except ConnectionError:
            return b""
