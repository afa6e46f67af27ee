"""Network namespaces as descriptors: a thread joins one, or makes one, and ends there."""

from __future__ import annotations

import os
import threading
from typing import TYPE_CHECKING, TypeVar

from cgagent.errors import NotFoundError
from cgagent.kernel.namespaces import CLONE_NEWNET, setns, unshare

if TYPE_CHECKING:
    from collections.abc import Callable

T = TypeVar("T")


def make() -> int:
    """A new one, which lives as long as this descriptor, or a process or a link in it."""

    def work() -> int:
        unshare(CLONE_NEWNET)
        return os.open("/proc/thread-self/ns/net", os.O_RDONLY | os.O_CLOEXEC)

    return _in_a_thread(work)


def opened(path: str) -> int:
    """A descriptor of the one that is this file, such as that of a process.

    Raises:
        NotFoundError: it is gone: the process has ended.
    """
    try:
        return os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    except (FileNotFoundError, ProcessLookupError):
        raise NotFoundError(f"network namespace {path} is gone: its container has ended") from None


def in_network_of(descriptor: int, work: Callable[[], T]) -> T:
    """What `work` returns, or raises, in a thread that has joined this network namespace.

    The thread ends with it, so no thread of ours is ever left in another namespace. Sockets that it
    makes stay in there; /proc/sys/net is that namespace's for it. Costs 0.06 ms.
    """

    def joined() -> T:
        setns(descriptor, CLONE_NEWNET)
        return work()

    return _in_a_thread(joined)


def _in_a_thread(work: Callable[[], T]) -> T:
    returned: list[T] = []
    raised: list[BaseException] = []

    def run() -> None:
        try:
            returned.append(work())
        except BaseException as e:  # noqa: BLE001 # it is the caller's
            raised.append(e)

    thread = threading.Thread(target=run, name="in-network")
    thread.start()
    thread.join()
    if raised:
        try:
            raise raised[0]
        finally:
            raised.clear()  # no cycle of traceback and frame
    return returned[0]
