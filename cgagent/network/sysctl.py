"""Settings below /proc/sys/net of one network namespace."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Final, TypeVar

from cgagent.cgroups.files import lines
from cgagent.errors import UnsupportedError
from cgagent.network.netns import in_network_of

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

T = TypeVar("T")

_ROOT: Final = Path("/proc/sys/net")
_IPV6_ROUTES: Final = Path("/proc/thread-self/net/ipv6_route")
_FLAGS, _INTERFACE = 8, 9
_RTF_ADDRCONF: Final = 0x40000


def inside(netns_fd: int | None, work: Callable[[], T]) -> T:
    """What `work` returns, which sees the settings of that namespace, or of this process's."""
    return work() if netns_fd is None else in_network_of(netns_fd, work)


def read(name: str) -> str | None:
    """Of the calling thread's namespace, such as ``ipv4/ip_forward``; None: there is none."""
    try:
        return (_ROOT / name).read_text().strip()
    except FileNotFoundError:
        return None


def switch(wanted: Mapping[str, str]) -> tuple[str, ...]:
    """Make settings of the calling thread's namespace what is wanted.

    Returns:
        What was not so before, as sysctl(8) has it: ``net.ipv4.ip_forward=1``.

    Raises:
        FileNotFoundError: there is none of that name.
        UnsupportedError: it cannot be written; names the command for the host.
    """
    switched = []
    for name, value in wanted.items():
        if read(name) == value:
            continue
        try:
            (_ROOT / name).write_text(value)
        except FileNotFoundError:
            raise
        except OSError as e:
            raise UnsupportedError(
                f"{spelled(name)} cannot be set to {value}: {e.strerror}; "
                f"run on the host: sysctl -w {spelled(name)}={value}"
            ) from e
        switched.append(f"{spelled(name)}={value}")
    return tuple(switched)


def spelled(name: str) -> str:
    """As sysctl(8) has it; a dot in an interface's name is a slash there."""
    return "net." + name.replace(".", "\0").replace("/", ".").replace("\0", "/")


def taught_by_routers() -> set[str]:
    """Interfaces of the calling thread's namespace with IPv6 routes that routers have announced."""
    try:
        table = lines(_IPV6_ROUTES.read_text())
    except FileNotFoundError:  # no IPv6
        return set()
    fields = (line.split() for line in table)
    return {f[_INTERFACE] for f in fields if int(f[_FLAGS], 16) & _RTF_ADDRCONF}
