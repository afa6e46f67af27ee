"""What is known of each container between two calls: a directory below ``--root``.

``state.json`` is written when the container is there, and ``config.json`` is a copy: what
happens to the bundle's later does not matter. ``start`` is the socket of a first process that
waits; while it is there, the container is ``created``. A lock keeps two calls about one container
apart.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import json
import os
import re
import shutil
import signal
from typing import TYPE_CHECKING, Any, Final, Literal

from cgagent.errors import ConflictError, InvalidInputError, NotFoundError
from cgagent.messages.record import Record
from cgagent.runtime import OCI_VERSION
from cgagent.runtime.protocol import CONFIG_FILE

if TYPE_CHECKING:
    from collections.abc import Iterator

DEFAULT_ROOT: Final = "/run/cgagent/oci"
START_SOCKET: Final = "start"
_STATE: Final = "state.json"
_BEGUN: Final = "begun.json"
"""What there is before there is a state."""
_LOCK: Final = "lock"
_ROOT_MOUNT: Final = "rootfs"
_ID: Final = re.compile(r"[\w+.-]{1,1024}", re.ASCII)
_STARTTIME: Final = 19  # of /proc/PID/stat, counted after the command's ")"

Status = Literal["created", "running", "stopped", "paused"]


class State(Record):
    """A container as it was created."""

    id: str
    pid: int
    pid_start: str
    """In the kernel's ticks: a later process of the same number has another one."""
    bundle: str
    rootfs: str
    created: str
    cgroup_path: str
    cgroup_made: tuple[str, ...]
    """Directories made for its cgroup, and those above it made for another one still there."""
    annotations: dict[str, str]


class Begun(Record):
    """What a create that is cut short leaves; no process was in the cgroup before."""

    cgroup_path: str
    cgroup_made: tuple[str, ...]


class Entry:
    """One container's directory."""

    def __init__(self, root: str, container_id: str) -> None:
        if not _ID.fullmatch(container_id) or container_id in {".", ".."}:
            raise InvalidInputError(
                f"container id {container_id!r}: letters, digits, and _+-. only"
            )
        self.id = container_id
        self.path = os.path.join(root, container_id)

    def make(self) -> None:
        """Raises ConflictError: the id is taken."""
        root = os.path.dirname(self.path)
        os.makedirs(root, 0o700, exist_ok=True)
        try:
            try:
                os.mkdir(self.path, 0o700)
            except FileNotFoundError:  # the last container has just been deleted, and the root
                os.makedirs(root, 0o700, exist_ok=True)
                os.mkdir(self.path, 0o700)
        except FileExistsError:
            raise ConflictError(
                f"container {self.id} exists; delete it or choose another id"
            ) from None

    @contextlib.contextmanager
    def locked(self) -> Iterator[None]:
        """Raises NotFoundError: no such container."""
        try:
            fd = os.open(f"{self.path}/{_LOCK}", os.O_CREAT | os.O_RDWR | os.O_CLOEXEC, 0o600)
        except FileNotFoundError:
            raise self.missing() from None
        try:
            fcntl.flock(fd, fcntl.LOCK_EX)
            yield
        finally:
            os.close(fd)

    def missing(self) -> NotFoundError:
        return NotFoundError(f"container {self.id} does not exist")

    def begin(self, cgroup_path: str, cgroup_made: tuple[str, ...]) -> None:
        """Note what a create that is cut short leaves."""
        begun = Begun(cgroup_path=cgroup_path, cgroup_made=cgroup_made)
        self._write(_BEGUN, begun.to_json())

    def begun(self) -> Begun | None:
        """None: nothing but our own directory."""
        try:
            return Begun.from_json(self._read(_BEGUN))
        except NotFoundError:
            return None

    def save(self, state: State) -> None:
        self._write(_STATE, state.to_json())

    def save_config(self, config: dict[str, Any]) -> None:
        self._write(CONFIG_FILE, config)

    def _write(self, name: str, value: dict[str, Any]) -> None:
        path = os.path.join(self.path, name)
        with open(path + ".new", "w", encoding="utf-8") as f:
            json.dump(value, f)
        os.rename(path + ".new", path)

    def state(self) -> State:
        """Raises NotFoundError."""
        return State.from_json(self._read(_STATE))

    def config(self) -> dict[str, Any]:
        return self._read(CONFIG_FILE)

    def _read(self, name: str) -> dict[str, Any]:
        try:
            with open(os.path.join(self.path, name), encoding="utf-8") as f:
                value: dict[str, Any] = json.load(f)
        except (FileNotFoundError, NotADirectoryError):
            raise self.missing() from None
        return value

    @property
    def waits(self) -> bool:
        """Whether its first process has not been told to start."""
        return os.path.exists(os.path.join(self.path, START_SOCKET))

    def make_root_mount(self) -> str:
        """A directory for the root of one whose mounts are not in a namespace of its own."""
        path = os.path.join(self.path, _ROOT_MOUNT)
        os.mkdir(path, 0o700)
        return path

    def _end_root_mount(self) -> None:
        """Before anything else is removed: nothing of the root file system may be.

        In another mount namespace the mount goes with the directory.
        """
        path = os.path.join(self.path, _ROOT_MOUNT)
        if not os.path.isdir(path):
            return
        from cgagent.kernel import mount

        try:
            mount.detach(path)
        except OSError as e:
            if e.errno != errno.EINVAL:  # nothing is mounted there
                raise
        os.rmdir(path)

    def remove(self) -> None:
        """Its directory, and the root of states if no other container is in it."""
        self._end_root_mount()
        shutil.rmtree(self.path, ignore_errors=False)
        try:
            os.rmdir(os.path.dirname(self.path))
        except OSError as e:
            if e.errno not in {errno.ENOTEMPTY, errno.ENOENT, errno.EBUSY}:
                raise


