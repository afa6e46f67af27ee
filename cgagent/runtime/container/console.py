"""The terminal of a container's process: made inside the container, owned outside.

The pair is made in the container's own devpts by the process that will use it. It keeps the
slave as its standard streams; the master goes to whoever holds the terminal: the supervisor,
or the socket that an OCI runtime's caller gave.

    console = make(root_fd, size_of(process))    in the container's mounts
    bind(root_fd, console.slave)                 /dev/console; of a container's first process only
    ...send console.master away...
    enter(console)                               in the new session
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from typing import Any, Final

from cgagent.errors import InvalidInputError
from cgagent.kernel import beneath, pty
from cgagent.kernel import mount as km

_DEVPTS: Final = "/dev/pts"
_CONSOLE: Final = "/dev/console"
_MAX_SIZE: Final = 0xFFFF


@dataclass(frozen=True, slots=True)
class Console:
    """Both ends, close-on-exec."""

    master: int
    slave: int


Size = tuple[int, int]
"""Rows and columns."""


def size_of(process: dict[str, Any]) -> Size | None:
    """What an OCI ``process`` has as ``consoleSize``.

    Raises:
        InvalidInputError: a size that no terminal has.
    """
    value = process.get("consoleSize")
    return None if value is None else check_size(value["height"], value["width"])


def check_size(rows: int, columns: int) -> Size:
    """Raises InvalidInputError for a size that no terminal has."""
    if not (0 <= rows <= _MAX_SIZE and 0 <= columns <= _MAX_SIZE):
        raise InvalidInputError(f"terminal size {rows}x{columns}: each is from 0 to {_MAX_SIZE}")
    return rows, columns


def make(root_fd: int, size: Size | None) -> Console:
    """A pair in the devpts of the root `root_fd`, of that size before anybody can look.

    Raises:
        InvalidInputError: the container has no devpts.
    """
    try:
        devpts = beneath.open_in_root(root_fd, _DEVPTS, os.O_RDONLY | os.O_DIRECTORY)
    except (FileNotFoundError, NotADirectoryError):
        raise _no_devpts() from None
    try:
        master = pty.open_master(devpts)
    except FileNotFoundError:
        raise _no_devpts() from None
    finally:
        os.close(devpts)
    try:
        if size is not None:
            pty.set_size(master, *size)
        return Console(master, pty.open_slave(master))
    except BaseException:
        os.close(master)
        raise


def make_in_own_root(process: dict[str, Any]) -> Console | None:
    """As `make`, for a command that enters a container: its root is ours. None: it wants none."""
    if not process.get("terminal"):
        return None
    root = os.open("/", os.O_PATH | os.O_CLOEXEC)
    try:
        return make(root, size_of(process))
    finally:
        os.close(root)


def _no_devpts() -> InvalidInputError:
    return InvalidInputError(
        f"a terminal needs a devpts at {_DEVPTS} in the container; mount one there"
    )


def bind(root_fd: int, slave: int) -> None:
    """Put the slave at /dev/console, as the runtime specification wants it."""
    target = beneath.ensure_file(root_fd, _CONSOLE)
    try:
        km.mount(km.fd_path(slave), km.fd_path(target), None, km.MS_BIND)
    finally:
        os.close(target)


def enter(console: Console) -> None:
    """Become the terminal's session: standard streams and controlling terminal; ends closed."""
    pty.make_controlling(console.slave)
    for target in range(3):
        os.dup2(console.slave, target, inheritable=True)
    os.close(console.slave)
    os.close(console.master)
