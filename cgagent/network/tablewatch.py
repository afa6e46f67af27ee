"""Whether somebody else has changed our table of nf_tables, as the kernel tells of every change."""

from __future__ import annotations

import errno
from typing import Final

from cgagent.network import netfilter

_GROUP_NFTABLES: Final = 7
_NEW_RULE: Final = 6
_NEW_GENERATION: Final = 15
_TABLE: Final = 1
"""The attribute with the table's name: the same in messages about all that is in a table."""


class TableWatch:
    """Hears of changes from when it is made. Not thread-safe."""

    def __init__(self, netns_fd: int | None, table: str) -> None:
        """Listen.

        Args:
            netns_fd: the namespace's; None: this process's.
            table: its name, of family inet.
        """
        self._sock = netfilter.Socket(netns_fd, group=_GROUP_NFTABLES)
        self._table = table.encode()
        self._mark: bytes | None = None
        self._us: int | None = None
        self._changed = False

    def fileno(self) -> int:
        return self._sock.fileno()

    def expect(self, mark: str) -> None:
        """We are about to make the table anew, with a rule that carries this text.

        Who makes that rule first is us, and what was changed before does not matter any more.
        Somebody may have saved the rules, and load them later: that is a change.
        """
        self._mark = mark.encode()

    def changed(self) -> bool:
        """Whether the table is not as we left it, as far as that is known without a list."""
        try:
            for event in self._sock.events():
                self._hear(event)
        except OSError as e:
            if e.errno != errno.ENOBUFS:
                raise
            self._changed = True  # perhaps
        return self._changed

    def _hear(self, event: netfilter.Answer) -> None:
        if event.subsystem != netfilter.NFTABLES or event.number == _NEW_GENERATION:
            return
        if event.family != netfilter.INET:
            return
        if event.attributes().get(_TABLE, b"").rstrip(b"\0") != self._table:
            return
        if self._mark and event.number == _NEW_RULE and self._mark in event.body:
            self._us = event.port
            self._mark = None
            self._changed = False
        elif event.port != self._us:
            self._changed = True

    def close(self) -> None:
        self._sock.close()
