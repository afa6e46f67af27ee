"""What a process's network namespace counts of its interfaces, from /proc/PID/net/dev.

What it says to itself over `lo` is left out, as by cAdvisor and Docker: it is no traffic. Of the
machine's interfaces the ends of containers' are left out, too: their traffic would be there twice.
"""

from __future__ import annotations

import os
from dataclasses import dataclass

_HEADER_LINES = 2
_LOOPBACK = "lo"
OF_CONTAINERS = ("veth", "docker", "br-", "cni", "cg")


@dataclass(frozen=True, slots=True)
class Interface:
    """Counters since the interface was made; fields in the kernel's order."""

    name: str
    receive_bytes: int
    receive_packets: int
    receive_errors: int
    receive_packets_dropped: int
    transmit_bytes: int
    transmit_packets: int
    transmit_errors: int
    transmit_packets_dropped: int
    network: str = ""
    """The name of the network that a container's interface is in, where that is one of ours."""


def read(pid: int) -> tuple[Interface, ...] | None:
    """None for a process that is gone, or that uses the network namespace of this one."""
    try:
        if os.stat(f"/proc/{pid}/ns/net").st_ino == os.stat("/proc/self/ns/net").st_ino:
            return None
        with open(f"/proc/{pid}/net/dev", encoding="utf-8", errors="surrogateescape") as file:
            return parse(file.read())
    except (FileNotFoundError, ProcessLookupError):
        return None


def of_machine() -> tuple[Interface, ...]:
    """Those of this process's own network namespace."""
    with open("/proc/self/net/dev", encoding="utf-8", errors="surrogateescape") as file:
        return parse(file.read(), OF_CONTAINERS)


def parse(text: str, left_out: tuple[str, ...] = ()) -> tuple[Interface, ...]:
    """All but the loopback, and those whose names begin with what is `left_out`."""
    interfaces = []
    for line in filter(None, text.split("\n")[_HEADER_LINES:]):
        name, _, numbers = line.rpartition(":")
        if name.strip() == _LOOPBACK or (left_out and name.strip().startswith(left_out)):
            continue
        counts = list(map(int, numbers.split()))
        interfaces.append(Interface(name.strip(), *counts[:4], *counts[8:12]))  # type: ignore[arg-type] # the last field has its default
    return tuple(interfaces)
