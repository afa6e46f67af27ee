"""``system dial-stdio``: the agent's socket as standard input and output, for who comes by ssh."""

from __future__ import annotations

import contextlib
import os
import socket
import sys
import threading
from typing import TYPE_CHECKING, Final

from cgagent.cli.agent import connect

if TYPE_CHECKING:
    from cgagent.cli.main import Context
    from cgagent.client.connection import Socket

_PIECE: Final = 64 * 1024


def dial_stdio(context: Context) -> int:
    """Until the agent hangs up; the end of the input is the end of what it is sent, no more."""
    context.parser(
        "", "Connect standard input and output to the agent: what ssh:// runs on the host."
    ).parse_args(context.args)
    agent = connect(context).connect().socket
    threading.Thread(target=_send, args=(agent, sys.stdin.fileno()), daemon=True).start()
    while data := agent.recv(_PIECE):
        _write(sys.stdout.fileno(), data)
    return 0


def _send(agent: Socket, stdin: int) -> None:
    """A thread of its own: whoever is fed and read at once must not wait for us either way."""
    with contextlib.suppress(OSError):  # the agent has hung up, which the other thread sees
        while data := os.read(stdin, _PIECE):
            agent.sendall(data)
        agent.shutdown(socket.SHUT_WR)


def _write(fd: int, data: bytes) -> None:
    view = memoryview(data)
    while view:
        view = view[os.write(fd, view) :]
