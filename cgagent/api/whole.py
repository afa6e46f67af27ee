"""Answers that go out whole: their head together with their body, in one system call."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    import asyncio

_LENGTH: Final = b"\r\ncontent-length: "
_NO_LENGTH: Final = b"\r\ncontent-length: 0\r\n"


class Whole:
    """A transport for one answer, whose head goes with the body: its client wakes up once.

    An answer of unknown length is a stream, and its head goes at once.
    """

    def __init__(self, transport: asyncio.Transport) -> None:
        self._transport = transport
        self._head = b""
        self._has_begun = False

    def write(self, data: bytes) -> None:
        if not self._has_begun and _LENGTH in data and _NO_LENGTH not in data:
            self._has_begun = True
            self._head = data
            return
        if self._head:
            data, self._head = self._head + data, b""
        self._transport.write(data)

    def close(self) -> None:
        self._transport.write(self._head)
        self._transport.close()

    def is_closing(self) -> bool:
        return self._transport.is_closing()
