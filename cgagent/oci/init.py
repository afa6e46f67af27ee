"""The child side of `create` and `exec`: what becomes the container's process.

    parent (create)                              child
      │  clone, into the namespaces and the cgroup │
      │<────────────────────── Made ──────────────│  cgroup joined, namespaces made
      │  prestart and createRuntime hooks          │
      │─────────────────────── Go ────────────────>│  every step; the console is sent away
      │<────────────────────── Waiting ────────────│  or Failed; only exec is left
      │                                            │  accepts one connection on the start socket
    parent (start)                                 │
      │─────────────────────── Go ────────────────>│  startContainer hooks, exec
      │<────────────────────── the end ────────────│  or Failed

A child whose parent goes away before it is `Waiting` ends. `exec` has no `Made` and no start
socket.
"""

from __future__ import annotations

import os
import socket
from dataclasses import dataclass, field
from typing import Any, Final, NoReturn

from cgagent.errors import InternalError
from cgagent.kernel import descriptors, namespaces, signals, userns
from cgagent.kernel.joining import join_cgroup
from cgagent.messages import wire
from cgagent.runtime.container import birth, command, console, hooks, process, steps
from cgagent.runtime.container.isolation import FLAGS, Isolation
from cgagent.runtime.messages.children import Go, Made, Waiting

_PTMX: Final = b"/dev/ptmx"


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """Everything the child needs, prepared while it was still the parent."""

    config: dict[str, Any]
    bundle: str
    rootfs: str
    state: dict[str, Any]
    """For hooks; its pid is filled in."""
    join_files: tuple[str, ...]
    isolation: Isolation
    join: tuple[tuple[int, int], ...]
    seccomp: bytes | None
    """Of an exec; a container's comes later."""
    seccomp_flags: int
    preserved: int
    """Descriptors from 3 on that the command gets."""
    console_socket: socket.socket | None
    start_socket: socket.socket | None
    enter_pidfd: int | None = None
    enter_root: int | None = None
    """The root of a container whose mount namespace is not its own."""
    host_mounts: int | None = None
    bind_at: str | None = None
    """Both as in `steps.Setup`."""
    trees: dict[int, int] = field(default_factory=dict)
    """As in `steps.Setup`."""


def run(sock: socket.socket, plan: Plan) -> NoReturn:
    """Never returns: becomes the command or exits."""
    birth.live(sock, lambda reporter: _live(reporter, plan))


def _live(report: birth.Reporter, plan: Plan) -> NoReturn:
    signals.reset_all()
    os.setsid()
    descriptors.close_all_but(_kept(report.sock, plan))
    report("join the cgroup")
    # beyond a user namespace nothing of ours can be joined: that has been done
    join = () if plan.isolation.is_user_private else plan.join
    join_cgroup(plan.join_files)
    spec = plan.config["process"]
    outside = process.Outside.prepare(spec)
    report("make namespaces")
    if plan.enter_pidfd is None:
        birth.own_namespaces(plan.isolation.own, join)
        program, terminal = _set_up(report, plan)
    else:
        program, terminal = plan.seccomp, _enter(report, plan, plan.enter_pidfd)
    if terminal is not None:
        _give_away(report, plan, terminal)
    process.run(
        spec,
        process.settle(spec, report, makes_directory=plan.enter_pidfd is None),
        report,
        ready=lambda: _ready(report, plan),
        outside=outside,
        seccomp_filter=program,
        seccomp_flags=plan.seccomp_flags,
        preserved=plan.preserved,
    )


def _kept(sock: socket.socket, plan: Plan) -> set[int]:
    ours = (sock, plan.console_socket, plan.start_socket)
    kept = {*range(3 + plan.preserved), *(fd for _, fd in plan.join), *plan.trees.values()}
    kept |= {s.fileno() for s in ours if s is not None}
    return kept | {
        fd for fd in (plan.enter_pidfd, plan.enter_root, plan.host_mounts) if fd is not None
    }


def _set_up(report: birth.Reporter, plan: Plan) -> tuple[bytes | None, console.Console | None]:
    """The container's; the filter of system calls comes with the word to go on."""
    wire.send(report.sock, Made())
    came = _wait_for_go(report)
    program = _read_memory(came[0]) if came else None
    setup = steps.Setup(
        plan.config,
        [],
        plan.rootfs,
        plan.bundle,
        state=plan.state,
        trees=plan.trees,
        origin_mounts=plan.host_mounts,
        bind_at=plan.bind_at,
    )
    birth.set_up_container(setup, report)
    return program, setup.console


def _enter(report: birth.Reporter, plan: Plan, pidfd: int) -> console.Console | None:
    process.set_affinity(plan.config["process"], "final")
    report("join the container's namespaces")
    namespaces.setns(pidfd, flags_of(plan.isolation))
    if plan.enter_root is not None:
        os.fchdir(plan.enter_root)
        os.chroot(".")
        os.close(plan.enter_root)
    if plan.isolation.is_user_private:
        userns.become_root()
    report("make a terminal")
    return console.make_in_own_root(plan.config["process"])


def flags_of(isolation: Isolation) -> int:
    """The flags of the namespaces that are not the host's, but for pid: one is born into that."""
    return sum(FLAGS[kind] for kind in isolation.private - {"pid"})


def _give_away(report: birth.Reporter, plan: Plan, terminal: console.Console) -> None:
    report("send the console away")
    if plan.console_socket is None:
        raise InternalError("a terminal was asked for without a console socket")
    socket.send_fds(plan.console_socket, [_PTMX], [terminal.master])
    plan.console_socket.close()
    console.enter(terminal)


def _ready(report: birth.Reporter, plan: Plan) -> None:
    spec = plan.config["process"]
    if plan.start_socket is None:
        wire.send(report.sock, Waiting())
        return
    command.require_executable(spec)
    wire.send(report.sock, Waiting())
    report("wait for the start")
    connection, _ = plan.start_socket.accept()
    plan.start_socket.close()
    report.sock = connection
    _wait_for_go(report)
    hooks.run(
        plan.config, "startContainer", {**plan.state, "status": "created", "pid": os.getpid()}
    )


def _wait_for_go(report: birth.Reporter) -> list[int]:
    """The descriptors that came with it."""
    received = wire.receive(report.sock, Go)
    if received is None:  # the parent gave up
        os._exit(birth.FAILED)
    return received[1]


def _read_memory(fd: int) -> bytes:
    with open(fd, "rb") as file:
        file.seek(0)
        return file.read()
