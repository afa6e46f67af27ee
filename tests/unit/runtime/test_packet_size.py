"""What may be larger than a packet does not break the connection."""

from __future__ import annotations

import socket
from typing import TYPE_CHECKING

import pytest

from cgagent.errors import InternalError, NotExecutableError
from cgagent.messages import wire
from cgagent.messages.wire import MAX_PACKET
from cgagent.runtime.messages.agent import Ask, Forget, List
from cgagent.runtime.messages.outcomes import Status

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
        wire.send(ours, Ask(seq=1, request=List(agent="x" * MAX_PACKET)))
    wire.send(ours, Ask(seq=2, request=List(agent="x")))
    assert wire.receive(theirs, Ask) == (Ask(seq=2, request=List(agent="x")), [])


@pytest.mark.parametrize("character", ["a", "\n", "é", "\U0001f600", "\udcff"])
def test_an_error_with_any_command_in_it_fits_a_packet(
    pair: tuple[socket.socket, socket.socket], character: str
) -> None:
    ours, theirs = pair
    error = NotExecutableError(f"command {character * 131_000}: file name too long")
    forget = Forget(key="x", status=Status.of_failure(error))
    wire.send(ours, Ask(seq=1, request=forget))
    received = wire.receive(theirs, Ask)
    assert received is not None
    told = received[0].request.status.error.error()
    assert isinstance(told, NotExecutableError)
    assert told.message.startswith(f"command {character}")