@contextlib.contextmanager
def short_path(directory: str) -> Iterator[str]:
    """Another name of a directory, of a few bytes."""
    fd = os.open(directory, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        yield f"/proc/self/fd/{fd}"
    finally:
        os.close(fd)


def entries(root: str) -> Iterator[Entry]:
    with contextlib.suppress(FileNotFoundError):
        for name in sorted(os.listdir(root)):
            if os.path.exists(os.path.join(root, name, _STATE)):
                yield Entry(root, name)


def cgroups_made(root: str) -> set[str]:
    """The directories of cgroups that were made for the containers there are."""
    made: set[str] = set()
    for entry in entries(root):
        with contextlib.suppress(NotFoundError):  # deleted meanwhile
            made.update(entry.state().cgroup_made)
    return made


def process_start(pid: int) -> str | None:
    """When a process began; None if it has ended, reaped or not."""
    try:
        with open(f"/proc/{pid}/stat", encoding="utf-8", errors="replace") as f:
            fields = f.read().rpartition(")")[2].split()
    except (FileNotFoundError, ProcessLookupError):
        return None
    return None if fields[0] in {"Z", "X"} else fields[_STARTTIME]


def is_alive(state: State) -> bool:
    return process_start(state.pid) == state.pid_start


def send(state: State, number: int) -> None:
    """Signal its first process, and no later one of that number.

    Raises:
        ConflictError: it has ended.
    """
    try:
        pidfd = os.pidfd_open(state.pid)
    except ProcessLookupError:
        raise not_running(state.id) from None
    try:
        if not is_alive(state):
            raise not_running(state.id)
        signal.pidfd_send_signal(pidfd, number)
    except ProcessLookupError:
        raise not_running(state.id) from None
    finally:
        os.close(pidfd)


def not_running(container_id: str) -> ConflictError:
    return ConflictError(f"container {container_id} is not running")


def view(state: State, status: str, pid: int | None = None) -> dict[str, Any]:
    """The state as the specification has it, with runc's additions."""
    shown = {
        "ociVersion": OCI_VERSION,
        "id": state.id,
        "pid": (0 if status == "stopped" else state.pid) if pid is None else pid,
        "status": status,
        "bundle": state.bundle,
        "rootfs": state.rootfs,
        "created": state.created,
        "owner": "",
    }
    return {**shown, "annotations": state.annotations}


def read_json(path: str) -> dict[str, Any]:
    """Raises NotFoundError, InvalidInputError."""
    try:
        with open(path, encoding="utf-8") as f:
            value = json.load(f)
    except FileNotFoundError:
        raise NotFoundError(f"{path}: no such file or directory") from None
    except (ValueError, RecursionError) as e:
        raise InvalidInputError(f"{path} is not JSON: {e}") from None
    if not isinstance(value, dict):
        raise InvalidInputError(f"{path} is not a JSON object")
    return value
