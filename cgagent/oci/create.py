"""The parent side of `create` and `exec`: a cgroup, a process in it, and hearing what became of it.

Whatever fails, nothing is left: no directory, no cgroup, no process.
"""

from __future__ import annotations

import contextlib
import os
import socket
import stat
import time
from contextlib import ExitStack
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any

from cgagent.cgroups import Host
from cgagent.errors import ConflictError, InternalError, InvalidInputError
from cgagent.kernel import namespaces, seccomp, userns
from cgagent.messages import wire
from cgagent.oci import config as oci_config
from cgagent.oci import init, store
from cgagent.runtime import OCI_VERSION
from cgagent.runtime.container import birth, hooks, process, steps
from cgagent.runtime.container.isolation import Isolation
from cgagent.runtime.container.isolation import mappings as of_container
from cgagent.runtime.messages.children import REPORTS, Go, Made, Waiting
from cgagent.runtime.messages.outcomes import Failed
from cgagent.runtime.spec import resources

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from cgagent.cgroups import Group
    from cgagent.messages.record import Message

_KILL_S = 10.0


@dataclass(frozen=True, slots=True, kw_only=True)
class CreateFlags:
    """The flags that `create`, `run` and `exec` share."""

    console_socket: str | None = None
    pid_file: str | None = None
    preserved: int = 0
    warn: Callable[[str], None]


def create(entry: store.Entry, bundle: str, flags: CreateFlags) -> tuple[store.State, Child]:
    """Everything up to the user's program, which `lifecycle.start` lets run.

    Raises:
        CgagentError: the container could not be made; nothing of it is left.
    """
    config = oci_config.load(bundle)
    if config.get("process") is None:
        raise InvalidInputError("config.json has no process")
    isolation = Isolation.from_oci(config["linux"].get("namespaces") or ())
    oci_config.leave_out_ungrantable(config["process"], isolation, flags.warn)
    host = Host.detect()
    path = oci_config.cgroup_path(config, entry.id)
    if config.get("hooks"):
        hooks.preload()
    entry.make()
    with _undone_on_failure(entry.remove), entry.locked():
        group = host.group(path)
        if group.exists() and group.has_pids():
            raise ConflictError(f"cgroup {path} has processes in it; choose another cgroupsPath")
        entry.begin(path, ())
        made = _made(entry, group.create())
        entry.begin(path, made)
        with _undone_on_failure(lambda: group.remove(made=made)):
            wanted = config["linux"].get("resources") or {}
            group.restrict_devices(resources.device_rules(wanted))
            if wanted.keys() - {"devices"}:
                group.apply(resources.limits(wanted))
            oci_config.expand_cgroup_mounts(config, host, path)
            return _make_process(entry, config, bundle, group, flags, made=made)


def _made(entry: store.Entry, made: tuple[str, ...]) -> tuple[str, ...]:
    """With those above that were made for another container: the last one out removes them."""
    others = store.cgroups_made(os.path.dirname(entry.path))
    return (*made, *(o for o in others if any(m.startswith(o + "/") for m in made)))


@contextlib.contextmanager
def _undone_on_failure(undo: Any) -> Iterator[None]:
    try:
        yield
    except BaseException:
        undo()
        raise


def _make_process(
    entry: store.Entry,
    config: dict[str, Any],
    bundle: str,
    group: Group,
    flags: CreateFlags,
    *,
    made: tuple[str, ...],
) -> tuple[store.State, Child]:
    rootfs = oci_config.rootfs(config, bundle)
    created = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())
    annotations = config.get("annotations") or {}
    told = {
        "ociVersion": OCI_VERSION,
        "id": entry.id,
        "bundle": bundle,
        "annotations": annotations,
    }
    isolation = Isolation.from_oci(config["linux"].get("namespaces") or ())
    with ExitStack() as stack:
        plan = init.Plan(
            config=config,
            bundle=bundle,
            rootfs=rootfs,
            state=told,
            join_files=group.join_files(),
            isolation=isolation,
            join=isolation.open(stack),
            seccomp=None,
            seccomp_flags=seccomp.flags_of(config["linux"].get("seccomp")),
            preserved=flags.preserved,
            console_socket=console_socket(config["process"], flags, stack),
            start_socket=_start_socket(entry, stack),
            host_mounts=_own_mounts(isolation, stack),
            bind_at=None if "mount" in isolation.own else entry.make_root_mount(),
            trees=_open_trees(config, bundle, rootfs, isolation, stack),
        )
        child = spawn(plan, group)
        with _undone_on_failure(child.kill):
            program = filter_of(config)  # 20 ms, in which the child waits for the cgroup anyway
            child.expect(Made)
            if isolation.is_user_private:
                _map_ids(child.pid, config, isolation)
            for kind in ("prestart", "createRuntime"):
                hooks.run(config, kind, {**told, "status": "creating", "pid": child.pid})
            wire.send(child.sock, Go(), _memory(program, stack))
            child.expect(Waiting)
            state = store.State(
                id=entry.id,
                pid=child.pid,
                pid_start=store.process_start(child.pid) or "",
                bundle=bundle,
                rootfs=rootfs,
                created=created,
                cgroup_path=group.path,
                cgroup_made=made,
                annotations=annotations,
            )
            entry.save_config(config)
            entry.save(state)
            write_pid_file(flags.pid_file, child.pid)
            return state, child


def _own_mounts(isolation: Isolation, stack: ExitStack) -> int | None:
    """Our mount namespace, for a child that has a copy of it and the power to go there."""
    if "mount" not in isolation.own or isolation.is_user_private:
        return None
    fd = os.open("/proc/self/ns/mnt", os.O_RDONLY | os.O_CLOEXEC)
    stack.callback(os.close, fd)
    return fd


