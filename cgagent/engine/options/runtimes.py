"""Which OCI runtime makes a container's processes: our own, or a program that the host has.

By name: ``native``, one of the configuration's ``runtimes``, or one of those known here where it is
installed; or by the program's path. Looked up at each use: a program may have been installed since.
``runc``, which is docker's word for its default, is our own where the host has none.
"""

from __future__ import annotations

import os
import shutil
from typing import TYPE_CHECKING, Final

from cgagent.errors import InvalidInputError, NotFoundError, UnsupportedError
from cgagent.runtime.external.program import CGROUPS_DISABLED, Program
from cgagent.runtime.messages.jobs import Launch

if TYPE_CHECKING:
    from pathlib import Path

    from cgagent.cgroups import Group, Host
    from cgagent.config import Settings
    from cgagent.engine.containers.bundle import Bundle
    from cgagent.engine.containers.container import Container

NATIVE: Final = "native"
_KNOWN: Final = ("crun", "runc", "runsc")
_DOCKERS: Final = ("runc", "io.containerd.runc.v2")
_HOST_IMAGE: Final = "host"


class Runtimes:
    """`states` is the directory below which each of them keeps its states."""

    def __init__(self, host: Host, settings: Settings, states: Path) -> None:
        self._host = host
        self._default = settings.default_runtime
        self._configured = settings.runtimes
        self._states = states

    def checked(self, name: str, *, image: str) -> str:
        """What a container's record has: empty for our own.

        Raises:
            InvalidInputError: a name that is not known.
            NotFoundError: it is not installed.
            UnsupportedError: an image that only ours can run.
        """
        chosen = name or self._default
        if chosen == NATIVE or (chosen in _DOCKERS and not self._has(chosen)):
            return ""
        self._find(chosen)
        if image == _HOST_IMAGE:
            raise UnsupportedError(f"runtime {chosen}: image host needs --runtime {NATIVE}")
        return chosen

    def of(self, container: Container) -> Program | None:
        """The program that its processes are made by; None: our own."""
        name = container.record.resolved.runtime
        return self._find(name) if name else None

    def _has(self, name: str) -> bool:
        return name in self._configured or shutil.which(name) is not None

    def _find(self, name: str) -> Program:
        path, *arguments = self._words(name)
        if not os.access(path, os.X_OK) or os.path.isdir(path):
            raise NotFoundError(f"runtime {name}: {path} is not a program; install it")
        states = self._states / name.strip("/").replace("/", "-")
        if os.path.basename(path) == "crun" and self._host.layout == "hybrid":
            arguments = [CGROUPS_DISABLED, *arguments]  # else it refuses to run at all
        return Program(name, path, tuple(arguments), str(states))

    def _words(self, name: str) -> tuple[str, ...]:
        if name in self._configured:
            return self._configured[name]
        if name.startswith("/"):
            return (name,)
        known = ", ".join(sorted({NATIVE, *_KNOWN, *self._configured}))
        if name not in _KNOWN:
            raise InvalidInputError(f"runtime {name!r} is not known; known are {known}, or a path")
        found = shutil.which(name)
        if found is None:
            raise NotFoundError(f"runtime {name} is not installed; install it or give a path")
        return (found,)


def launch(program: Program, container_id: str, bundle: Bundle, group: Group) -> Launch:
    """What a launcher is told beside what every zygote is told."""
    unified = group.unified_dir()
    directories = [*group.v1_dirs(), *([unified] if unified else [])]
    return Launch(
        driver=program.driver,
        container=container_id,
        directory=str(bundle.path),
        join=tuple(f"{directory}/cgroup.procs" for directory in directories),
        hidden=_hidden(program, group),
    )


def _hidden(program: Program, group: Group) -> tuple[str, ...]:
    """Hierarchies that the runtime shall not see: it would make groups that nobody removes."""
    hidden = group.host.mounts_without(group.path)
    if not program.joins_cgroups and group.host.unified:
        hidden.append(group.host.unified.mount)  # crun takes it for a layout it does not know
    return tuple(hidden)
