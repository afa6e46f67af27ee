"""HTTP over a unix socket for many connections in one process, with next to no work of its own."""

from __future__ import annotations

import asyncio
import json
from typing import Any, Final

_ANSWER_S: Final = 60.0
_WITHOUT_BODY: Final = (101, 204, 304)


class Lost(Exception):  # noqa: N818 - what became of an answer
    """A request that was not answered, or not as it has to be."""


class Line:
    """One connection, kept alive; requests one after the other."""

    def __init__(self, path: str) -> None:
        self._path = path
        self._reader: asyncio.StreamReader | None = None
        self._writer: asyncio.StreamWriter | None = None

    async def ask(
        self, method: str, target: str, body: Any = None, *, upgrade: bool = False
    ) -> tuple[int, bytes]:
        """Status and body; with `upgrade` all that the connection carries until its end.

        Raises:
            Lost: there was no answer in time, or the connection ended.
        """
        try:
            async with asyncio.timeout(_ANSWER_S):
                return await self._ask(method, target, body, upgrade=upgrade)
        except (OSError, EOFError, TimeoutError, ValueError) as e:
            self.close()
            raise Lost(f"{method} {target}: {type(e).__name__} {e}") from None

    async def _ask(
        self, method: str, target: str, body: Any, *, upgrade: bool
    ) -> tuple[int, bytes]:
        if self._reader is None or self._writer is None:
            self._reader, self._writer = await asyncio.open_unix_connection(self._path)
        data = b"" if body is None else json.dumps(body).encode()
        more = "Connection: Upgrade\r\nUpgrade: tcp\r\n" if upgrade else ""
        head = (
            f"{method} {target} HTTP/1.1\r\nHost: load\r\n{more}Content-Type: application/json\r\n"
        )
        self._writer.write(f"{head}Content-Length: {len(data)}\r\n\r\n".encode() + data)
        lines = (await self._reader.readuntil(b"\r\n\r\n")).lower().split(b"\r\n")
        status = int(lines[0].split(b" ", 2)[1])
        if status == 101:
            found = await self._reader.read()
            self.close()
            return status, found
        found = await self._body(self._reader, status, lines)
        if b"connection: close" in lines:
            self.close()
        return status, found

    @staticmethod
    async def _body(reader: asyncio.StreamReader, status: int, lines: list[bytes]) -> bytes:
        if status in _WITHOUT_BODY:
            return b""
        for line in lines:
            if line.startswith(b"content-length:"):
                return await reader.readexactly(int(line[15:]))
        found = b""
        while size := int((await reader.readuntil(b"\r\n"))[:-2], 16):
            found += (await reader.readexactly(size + 2))[:-2]
        await reader.readexactly(2)
        return found

    def close(self) -> None:
        if self._writer is not None:
            self._writer.close()
        self._reader = self._writer = None