def _memory(program: bytes | None, stack: ExitStack) -> list[int]:
    """A memfd with the filter, which is too large for a packet; none for none."""
    if program is None:
        return []
    fd = os.memfd_create("seccomp", os.MFD_CLOEXEC)
    stack.callback(os.close, fd)
    os.write(fd, program)
    return [fd]


def _open_trees(
    config: dict[str, Any], bundle: str, rootfs: str, isolation: Isolation, stack: ExitStack
) -> dict[int, int]:
    """The mounts that the child has no power to open."""
    setup = steps.Setup(config, [], rootfs, bundle)
    trees = {}
    for place, tree in steps.open_trees(setup, _user_namespace(config, isolation, stack)):
        stack.callback(os.close, tree)
        trees[place] = tree
    return trees


def _user_namespace(config: dict[str, Any], isolation: Isolation, stack: ExitStack) -> int | None:
    """One with the container's mappings, for mounts that are to have the same."""
    if not any(steps.is_id_mapped(entry) for entry in config.get("mounts") or ()):
        return None
    mappings = of_container(config["linux"], "linux")
    if "user" in isolation.own and mappings:
        fd = userns.carrier(mappings)
        stack.callback(os.close, fd)
        return fd
    return dict(isolation.open(stack)).get(namespaces.CLONE_NEWUSER)


def _map_ids(pid: int, config: dict[str, Any], isolation: Isolation) -> None:
    mappings = of_container(config["linux"], "linux")
    if "user" in isolation.own and mappings:
        mappings.write(pid)
    give_stdio_to_root_of(pid)


def give_stdio_to_root_of(pid: int) -> None:
    """Pipes become the property of a user namespace's root, who gives them to the user."""
    uid, gid = userns.root_of(pid)
    for fd in range(3):
        if stat.S_ISFIFO(os.fstat(fd).st_mode):
            os.fchown(fd, uid, gid)


class Child(birth.Born):
    """Its descriptors stay open as long as this process, which is not long."""

    __slots__ = ()

    def expect(self, report: type[Message]) -> None:
        """Wait until it says so.

        Raises:
            CgagentError: what it failed with.
        """
        received = wire.receive(self.sock, *REPORTS)
        if received is None:
            raise InternalError(
                "the container's process died while it was set up; "
                "a memory or pids limit may be too small for that"
            )
        said, _ = received
        if isinstance(said, Failed):
            raise said.why.error()
        if not isinstance(said, report):
            raise InternalError(f"the container's process said {said} and not {report.__name__}")

    def expect_end(self) -> None:
        """Wait until the command is running.

        Raises:
            CgagentError: it could not be executed.
        """
        received = wire.receive(self.sock, Failed)
        if received is not None:
            raise received[0].why.error()


def spawn(plan: init.Plan, group: Group) -> Child:
    """A process in its cgroup and, as far as clone makes them, its namespaces."""
    namespaces.set_nondumpable()
    if plan.isolation.is_user_private:
        process.prepare_outside(plan.config["process"])  # ours, and inherited
    beyond = plan.enter_pidfd is None and plan.isolation.is_user_private
    joined = dict(plan.join).get(namespaces.CLONE_NEWPID, plan.enter_pidfd)
    born = birth.spawn(
        partial(_clone, plan, beyond),
        lambda sock: init.run(sock, plan),
        cgroup_dir=group.unified_dir(),
        pid_namespace=None if beyond else joined,
    )
    return Child(born.pid, born.pidfd, born.sock)


def _clone(plan: init.Plan, beyond: bool, cgroup_fd: int | None) -> tuple[int, int]:
    flags = plan.isolation.clone_flags if plan.enter_pidfd is None else 0
    if not beyond:
        return namespaces.clone(flags, cgroup_fd)
    joins = sorted(plan.join, key=lambda j: j[0] == namespaces.CLONE_NEWUSER)
    return userns.clone_beyond(joins, flags, cgroup_fd)


def filter_of(config: dict[str, Any]) -> bytes | None:
    """The compiled system call filter."""
    profile = config["linux"].get("seccomp")
    return seccomp.compile_filter(profile) if profile else None


def console_socket(
    wanted: dict[str, Any], flags: CreateFlags, stack: ExitStack
) -> socket.socket | None:
    """Raises InvalidInputError: a terminal and a socket for it belong together."""
    if bool(wanted.get("terminal")) != bool(flags.console_socket):
        raise InvalidInputError("process.terminal and --console-socket belong together")
    if not flags.console_socket:
        return None
    sock = stack.enter_context(socket.socket(socket.AF_UNIX))
    try:
        sock.connect(flags.console_socket)
    except OSError as e:
        raise InvalidInputError(
            f"console socket {flags.console_socket}: {os.strerror(e.errno or 0).lower()}"
        ) from None
    return sock


def _start_socket(entry: store.Entry, stack: ExitStack) -> socket.socket:
    sock = stack.enter_context(socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET))
    with store.short_path(entry.path) as directory:  # a socket's path is bounded to 107 bytes
        sock.bind(f"{directory}/{store.START_SOCKET}")
    sock.listen(1)
    return sock


def write_pid_file(path: str | None, pid: int) -> None:
    """Whole or not at all: whoever waits for it may look at any moment."""
    if path is None:
        return
    new = os.path.join(os.path.dirname(path), f".{os.path.basename(path)}")
    with open(new, "w", encoding="ascii") as f:
        f.write(str(pid))
    os.rename(new, path)
