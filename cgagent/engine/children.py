"""Children that do one thing for the agent in a bare interpreter: started, killed, waited for.

Asyncio alone may take a child's exit status. `Process.kill`, and giving up a start halfway, ask
`subprocess` for it (Python 3.11, mended in 3.13.2); whoever comes second then learns of a status of
255 and says so in the log. So a start is always gone through with here, and kill(2) is called.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import sys
from typing import TYPE_CHECKING, Any

from cgagent import bare
from cgagent.concurrency import to_its_end

if TYPE_CHECKING:
    from asyncio.subprocess import Process

_READ_BYTES = 1 << 18


def watch_by_pidfd() -> None:
    """In the event loop, before its first child: a child's number is its own until it is told of.

    Python 3.11 would have a thread for each child, which reaps it at any time.
    """
    if sys.version_info < (3, 12):
        watcher = asyncio.PidfdChildWatcher()
        watcher.attach_loop(asyncio.get_running_loop())
        asyncio.set_child_watcher(watcher)


def reap_those_of_before() -> None:
    """Take the exit status of each child that is there: this process has just started itself anew.

    Supervisor and names process are children of an agent, if it has started them.
    """
    with open("/proc/thread-self/children", encoding="ascii") as file:
        for pid in map(int, file.read().split()):
            _reap_at_its_end(pid)


def _reap_at_its_end(pid: int) -> None:
    loop = asyncio.get_running_loop()
    fd = os.pidfd_open(pid)

    def reap() -> None:
        loop.remove_reader(fd)
        os.close(fd)
        os.waitpid(pid, 0)

    loop.add_reader(fd, reap)


async def spawn(module: str, *arguments: str, **options: Any) -> Process:
    """`options` are those of `asyncio.create_subprocess_exec`. The caller sees to its end."""
    started: list[Process] = []

    async def start() -> None:
        command = bare.command(module, *arguments)
        started.append(await asyncio.create_subprocess_exec(*command, cwd="/", **options))

    try:
        await to_its_end(start())
    except BaseException:
        for child in started:
            await end(child)
        raise
    return started[0]


async def end(child: Process) -> None:
    """Kills it if it still runs, and waits for its end."""
    if child.returncode is None:
        with contextlib.suppress(ProcessLookupError):
            os.kill(child.pid, signal.SIGKILL)
    if child.stdout is not None:  # has to be empty before the child counts as ended
        while await child.stdout.read(_READ_BYTES):
            pass
    await child.wait()
