"""The child side of `create` and `exec`: what becomes the container's process.

    parent (create)                              child
      │  clone, into the namespaces and the cgroup │
      │<────────────────────── {"made": true} ─────│  cgroup joined, namespaces made
      │  prestart and createRuntime hooks          │
      │─────────────────────── {"go": true} ──────>│  every step; the console is sent away
      │<────────────────────── {"ready": true} ────│  or {kind, message}; only exec is left
      │                                            │  accepts one connection on the start socket
    parent (start)                                 │
      │─────────────────────── {"go": true} ──────>│  startContainer hooks, exec
      │<────────────────────── the end ────────────│  or {kind, message}

A child whose parent goes away before ``ready`` ends. `exec` has no ``made`` and no start socket.
"""

from __future__ import annotations

import gc
import os
import socket
from dataclasses import dataclass, field
from typing import Any, Final, NoReturn

from cgagent.errors import EXIT_CODE, CgagentError, InternalError
from cgagent.kernel import descriptors, namespaces, signals, userns
from cgagent.runtime import wire
from cgagent.runtime.container import command, console, hooks, process, steps, zygote
from cgagent.runtime.container.isolation import FLAGS, Isolation
from cgagent.runtime.protocol import error_to_wire

MADE: Final = {"made": True}
READY: Final = {"ready": True}
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


class _Voice:
    """Where a failure is told: to `create`, later to `start`."""

    def __init__(self, sock: socket.socket) -> None:
        self.sock = sock
        self.doing = "start"

    def __call__(self, step: str) -> None:
        self.doing = step

    def tell(self, error: CgagentError) -> None:
        try:
            wire.send(self.sock, error_to_wire(error))
        except OSError:  # nobody listens, or a filter forbids it: the exit code has to say it
            os._exit(EXIT_CODE[error.kind])


def run(sock: socket.socket, plan: Plan) -> NoReturn:
    """Never returns: becomes the command or exits."""
    voice = _Voice(sock)
    gc.disable()  # nothing may ask the kernel for memory or give it back after the filter
    try:
        _live(voice, plan)
    except CgagentError as e:
        voice.tell(e)
    except OSError as e:
        voice.tell(zygote.from_os_error(voice.doing, e))
    except BaseException as e:  # noqa: BLE001 - a fork must not unwind into the parent's code
        voice.tell(InternalError(f"{voice.doing}: {type(e).__name__}: {e}"))
    os._exit(zygote.FAILED)


def _live(voice: _Voice, plan: Plan) -> NoReturn:
    signals.reset_all()
    os.setsid()
    descriptors.close_all_but(_kept(voice.sock, plan))
    voice("join the cgroup")
    # beyond a user namespace nothing of ours can be joined: that has been done
    join = () if plan.isolation.is_user_private else plan.join
    where = zygote.Surroundings(plan.join_files, plan.isolation.own, join)
    zygote.join_cgroup(where)
    spec = plan.config["process"]
    outside = process.Outside.prepare(spec)
    voice("make namespaces")
    if plan.enter_pidfd is None:
        zygote.own_namespaces(where)
        program, terminal = _set_up(voice, plan)
    else:
        program, terminal = plan.seccomp, _enter(voice, plan, plan.enter_pidfd)
    if terminal is not None:
        _give_away(voice, plan, terminal)
    process.run(
        spec,
        process.settle(spec, voice, makes_directory=plan.enter_pidfd is None),
        voice,
        ready=lambda: _ready(voice, plan),
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


def _set_up(voice: _Voice, plan: Plan) -> tuple[bytes | None, console.Console | None]:
    """The container's; the filter of system calls comes with the word to go on."""
    wire.send(voice.sock, MADE)
    came = _wait_for_go(voice)
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
    zygote.set_up_container(setup, voice)
    return program, setup.console


def _enter(voice: _Voice, plan: Plan, pidfd: int) -> console.Console | None:
    process.set_affinity(plan.config["process"], "final")
    voice("join the container's namespaces")
    namespaces.setns(pidfd, flags_of(plan.isolation))
    if plan.enter_root is not None:
        os.fchdir(plan.enter_root)
        os.chroot(".")
        os.close(plan.enter_root)
    if plan.isolation.is_user_private:
        userns.become_root()
    voice("make a terminal")
    return console.make_in_own_root(plan.config["process"])


def flags_of(isolation: Isolation) -> int:
    """The flags of the namespaces that are not the host's, but for pid: one is born into that."""
    return sum(FLAGS[kind] for kind in isolation.private - {"pid"})


def _give_away(voice: _Voice, plan: Plan, terminal: console.Console) -> None:
    voice("send the console away")
    if plan.console_socket is None:
        raise InternalError("a terminal was asked for without a console socket")
    socket.send_fds(plan.console_socket, [_PTMX], [terminal.master])
    plan.console_socket.close()
    console.enter(terminal)


def _ready(voice: _Voice, plan: Plan) -> None:
    spec = plan.config["process"]
    if plan.start_socket is None:
        wire.send(voice.sock, READY)
        return
    command.require_executable(spec)
    wire.send(voice.sock, READY)
    voice("wait for the start")
    connection, _ = plan.start_socket.accept()
    plan.start_socket.close()
    voice.sock = connection
    _wait_for_go(voice)
    hooks.run(
        plan.config, "startContainer", {**plan.state, "status": "created", "pid": os.getpid()}
    )


def _wait_for_go(voice: _Voice) -> list[int]:
    """The descriptors that came with it."""
    received = wire.receive(voice.sock)
    if received is None:  # the parent gave up
        os._exit(zygote.FAILED)
    return received[1]


def _read_memory(fd: int) -> bytes:
    with open(fd, "rb") as file:
        file.seek(0)
        return file.read()
