"""Being the front of a container's terminal: keys to it raw, its screen here, its size as ours.

Imported only where a terminal was asked for. Whatever ends the session, the caller's terminal
has its settings back: a normal end, an error, a signal, the agent's death.
"""

from __future__ import annotations

import contextlib
import os
import signal
import sys
import termios
import tty

from cgagent.cli import stream
from cgagent.client.http import exit_code, query
from cgagent.errors import CgagentError, InvalidInputError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from types import FrameType
    from typing import Any, Final

    from cgagent.client.http import Client

_ENDING: Final = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGQUIT)
_RESIZE_TIMEOUT_S: Final = 2.0


class _EndedError(Exception):
    """A signal that ends this program came."""

    def __init__(self, number: int) -> None:
        super().__init__()
        self.number = number


def require(*, interactive: bool) -> None:
    """Raises InvalidInputError where input is to come from a terminal and there is none."""
    if interactive and not os.isatty(sys.stdin.fileno()):
        raise InvalidInputError(
            "the input is not a terminal; leave --tty out, or --interactive with it"
        )


def size() -> tuple[int, int] | None:
    """Rows and columns of the caller's terminal; None if there is none."""
    for fd in (sys.stdout.fileno(), sys.stdin.fileno(), sys.stderr.fileno()):
        try:
            columns, rows = os.get_terminal_size(fd)
        except OSError:
            continue
        return rows, columns
    return None


@contextlib.contextmanager
def raw() -> Iterator[None]:
    """Every key goes through as it is, none is echoed, until the end of the block.

    Raises:
        _EndedError: in the block, when a signal that ends this program came.
    """
    fd = sys.stdin.fileno()
    saved = termios.tcgetattr(fd)

    def end(number: int, _frame: FrameType | None) -> None:
        raise _EndedError(number)

    def go_on(_number: int, _frame: FrameType | None) -> None:
        tty.setraw(fd, termios.TCSANOW)  # the shell may have set it otherwise meanwhile

    handlers = {signal.SIGCONT: go_on, **dict.fromkeys(_ENDING, end)}
    before = {}
    try:
        for number, handler in handlers.items():
            before[number] = signal.signal(number, handler)
        tty.setraw(fd, termios.TCSANOW)
        yield
    finally:
        for number in before:  # a second signal must not come between here and the settings
            signal.signal(number, signal.SIG_IGN)
        with contextlib.suppress(termios.error):  # the terminal is gone
            termios.tcsetattr(fd, termios.TCSANOW, saved)
        for number, previous in before.items():
            signal.signal(number, previous)


def session(
    client: Client,
    attach: str,
    body: Any = None,
    *,
    resize: str | None = None,
    redraw: bool = False,
    connected: Callable[[str], None] | None = None,
) -> int:
    """Be connected to what the path `attach` gives until its end, or the keys to detach.

    `resize` is the path of what is resized; None: where the agent says it is, which `connected`
    is told.

    Returns:
        The exit code.

    Raises:
        CgagentError: it could not be started, or the connection was lost.
        KeyboardInterrupt: a signal that ends this program came before there was a connection.
    """
    connection = None
    try:
        with raw():
            connection = client.upgrade(attach, body)
            if connected is not None:
                connected(connection.location)
            follow_size(client, resize or connection.location, redraw=redraw)
            status = stream.pump(connection, stdin=True)
    except _EndedError as ended:
        if connection is None:
            raise KeyboardInterrupt from None
        return 128 + ended.number
    if status.get("detached"):
        print("read escape sequence")
        return 0
    code = exit_code(status)
    connection.wait_for_end()
    return code


def follow_size(client: Client, path: str, *, redraw: bool = False) -> None:
    """From now on, give what `path` names the size of the caller's terminal as it changes.

    With `redraw` it is told of a change at once: a program with a screen then draws it.
    """
    now = size()
    if now is not None and redraw:
        _resize(client, path, now[0] + 1, now[1])
        _resize(client, path, *now)

    def changed(_number: int, _frame: FrameType | None) -> None:
        now = size()
        if now is not None:
            _resize(client, path, *now)

    signal.signal(signal.SIGWINCH, changed)


def _resize(client: Client, path: str, rows: int, columns: int) -> None:
    """On a connection of its own; without success if there is no agent, which is no matter."""
    try:
        connection = client.connect()
        with connection.socket:
            connection.socket.settimeout(_RESIZE_TIMEOUT_S)
            connection.send("POST", f"{path}/resize" + query(h=rows, w=columns), None)
            connection.head()
    except (CgagentError, OSError):
        return
