"""A sender and a receiver of TCP between two hosts of the tests, and how fast they are."""

from __future__ import annotations

import socket
import struct
import threading
import time
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from contextlib import AbstractContextManager
    from typing import Protocol

    class Place(Protocol):
        """A network namespace that a thread can be in: a `Host`, a `NetworkOf`."""

        def inside(self) -> AbstractContextManager[None]: ...


_PIECE = 1 << 16
_TOLERANCE = 0.05
_TRIES = 5
_MTU = 1500
_WARM_UP_S = 1.0
"""After which TCP has mostly recovered what it lost when it went too fast."""
_LAST_S = 2.0
_TIMESTAMPS = 12
_BYTES_RECEIVED = 128
_ETHERNET = 14
_TCP = 20
_IP = {socket.AF_INET: 20, socket.AF_INET6: 40}


def wire_rate(sender: Place, receiver: Place, address: str) -> float:
    """Wire bits a second from one to the other, as fast as it goes: frames with their headers."""
    with _flow(sender, receiver, address) as measure:
        return measure()


def assert_rates(
    sender: Place, receiver: Place, address: str, *steps: float | Callable[[], None]
) -> None:
    """One connection has each of these rates within 5 %, with calls made in between.

    A host that is busy with something else may be late for once, so each has some tries.
    """
    with _flow(sender, receiver, address) as measure:
        for step in steps:
            if callable(step):
                step()
                continue
            seen: list[float] = []
            while not seen or abs(seen[-1] / step - 1) > _TOLERANCE:
                assert len(seen) < _TRIES, f"{seen} instead of {step}"
                seen.append(measure())


@contextmanager
def _flow(sender: Place, receiver: Place, address: str) -> Iterator[Callable[[], float]]:
    """A connection that is kept busy, and what measures its wire bits a second for a while."""
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    with receiver.inside():
        listener = socket.socket(family)
        listener.bind((address, 0))
        listener.listen()
    with sender.inside():
        out = socket.socket(family)
        out.connect(listener.getsockname())
    into, _ = listener.accept()
    sending = threading.Thread(target=_send, args=(out,))
    reading = threading.Thread(target=_read, args=(into,))
    sending.start()
    reading.start()
    payload = _MTU - _IP[family] - _TCP - _TIMESTAMPS
    factor = 8 * (_MTU + _ETHERNET) / payload
    try:
        yield lambda: factor * _received(into)
    finally:
        for end, thread in (out, sending), (into, reading):
            with suppress(OSError):  # the other end is gone
                end.shutdown(socket.SHUT_RDWR)
            thread.join()
        for end in (out, into, listener):
            end.close()


def _send(out: socket.socket) -> None:
    """Until it is shut down."""
    piece = bytes(_PIECE)
    with suppress(OSError):
        while True:
            out.sendall(piece)


def _read(into: socket.socket) -> None:
    """Until it is shut down."""
    with suppress(OSError):
        while into.recv(_PIECE):
            pass


def _received(into: socket.socket) -> float:
    """Bytes a second, once it goes steadily: as the kernel counts them, whoever reads them when."""
    time.sleep(_WARM_UP_S)
    began, before = time.monotonic(), _count(into)
    time.sleep(_LAST_S)
    after, ended = _count(into), time.monotonic()
    return (after - before) / (ended - began)


def _count(into: socket.socket) -> int:
    """The field tcpi_bytes_received (linux/tcp.h)."""
    info = into.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, 256)
    return int(struct.unpack_from("=Q", info, _BYTES_RECEIVED)[0])
