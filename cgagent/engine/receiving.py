"""Archives that come over a connection: they are written to a file first, and then read."""

from __future__ import annotations

from contextlib import ExitStack
from functools import partial
from typing import TYPE_CHECKING, Any, Final

from cgagent.concurrency import in_thread
from cgagent.store.disk import disk_full_is_no_space

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from contextlib import AbstractContextManager
    from pathlib import Path
    from threading import Event

_PIECE_BYTES: Final = 1 << 20


class Received:
    """What came over a connection, as a file, until `close`."""

    def __init__(self, path: Path, held: ExitStack) -> None:
        self.path = str(path)
        self._held = held

    def close(self) -> None:
        self._held.close()


async def received(chunks: AsyncIterator[bytes], scratch: AbstractContextManager[Path]) -> Received:
    """All of `chunks`. Raises NoSpaceError. When it fails nothing is left behind."""
    with ExitStack() as stack:
        path = stack.enter_context(scratch)
        with path.open("wb", buffering=0) as file:
            waiting: list[bytes] = []
            size = 0
            async for chunk in chunks:
                waiting.append(chunk)
                size += len(chunk)
                if size >= _PIECE_BYTES:
                    await in_thread(partial(_write, file, b"".join(waiting)))
                    waiting, size = [], 0
            await in_thread(partial(_write, file, b"".join(waiting)))
        return Received(path, stack.pop_all())


def _write(file: Any, data: bytes, _stop: Event) -> None:
    view = memoryview(data)
    with disk_full_is_no_space("archive that is received", file.name):
        while view:
            view = view[file.write(view) :]
