"""How processes end that are somebody else's children, heard as it happens: the process connector.

For kernels before 6.15, where a pidfd does not tell (`cgagent.kernel.pidfd`). ``PROC_EVENT_EXIT``,
since 2.6.15; needs CAP_NET_ADMIN and the host's own pid, network and user namespaces.
"""

from __future__ import annotations

import array
import errno
import os
import socket
import struct
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Collection

_NETLINK_CONNECTOR: Final = 11
_CN_IDX_PROC, _CN_VAL_PROC = 1, 1
_LISTEN: Final = 1
_EVENT_EXIT: Final = 0x80000000
# nlmsghdr: length, type, flags, sequence, port; cn_msg: idx, val, seq, ack, length, flags;
# proc_event: what, cpu, time; of an exit: thread, process, status
_NETLINK_HEAD: Final = struct.Struct("=IHHII")
_CONNECTOR_HEAD: Final = struct.Struct("=IIIIHH")
_EXIT: Final = struct.Struct("=IIQIII")
_WHAT_AT: Final = _NETLINK_HEAD.size + _CONNECTOR_HEAD.size
_PROCESS_AT: Final = _WHAT_AT + 20
_NLMSG_DONE: Final = 3
_SO_ATTACH_FILTER: Final = 26
_SO_RCVBUFFORCE: Final = 33
_ROOM_BYTES: Final = 1 << 20
# classic BPF
_LOAD_WORD, _JUMP_IF_EQUAL, _RETURN = 0x20, 0x15, 0x06
_INSTRUCTION_BYTES: Final = 8
_ALL: Final = 0xFFFFFFFF
_MAX_FILTERED: Final = 1000
"""Two instructions each: below BPF_MAXINSNS and net.core.optmem_max."""


class Exits:
    """Owns a socket, readable when a process that is followed has ended: then `read`."""

    def __init__(self) -> None:
        """Listen from now on.

        Raises:
            OSError: the kernel has no connector, or not for us.
        """
        kind = socket.SOCK_DGRAM | socket.SOCK_NONBLOCK
        self._sock = socket.socket(socket.AF_NETLINK, kind, _NETLINK_CONNECTOR)
        try:
            self._sock.setsockopt(socket.SOL_SOCKET, _SO_RCVBUFFORCE, _ROOM_BYTES)
            self.follow(())
            self._sock.bind((0, _CN_IDX_PROC))
            self._ask(_LISTEN)
        except BaseException:
            self._sock.close()
            raise

    def fileno(self) -> int:
        return self._sock.fileno()

    def follow(self, pids: Collection[int]) -> None:
        """Hear of these; the kernel throws away the rest before we are woken.

        Of too many for a filter the others are heard as well.
        """
        program = [
            (_LOAD_WORD, 0, 0, _WHAT_AT),
            (_JUMP_IF_EQUAL, 1, 0, socket.htonl(_EVENT_EXIT)),  # a load is in network order
            (_RETURN, 0, 0, 0),
            (_LOAD_WORD, 0, 0, _PROCESS_AT),
        ]
        if len(pids) > _MAX_FILTERED:
            program.append((_RETURN, 0, 0, _ALL))
        else:
            for pid in pids:
                program += [(_JUMP_IF_EQUAL, 0, 1, socket.htonl(pid)), (_RETURN, 0, 0, _ALL)]
            program.append((_RETURN, 0, 0, 0))
        code = array.array("B", b"".join(struct.pack("=HBBI", *line) for line in program))
        address, size = code.buffer_info()
        described = struct.pack("@HP", size // _INSTRUCTION_BYTES, address)
        self._sock.setsockopt(socket.SOL_SOCKET, _SO_ATTACH_FILTER, described)

    def _ask(self, operation: int) -> None:
        body = struct.pack("=I", operation)
        head = _CONNECTOR_HEAD.pack(_CN_IDX_PROC, _CN_VAL_PROC, 0, 0, len(body), 0)
        size = _NETLINK_HEAD.size + len(head) + len(body)
        self._sock.send(_NETLINK_HEAD.pack(size, _NLMSG_DONE, 0, 0, os.getpid()) + head + body)

    def read(self) -> dict[int, int]:
        """By pid, as wait(2) has it: how those that have ended since the last call did.

        A process may be heard of before its end, when its first thread ends before the others:
        what is heard last is right. What there was no room for is lost.
        """
        found: dict[int, int] = {}
        while True:
            try:
                packet, (sender, _) = self._sock.recvfrom(4096)
            except BlockingIOError:
                return found
            except OSError as e:
                if e.errno != errno.ENOBUFS:
                    raise
                continue
            if sender == 0:  # the kernel
                _, _, _, _, pid, status = _EXIT.unpack_from(packet, _WHAT_AT)
                found[pid] = status

    def close(self) -> None:
        self._sock.close()
