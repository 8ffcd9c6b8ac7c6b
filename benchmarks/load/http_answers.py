"""Reads HTTP/1.1 answers off a connection: status and body's length, nothing else, as cheaply as Python can."""

from __future__ import annotations

_END_OF_HEAD = b"\r\n\r\n"
_LENGTH = b"\r\ncontent-length:"


class UnreadableAnswerError(Exception):
    """What came is no HTTP/1.1 answer with a Content-Length; the message shows its beginning."""


class AnswerReader:
    """The answers of one connection, one after the other."""

    def __init__(self) -> None:
        self._data = b""

    def feed(self, data: bytes) -> tuple[int, bytes] | None:
        """Take what was received; return (status, body) once the answer is whole, None before.

        One request is under way at a time, so nothing may follow an answer. Raises UnreadableAnswerError.
        """
        if self._data:
            data = self._data + data
        end = data.find(_END_OF_HEAD)
        if end < 0:
            self._data = data
            return None
        body = end + 4
        whole = body + _content_length(data, end)
        if len(data) < whole:
            self._data = data
            return None
        if len(data) > whole or data[:7] != b"HTTP/1.":
            raise UnreadableAnswerError(_shown("an answer with other bytes before or behind it", data))
        self._data = b""
        return int(data[9:12]), data[body:]


def _content_length(data: bytes, end: int) -> int:
    head = data[:end].lower()
    start = head.find(_LENGTH)
    if start < 0:
        raise UnreadableAnswerError(_shown("an answer without Content-Length", data))
    stop = head.find(b"\r\n", start + 2)
    try:
        return int(head[start + len(_LENGTH) : stop if stop > 0 else end])
    except ValueError:
        raise UnreadableAnswerError(_shown("an answer whose Content-Length is no number", data)) from None


def _shown(what: str, data: bytes) -> str:
    return f"expected one HTTP/1.1 answer with a Content-Length, got {what}: {data[:200]!r}"
