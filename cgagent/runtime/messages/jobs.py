"""What a zygote is to become: a container's first process, or a command run inside a container.

The agent describes a job to the supervisor, which keeps it until it is done and passes it on.
"""

from __future__ import annotations

from typing import Any

from cgagent.messages.record import Message, Record


class JsonFileLog(Message):
    """Docker's json-file: see `cgagent.runtime.logs.json_file`."""

    path: str
    max_bytes: int | None = None
    """A file that has so many is full."""
    max_files: int = 1
    attributes: dict[str, str] = {}  # noqa: RUF012 - never changed
    compress: bool = False


class JournaldLog(Message):
    """Systemd's journal; these fields go with every entry."""

    fields: dict[str, str]


class Streams(Record):
    """A task's standard streams."""

    log: JsonFileLog | JournaldLog | None = None
    """None: the output goes to attached clients only."""
    stdin: bool = False
    stdin_once: bool = False
    """The input ends with the first client that gave some."""
    terminal: bool = False


class ContainerJob(Message):
    """To become the first process of a container."""

    bundle: str
    """The directory with the OCI configuration."""
    root: str
    """Where the root file system is mounted."""
    rootfs: tuple[dict[str, Any], ...]
    """Its mounts, as an OCI configuration has mounts."""
    seccomp: str | None
    """A file with the compiled filter of system calls."""
    filter_is_usual: bool
    """The filter is known to let the set-up go on after it is loaded."""
    process: dict[str, Any] | None = None
    """Instead of the one in the OCI configuration: for a zygote that is in its root already, and
    with variables that no file has."""


class ExecJob(Message):
    """To become a command inside a container that runs."""

    process_file: str
    """The ``process`` of an OCI configuration."""
    seccomp: str | None
    seccomp_flags: int
    pid: int
    """The container's first process."""


class Driver(Record):
    """Another OCI runtime's program; see `cgagent.runtime.external.program`."""

    name: str
    path: str
    arguments: tuple[str, ...]
    root: str


class Launch(Record):
    """How another OCI runtime is to make the process; the zygote only calls it."""

    driver: Driver
    container: str
    directory: str
    """The container's directory."""
    join: tuple[str, ...]
    """``cgroup.procs`` files of the container's group."""
    hidden: tuple[str, ...]
    """Mounts of hierarchies that the runtime shall not see."""
