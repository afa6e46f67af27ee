"""Other hosts: network namespaces that the tests make, and cables between them."""

from __future__ import annotations

import itertools
import os
import subprocess
import threading
from contextlib import contextmanager, nullcontext
from typing import TYPE_CHECKING

from cgagent.kernel.namespaces import CLONE_NEWNET, setns, unshare

if TYPE_CHECKING:
    from collections.abc import Iterator

_numbers = itertools.count()
_machines_own: list[int] = []
"""The network namespace that this process was started in, once it has left it."""


def leave_the_machines_network() -> None:
    """Have this process and its children in a network of their own, with a loopback interface.

    Agents of the tests make their bridges and rules there, and their ports meet nobody else's.
    """
    if not _machines_own:
        _machines_own.append(os.open("/proc/thread-self/ns/net", os.O_RDONLY | os.O_CLOEXEC))
        unshare(CLONE_NEWNET)
        subprocess.run(["ip", "link", "set", "lo", "up"], check=True)


def has_left_the_machines_network() -> bool:
    """Is all that is in the network here made by the tests?"""
    return bool(_machines_own)


@contextmanager
def in_the_machines_network() -> Iterator[None]:
    """This thread is where packages can be fetched meanwhile."""
    with _inside(_machines_own[0]) if _machines_own else nullcontext():
        yield


@contextmanager
def _inside(descriptor: int) -> Iterator[None]:
    ours = os.open("/proc/thread-self/ns/net", os.O_RDONLY | os.O_CLOEXEC)
    try:
        setns(descriptor, CLONE_NEWNET)
        try:
            yield
        finally:
            setns(ours, CLONE_NEWNET)
    finally:
        os.close(ours)


class NetworkOf:
    """The network namespace of a process; without one of this thread."""

    def __init__(self, pid: int | None = None) -> None:
        self._file = f"/proc/{pid}/ns/net" if pid else "/proc/thread-self/ns/net"

    @contextmanager
    def inside(self) -> Iterator[None]:
        """This thread is in it meanwhile; sockets that it makes stay there."""
        descriptor = os.open(self._file, os.O_RDONLY | os.O_CLOEXEC)
        try:
            with _inside(descriptor):
                yield
        finally:
            os.close(descriptor)


class Host:
    """A network namespace with its loopback interface up; it goes with its last descriptor.

    With `is_here` it is the one that this thread is in.
    """

    def __init__(self, *, is_here: bool = False) -> None:
        if is_here:
            self.fd = os.open("/proc/thread-self/ns/net", os.O_RDONLY | os.O_CLOEXEC)
            return
        made: list[int] = []

        def make() -> None:  # a thread's namespace is its own
            unshare(CLONE_NEWNET)
            made.append(os.open("/proc/thread-self/ns/net", os.O_RDONLY | os.O_CLOEXEC))

        thread = threading.Thread(target=make)
        thread.start()
        thread.join()
        self.fd = made[0]
        self.run("ip", "link", "set", "lo", "up")

    @contextmanager
    def inside(self) -> Iterator[None]:
        """This thread is in it meanwhile; sockets and processes that it makes stay there."""
        with _inside(self.fd):
            yield

    def run(self, *command: str, stdin: str | None = None) -> str:
        """What a program prints that runs in it.

        Raises:
            AssertionError: it failed.
        """
        pipe = subprocess.PIPE
        done = self.popen(*command, stdin=pipe, stdout=pipe, stderr=pipe)
        out, err = done.communicate(stdin)
        assert done.returncode == 0, f"{command}: {err}"
        return str(out)

    def popen(self, *command: str, **more: object) -> subprocess.Popen[str]:
        with self.inside():
            return subprocess.Popen(command, text=True, **more)  # type: ignore[call-overload,no-any-return]

    def close(self) -> None:
        os.close(self.fd)


def cable(
    one: Host, its_addresses: tuple[str, ...], other: Host, others: tuple[str, ...]
) -> tuple[str, str]:
    """Connect two hosts by a veth pair with these addresses (with their prefix lengths).

    Returns:
        The names of the interface in each.
    """
    number = next(_numbers)
    near, far = f"test{number}a", f"test{number}b"
    one.run(
        *("ip", "link", "add", near, "type", "veth", "peer", "name", far),
        *("netns", f"/proc/{os.getpid()}/fd/{other.fd}"),
    )
    for host, name, addresses in ((one, near, its_addresses), (other, far, others)):
        for address in addresses:
            flags = ("nodad",) if ":" in address else ()
            host.run("ip", "address", "add", address, "dev", name, *flags)
        host.run("ip", "link", "set", name, "up")
    return near, far
