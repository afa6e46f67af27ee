"""The launcher: a zygote that has another runtime make the container's process, and ends.

In the host's namespaces, but for mounts: the container's root is mounted where only the launcher
and the runtime see it, and is gone with them from the host. Told over the socket, before `Ready`:
`Became` with a pidfd, and the terminal's master.
"""

from __future__ import annotations

import json
import os
import socket
import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final, NoReturn

from cgagent.errors import CgagentError, InternalError
from cgagent.kernel import mount as km
from cgagent.kernel import namespaces
from cgagent.messages import wire
from cgagent.runtime.container import mounts
from cgagent.runtime.external import translate
from cgagent.runtime.external.program import Program, remove_log
from cgagent.runtime.messages.jobs import ContainerJob, ExecJob
from cgagent.runtime.messages.zygote import Became, Console, Ready
from cgagent.runtime.protocol import CONFIG_FILE

if TYPE_CHECKING:
    from collections.abc import Callable

    from cgagent.runtime.messages.agent import Start
    from cgagent.runtime.messages.jobs import Launch

FOLDER: Final = "driver"
"""Below the container's directory: the configuration as the runtime gets it."""
_CONSOLE_MESSAGE: Final = 4096
_STDIO: Final = (0, 1, 2)
_LEFT_S: Final = 5.0
_PAUSE_S: Final = 0.005


@dataclass(frozen=True, slots=True)
class _Launch:
    sock: socket.socket
    start: Start
    how: Launch
    program: Program
    folder: str
    progress: Callable[[str], None]
    made: set[int] = field(default_factory=set)
    """The process that is to be the supervisor's, once it is there."""

    @property
    def container_id(self) -> str:
        return self.how.container

    def path(self, name: str) -> str:
        return os.path.join(self.folder, f"{self.start.key.replace('/', '.')}.{name}")


def launch(
    sock: socket.socket, start: Start, how: Launch, progress: Callable[[str], None]
) -> NoReturn:
    """Never returns but by raising: then nothing of it is left."""
    program = Program.of(how.driver)
    folder = os.path.join(how.directory, FOLDER)
    os.makedirs(program.root, 0o700, exist_ok=True)
    os.makedirs(folder, 0o700, exist_ok=True)
    this = _Launch(sock, start, how, program, folder, progress)
    namespaces.set_child_subreaper(take=True)  # what the runtime leaves is ours first: see _reap
    if not program.joins_cgroups:  # then the container's process is born where we are
        _join(this, 0)
    _see_own_mounts(how.hidden)
    try:
        if isinstance(start.job, ExecJob):
            _execute(this, start.job)
        else:
            _create(this, start.job)
    finally:
        for name in ("log", "pid", "console", "process"):
            remove_log(this.path(name))
        _reap(this.made)
    wire.send(sock, Ready())
    os._exit(0)


def _reap(made: set[int]) -> None:
    """Wait for what a runtime left behind, but for the process that is to be the supervisor's.

    An unreaped process of a failed exec would keep the container's pid namespace from ending.
    """
    deadline = time.monotonic() + (0 if made else _LEFT_S)
    while children := _children() - made:
        for pid in children:
            os.waitid(os.P_PID, pid, os.WEXITED | os.WNOHANG)
        if time.monotonic() > deadline:
            return
        time.sleep(_PAUSE_S)


def _children() -> set[int]:
    pid = os.getpid()
    with open(f"/proc/{pid}/task/{pid}/children", encoding="ascii") as f:
        return set(map(int, f.read().split()))


def _create(this: _Launch, job: ContainerJob) -> None:
    this.progress("mount the root file system")
    root = _mount_root(job)
    this.progress("write the runtime's configuration")
    with open(os.path.join(job.bundle, CONFIG_FILE), encoding="utf-8") as f:
        config = json.load(f)
    if job.process is not None:
        config["process"] = job.process
    translated = translate.container(config, root, job.root)
    with open(os.path.join(this.folder, CONFIG_FILE), "w", encoding="utf-8") as f:
        json.dump(translated, f)
    os.close(root)
    this.progress("create")
    try:
        _call(this, "create", "--bundle", this.folder)
        this.program.call(this.path("log"), "start", this.container_id)
    except BaseException:
        _undo(this)
        raise


def _undo(this: _Launch) -> None:
    try:
        this.program.delete(this.container_id)
    except CgagentError:  # what went wrong first says more; the agent tries again
        return


def _execute(this: _Launch, job: ExecJob) -> None:
    root = os.open(f"/proc/{job.pid}/root", os.O_PATH | os.O_CLOEXEC)
    with open(job.process_file, encoding="utf-8") as f:
        process = translate.process(json.load(f), root)
    os.close(root)
    with open(this.path("process"), "w", encoding="utf-8") as f:
        json.dump(process, f)
    _call(this, "exec", "--detach", "--process", this.path("process"))


def _see_own_mounts(hidden: tuple[str, ...]) -> None:
    """The host's mounts of now without some hierarchies; no mount of ours is seen by the host."""
    namespaces.unshare(namespaces.CLONE_NEWNS)
    km.mount(None, "/", None, km.MS_SLAVE | km.MS_REC)
    for hierarchy in hidden:
        km.detach(hierarchy)


def _mount_root(job: ContainerJob) -> int:
    mounts.make_root(list(job.rootfs), job.root)
    return os.open(job.root, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)


def _call(this: _Launch, *words: str) -> None:
    """A command that makes a process; the supervisor is told of it, and of its terminal."""
    listener = _listen(this) if this.start.streams.terminal else None
    flags = ["--pid-file", this.path("pid")]
    if listener is not None:
        flags += ["--console-socket", _short(this, "console")]
    stdio = () if listener is not None else _STDIO
    command, *rest = words
    this.program.call(this.path("log"), command, *flags, *rest, this.container_id, stdio=stdio)
    with open(this.path("pid"), encoding="ascii") as f:
        pid = int(f.read())
    this.made.add(pid)
    pidfd = os.pidfd_open(pid)
    if this.program.joins_cgroups:
        _join(this, pid)
    wire.send(this.sock, Became(pid=pid), [pidfd])
    if listener is not None:
        _pass_console(this, listener)


def _join(this: _Launch, pid: int) -> None:
    """Be in the group in every hierarchy it is in: a runtime may leave out some."""
    for path in this.how.join:
        with open(path, "w", encoding="ascii") as f:
            f.write(str(pid))


def _short(this: _Launch, name: str) -> str:
    """A socket's path is bounded to 107 bytes."""
    fd = os.open(this.folder, os.O_PATH | os.O_DIRECTORY)  # until this process ends
    return f"/proc/{os.getpid()}/fd/{fd}/{os.path.basename(this.path(name))}"


def _listen(this: _Launch) -> socket.socket:
    listener = socket.socket(socket.AF_UNIX)
    listener.bind(_short(this, "console"))
    listener.listen(1)
    return listener


def _pass_console(this: _Launch, listener: socket.socket) -> None:
    listener.setblocking(False)  # it has connected before it ended
    try:
        connection, _ = listener.accept()
    except BlockingIOError:
        raise InternalError(f"runtime {this.program.name} made no terminal") from None
    with connection:
        _, fds, _, _ = socket.recv_fds(connection, _CONSOLE_MESSAGE, 1)
    if not fds:
        raise InternalError(f"runtime {this.program.name} sent no terminal")
    wire.send(this.sock, Console(), fds)
