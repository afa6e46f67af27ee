"""What may be larger than a packet does not break the connection."""

from __future__ import annotations

import socket
from typing import TYPE_CHECKING

import pytest

from cgagent.errors import InternalError, NotExecutableError
from cgagent.runtime import wire
from cgagent.runtime.protocol import MAX_PACKET, error_from_wire, error_to_wire

if TYPE_CHECKING:
    from collections.abc import Iterator


@pytest.fixture
def pair() -> Iterator[tuple[socket.socket, socket.socket]]:
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    with ours, theirs:
        yield ours, theirs


def test_a_message_too_large_is_an_error_of_the_message_alone(
    pair: tuple[socket.socket, socket.socket],
) -> None:
    ours, theirs = pair
    with pytest.raises(InternalError, match="does not fit"):
        wire.send(ours, {"op": "x" * MAX_PACKET})
    wire.send(ours, {"op": "list"})
    assert wire.receive(theirs) == ({"op": "list"}, [])


@pytest.mark.parametrize("character", ["a", "\n", "é", "\U0001f600", "\udcff"])
def test_an_error_with_any_command_in_it_fits_a_packet(
    pair: tuple[socket.socket, socket.socket], character: str
) -> None:
    ours, theirs = pair
    error = NotExecutableError(f"command {character * 131_000}: file name too long")
    wire.send(ours, {"seq": 1, "op": "forget", "status": {"error": error_to_wire(error)}})
    received = wire.receive(theirs)
    assert received is not None
    told = error_from_wire(received[0]["status"]["error"])
    assert isinstance(told, NotExecutableError)
    assert told.message.startswith(f"command {character}")
