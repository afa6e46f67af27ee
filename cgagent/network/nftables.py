"""nftables through libnftables, by ctypes: rules as text, each batch whole or not at all.

The program `nft` would be a process for every change (3 ms and more). Nothing reads what the
library prints of rules: that is for people, and its form changes.
"""

from __future__ import annotations

import ctypes
import os
import threading
from functools import cache
from typing import Any, Final

from cgagent.errors import InternalError, UnsupportedError
from cgagent.network import lowfds, netfilter
from cgagent.network.netlink import NetlinkError
from cgagent.network.netns import in_network_of

LIBRARY: Final = "libnftables.so.1"
_GET_GENERATION: Final = 16
_SHOWN: Final = 100


@cache
def _library(file: str) -> ctypes.CDLL:
    try:
        library = ctypes.CDLL(file)
    except OSError as e:
        raise UnsupportedError(
            f"{file} cannot be loaded ({e}); networks need it: install the package "
            "libnftables1 (Debian, Ubuntu), nftables (Fedora, Alpine)"
        ) from None
    prototypes: tuple[tuple[str, Any, list[Any]], ...] = (
        ("nft_ctx_new", ctypes.c_void_p, [ctypes.c_uint32]),
        ("nft_ctx_free", None, [ctypes.c_void_p]),
        ("nft_ctx_buffer_output", ctypes.c_int, [ctypes.c_void_p]),
        ("nft_ctx_buffer_error", ctypes.c_int, [ctypes.c_void_p]),
        ("nft_ctx_get_error_buffer", ctypes.c_char_p, [ctypes.c_void_p]),
        ("nft_run_cmd_from_buffer", ctypes.c_int, [ctypes.c_void_p, ctypes.c_char_p]),
    )
    for name, result, arguments in prototypes:
        function = getattr(library, name)
        function.restype, function.argtypes = result, arguments
    return library


class Nftables:
    """One context of libnftables, with its socket, in one network namespace. Thread-safe."""

    _making: Final = threading.Lock()
    """The library's first context sets up what all of them share."""

    def __init__(self, netns_fd: int | None = None, library: str = LIBRARY) -> None:
        """Load the library, and make sure that it can work.

        Raises:
            UnsupportedError: the library or nf_tables is not there; says what to do.
        """
        self._lock = threading.Lock()
        self._nft = _library(library)
        check_kernel(netns_fd)  # before the library sees it, which ends the process then
        with Nftables._making:
            self._context = self._made(netns_fd)
        if not self._context:
            raise InternalError(
                f"{library} has no memory for a context, or no descriptor below "
                f"{lowfds.FD_SETSIZE}; start the agent again"
            )
        self._nft.nft_ctx_buffer_output(self._context)
        self._nft.nft_ctx_buffer_error(self._context)

    def _made(self, netns_fd: int | None) -> int | None:
        def made() -> int | None:
            context: int | None = lowfds.with_low_socket(
                lambda: self._nft.nft_ctx_new(0), self._nft.nft_ctx_free
            )
            return context

        return made() if netns_fd is None else in_network_of(netns_fd, made)

    def run(self, commands: str) -> None:
        """Execute commands of nft(8)'s, one a line: all of them or none.

        Raises:
            InternalError: names the command and what the kernel or the library says.
        """
        # All in one line: of several, the library shows the first one where any is wrong.
        line = commands.strip().replace("\n", ";")
        with self._lock:
            if self._context is None:
                raise InternalError("nftables: the context is closed")
            if self._nft.nft_run_cmd_from_buffer(self._context, line.encode()) == 0:
                return
            said = self._nft.nft_ctx_get_error_buffer(self._context).decode(errors="replace")
        raise InternalError(_failure(said))

    def close(self) -> None:
        with self._lock:
            context, self._context = self._context, None
            if context is not None:
                self._nft.nft_ctx_free(context)


def check_kernel(netns_fd: int | None) -> None:
    """Make sure that the kernel has nf_tables, and that we may use it.

    Raises:
        UnsupportedError: it has not; we may not.
    """
    asker = netfilter.Socket(netns_fd)
    try:
        asker.ask(netfilter.NFTABLES, _GET_GENERATION, what="ask nf_tables for its generation")
    except NetlinkError as e:
        raise UnsupportedError(
            f"nf_tables of the kernel cannot be used: {os.strerror(e.errno)}; networks need "
            "CONFIG_NF_TABLES (modprobe nf_tables) and CAP_NET_ADMIN"
        ) from e
    finally:
        asker.close()


def _failure(said: str) -> str:
    """The library's message in one line.

    It says the cause, then the line that it was given, then marks the place in that.
    """
    cause, line, marks, *_ = [*said.rstrip().split("\n"), "", ""]
    cause = cause.rpartition("Error: ")[2].removeprefix("Could not process rule: ")
    start, end = len(marks) - len(marks.lstrip()), len(marks)
    command = line[line.rfind(";", 0, start) + 1 :].partition(";")[0].strip()
    if len(command) > _SHOWN:
        command = f"{command[:_SHOWN]}..."
    return f"nftables: {command!r}: {cause[:1].lower()}{cause[1:]}, at {line[start:end]!r}"
