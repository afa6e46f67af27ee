"""A task whose process is made by another runtime: whose child it is, and when."""

from __future__ import annotations

import os
import signal
import socket
import time

from cgagent.kernel import namespaces
from cgagent.runtime import wire
from cgagent.runtime.loop import Loop
from tests.world.keeper import new_task


def launch(sock: socket.socket) -> None:
    """Be a launcher: make the process, tell of it, and stay."""
    namespaces.take_orphans(take=True)
    wire.receive(sock)
    made = os.fork()
    if made:
        wire.send(sock, {"became": made}, [os.pidfd_open(made)])
    time.sleep(60)


def test_a_start_given_up_ends_the_launcher_and_what_it_has_made(kept):
    near, far = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    launcher = os.fork()
    if not launcher:
        try:
            launch(far)
        finally:
            os._exit(1)
    far.close()
    held = kept.holding("task/one")
    fds = {"pidfd": os.pidfd_open(launcher), "zygote": near.detach()}
    held.put(fds, key="one", state="created", pid=launcher)
    loop = Loop()
    task = new_task(held, loop, is_ours=True)
    failures = []
    try:
        task.start({"driver": {}}, [], failures.append)
        while task.pid == launcher:
            loop.run_once(5)
        made = task.pid
        task.abandon({})
    except BaseException:
        os.kill(launcher, signal.SIGKILL)
        raise
    assert not held.exists
    assert [f.kind for f in failures] == ["conflict"]
    assert not [pid for pid in (launcher, made) if os.path.exists(f"/proc/{pid}")]
