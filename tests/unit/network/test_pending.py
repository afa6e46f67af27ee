"""What waits in a network namespace: of sockets as the kernel lists them."""

import socket
import struct

import pytest

from cgagent.network.pending import _cause

LISTEN, ESTABLISHED, CLOSE, CLOSE_WAIT = 10, 1, 7, 8


def listed(state, queued=0, *, sent_ms=0, received_ms=0, received=1, sent=1):
    head = struct.pack("=BBBB48x5I", socket.AF_INET, state, 0, 0, 0, queued, 0, 0, 0)
    times = struct.pack("=44x3I", sent_ms, 0, received_ms)
    info = times + bytes(152 - len(times)) + struct.pack("=2I", received, sent) + bytes(80)
    return head + struct.pack("=HH", 4 + len(info), 2) + info


@pytest.mark.parametrize(
    ("is_tcp", "body", "cause"),
    [
        (True, listed(LISTEN), None),
        (True, listed(LISTEN, queued=1), "1 connection waits to be accepted"),
        (True, listed(LISTEN, queued=3), "3 connections wait to be accepted"),
        (True, listed(ESTABLISHED, queued=9), "data waits to be read"),
        (True, listed(ESTABLISHED, sent_ms=20, received_ms=20), "a connection was just in use"),
        (True, listed(ESTABLISHED, sent_ms=10, received_ms=40), "a connection was just in use"),
        (True, listed(ESTABLISHED, sent_ms=200, received_ms=400), None),
        (True, listed(ESTABLISHED, received=0, sent=0), None),
        (
            True,
            listed(ESTABLISHED, sent_ms=900, received_ms=900, sent=0),
            "a request has no answer yet",
        ),
        (True, listed(ESTABLISHED, sent_ms=40, received_ms=10), "a request has no answer yet"),
        (True, listed(CLOSE_WAIT, sent_ms=40, received_ms=10), "a request has no answer yet"),
        (True, listed(ESTABLISHED, sent_ms=90_000, received_ms=5_000), None),
        (False, listed(CLOSE, queued=1), "data waits to be read"),
        (False, listed(CLOSE, sent_ms=40, received_ms=10), None),
        (True, listed(ESTABLISHED, sent_ms=40, received_ms=10)[:72], None),
    ],
)
def test_why_its_programs_must_not_stand_still(is_tcp, body, cause):
    assert _cause(body, is_tcp=is_tcp) == cause
