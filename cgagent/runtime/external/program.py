"""An OCI runtime's command line: the part that crun, runc and runsc share."""

from __future__ import annotations

import json
import os
import subprocess
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, Self

from cgagent.errors import (
    CgagentError,
    CommandNotFoundError,
    InternalError,
    NotExecutableError,
)
from cgagent.kernel import mount as km
from cgagent.runtime.messages.jobs import Driver

if TYPE_CHECKING:
    from collections.abc import Sequence

CGROUPS_DISABLED: Final = "--cgroup-manager=disabled"
"""crun's."""
_PATH: Final = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
_TIMEOUT_S: Final = 120.0
_MOST_SAID: Final = 1000
_MOST_READ: Final = 65536
_NOT_FOUND: Final = ("executable file not found", "not found in $path", "no such file or directory")
_NOT_EXECUTABLE: Final = (
    "permission denied",
    "operation not permitted",
    "exec format error",
    "is a directory",
)


@dataclass(frozen=True, slots=True)
class Program:
    """`root` is where it keeps states; `arguments` come before all others."""

    name: str
    path: str
    arguments: tuple[str, ...]
    root: str

    @property
    def joins_cgroups(self) -> bool:
        """Whether it puts the container's process into its group, or leaves all groups alone."""
        return CGROUPS_DISABLED not in self.arguments

    @classmethod
    def of(cls, driver: Driver) -> Self:
        return cls(driver.name, driver.path, driver.arguments, driver.root)

    @property
    def driver(self) -> Driver:
        """As it is told to the supervisor."""
        return Driver(name=self.name, path=self.path, arguments=self.arguments, root=self.root)

    def call(self, log: str, *words: str, stdio: Sequence[int] = ()) -> None:
        """Run one command; `stdio` are three descriptors, none: nothing to read or write to.

        Nobody must have read from the last of them yet.

        Raises:
            CommandNotFoundError, NotExecutableError: the container's command.
            InternalError: what it has written to its log or its standard error.
        """
        if not stdio:
            with open(os.memfd_create("stderr"), "wb") as own:
                self.call(log, *words, stdio=(subprocess.DEVNULL, subprocess.DEVNULL, own.fileno()))
            return
        stdin, stdout, stderr = stdio
        flags = ("--root", self.root, "--log", log, "--log-format", "json")
        try:
            done = subprocess.run(
                [self.path, *self.arguments, *flags, *words],
                stdin=stdin,
                stdout=stdout,
                stderr=stderr,
                env={"PATH": _PATH, "LANG": "C.UTF-8"},
                timeout=_TIMEOUT_S,
                check=False,
            )
        except OSError as e:
            reason = os.strerror(e.errno or 0).lower()
            raise InternalError(f"runtime {self.name} ({self.path}): {reason}") from None
        except subprocess.TimeoutExpired:
            raise InternalError(
                f"runtime {self.name}: {words[0]} was not done in {_TIMEOUT_S:g} s"
            ) from None
        if done.returncode:
            said = _last_error(log) or _last_line(stderr) or f"exit status {done.returncode}"
            raise self._failure(words[0], said)

    def _failure(self, command: str, said: str) -> CgagentError:
        text = said.lower()
        message = f"runtime {self.name}: {command}: {said}"
        about_command = "exec" in text and command in {"create", "start", "exec"}
        if about_command and any(part in text for part in _NOT_FOUND):
            return CommandNotFoundError(message)
        if about_command and any(part in text for part in _NOT_EXECUTABLE):
            return NotExecutableError(message)
        return InternalError(message)

    def delete(self, container_id: str) -> None:
        """Let it forget a container, which is killed if it is there; none is fine.

        Raises:
            InternalError: what it said.
        """
        if os.path.isdir(os.path.join(self.root, container_id)):
            log = os.path.join(self.root, f".{container_id}.log")
            try:
                self.call(log, "delete", "--force", container_id)
            finally:
                remove_log(log)


def remove_log(path: str) -> None:
    if os.path.exists(path):
        os.unlink(path)


def _last_line(stderr: int) -> str:
    """Of a pipe that has been written to, or of a file."""
    try:
        fd = os.open(km.fd_path(stderr), os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    except OSError:  # a socket, which cannot be opened
        return ""
    with open(fd, encoding="utf-8", errors="replace") as f:
        try:
            lines = f.read(_MOST_READ).split("\n")
        except BlockingIOError:
            return ""
    return next((line.strip()[:_MOST_SAID] for line in reversed(lines) if line.strip()), "")


def _last_error(log: str) -> str:
    """The message of the last error in a log of JSON lines, on one line."""
    try:
        with open(log, encoding="utf-8", errors="replace") as f:
            lines = f.read().split("\n")
    except FileNotFoundError:
        return ""
    for line in reversed(lines):
        try:
            entry = json.loads(line)
        except ValueError:
            continue
        if isinstance(entry, dict) and entry.get("level") in {"error", "fatal"}:
            return " ".join(str(entry.get("msg")).split())[:_MOST_SAID]
    return ""
