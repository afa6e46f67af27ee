"""Fetching the repositories that ADD names, with the host's git and within the build's limits.

Nothing of one is checked out on the host: its objects go to a bare repository of the build's own,
and its files come out of that as a tar, which is extracted inside the step's root. Neither hooks
nor submodules nor the host's configuration of git are looked at.
"""

from __future__ import annotations

import os
import shutil
import subprocess
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from cgagent.concurrency import in_waiting_thread
from cgagent.engine.build.workspace import join_files, wait_for
from cgagent.errors import CgagentError, NotFoundError, UnavailableError, UnsupportedError
from cgagent.images.build.stages import PROXIES

if TYPE_CHECKING:
    import threading
    from pathlib import Path

    from cgagent.engine.build.workspace import Workspace
    from cgagent.images.build.repositories import Repository

_JOIN: Final = 'while [ "$1" != -- ]; do echo 0 > "$1" || exit; shift; done; shift; exec "$@"'
"""For a shell: to be in the cgroup of these files, and then a program."""
_SETTINGS: Final = {
    "protocol.allow": "never",
    **{f"protocol.{name}.allow": "always" for name in ("git", "http", "https")},
    "http.lowSpeedLimit": "1000",
    "http.lowSpeedTime": "30",
    "tar.umask": "0022",
}
_ENVIRONMENT: Final = {
    "GIT_CONFIG_NOSYSTEM": "1",
    "GIT_CONFIG_GLOBAL": "/dev/null",
    "GIT_TERMINAL_PROMPT": "0",
    "LC_ALL": "C",
}
_WHOLE: Final = "* -export-ignore -export-subst\n"
"""All files as they are, whatever attributes say that an archive is to have."""
_SHOWN: Final = 300


@dataclass(frozen=True, slots=True)
class Cloned:
    commit: str
    archive: Path
    """A plain tar."""


async def clone(workspace: Workspace, what: Repository) -> Cloned:
    """The files of a repository, at its commit.

    Raises:
        UnsupportedError: there is no git.
        NotFoundError: it has no such branch, tag, commit or directory.
        UnavailableError: it cannot be fetched.
    """
    program = shutil.which("git")
    if program is None:
        raise UnsupportedError(
            f"ADD {what.url}: this host has no git; install it, or clone the repository into the "
            "build context"
        )
    async with workspace.worker_group() as group:
        git = _Git(program, what, workspace.fresh("git"), join_files(group))
        return await in_waiting_thread(git.clone)


class _Git:
    def __init__(self, program: str, what: Repository, folder: Path, groups: list[str]) -> None:
        settings = (f"{name}={value}" for name, value in _SETTINGS.items())
        flags = [word for setting in settings for word in ("-c", setting)]
        self._objects = folder / "objects.git"
        self._command = ["sh", "-c", _JOIN, "sh", *groups, "--", program, *flags]
        self._what = what
        self._folder = folder

    def clone(self, stop: threading.Event) -> Cloned:
        what, archive = self._what, self._folder / "files.tar"
        self._run(stop, "init", "--quiet", "--bare", "--template=", str(self._objects))
        (self._objects / "info").mkdir(exist_ok=True)
        (self._objects / "info" / "attributes").write_text(_WHOLE)
        fetched = ("fetch", "--quiet", "--depth=1", "--no-tags", "--", what.url)
        self._run(stop, *fetched, what.ref or "HEAD")
        commit = self._run(stop, "rev-parse", "FETCH_HEAD^{commit}").strip()
        tree = f"{commit}:{what.directory}" if what.directory else commit
        try:
            self._run(stop, "archive", "--format=tar", f"--output={archive}", tree)
        except UnavailableError:
            raise NotFoundError(
                f"ADD {what.url}: it has no directory {what.directory} at {commit[:12]}"
            ) from None
        return Cloned(commit, archive)

    def _run(self, stop: threading.Event, *words: str) -> str:
        """What it prints. Raises CgagentError, StoppedError."""
        told, errors = self._folder / "stdout", self._folder / "stderr"
        given = {name: value for name, value in os.environ.items() if name in PROXIES | {"PATH"}}
        environment = {**given, **_ENVIRONMENT, "HOME": str(self._folder)}
        where = ("--git-dir", str(self._objects)) if words[0] != "init" else ()
        with (
            told.open("wb") as stdout,
            errors.open("wb") as stderr,
            subprocess.Popen(
                [*self._command, *where, *words],
                stdin=subprocess.DEVNULL,
                stdout=stdout,
                stderr=stderr,
                cwd=self._folder,
                env=environment,
            ) as child,
        ):
            try:
                wait_for(child, stop)
            except BaseException:
                child.kill()
                raise
        if child.returncode:
            raise self._failed(errors.read_text(errors="replace"))
        return told.read_text(errors="replace")

    def _failed(self, text: str) -> CgagentError:
        lines = (text.strip() or "git has ended, and does not say why").split("\n")
        if any("couldn't find remote ref" in line or "not our ref" in line for line in lines):
            return NotFoundError(
                f"ADD {self._what.url}: it has no branch, tag or commit {self._what.ref or 'HEAD'}"
            )
        return UnavailableError(
            f"ADD {self._what.url}: cannot be fetched: {lines[-1].removeprefix('fatal: ')[:_SHOWN]}"
        )
