"""The groups above containers' groups: the agent's own one, and any other that was asked for.

Another one, and those above it, are made where they are missing. They are noted in a file before
that, and removed again when nothing is left in them, be it by the agent after this one. A group
that was there before is never removed, and one that has a record (a group of containers) stays.
"""

from __future__ import annotations

import json
import os
import re
from contextlib import suppress
from typing import TYPE_CHECKING, Final

from cgagent.cgroups import Membership
from cgagent.engine.containers.names import ID_LENGTH
from cgagent.errors import (
    ConflictError,
    DeniedError,
    InvalidInputError,
    NotFoundError,
    UnsupportedError,
)
from cgagent.kernel.boot import boot_id
from cgagent.store.disk import disk_full_is_no_space

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from pathlib import Path

    from cgagent.cgroups import Group, Host
    from cgagent.engine.containers.registry import Containers

_AN_ID: Final = re.compile(rf"[0-9a-f]{{{ID_LENGTH}}}")


class Parents:
    """Used in the agent's event loop alone: nothing comes between a note and what it is about."""

    def __init__(self, host: Host, containers: Containers, own: str, notes: Path) -> None:
        self._host = host
        self._containers = containers
        self.own = own.rstrip("/") or "/"
        self._own = own.rstrip("/")
        self._file = notes
        self.builds: set[str] = set()
        """Paths of the groups of builds, which are made and removed with these."""
        self.kept: Callable[[], Iterable[str]] = tuple
        """Paths of those that have a record, and stay though nothing is in them."""
        self.complete: Callable[[str], None] = _is_complete
        """Called with a path before its group is made: those above it that have a record are made
        again with their limits, if they have gone."""
        self._made = _noted(notes)

    def path(self, container_id: str) -> str:
        """Of a container's group; of one below our own parent, if there is no container yet."""
        container = self._containers.get(container_id)
        return container.record.cgroup_path if container else self.below("", container_id)

    def below(self, parent: str, container_id: str) -> str:
        """The path of a group; `parent` is empty for our own."""
        return f"{(parent or self._own).rstrip('/')}/{container_id}"

    def checked(self, asked: str, agents: Iterable[int]) -> str:
        """As docker's cgroupfs driver has it: a path; a relative one is below our own parent.

        `agents` are the pids of the agent and of those that outlive it. Empty: our own parent.

        Raises:
            InvalidInputError: it is no clean path.
            DeniedError: it is a container's group or one of the agents', or in one.
        """
        if not asked:
            return ""
        path = asked.rstrip("/") or "/"
        if not path.startswith("/"):
            path = f"{self._own}/{path}"
        try:
            group = self._host.group(path)
        except InvalidInputError as e:
            raise InvalidInputError(
                f"cgroup parent {asked!r}: {e.message.partition(': ')[2]}"
            ) from None
        if _AN_ID.search(path):
            raise DeniedError(
                f"cgroup parent {asked!r} is a container's group or in one: "
                "choose one that no container has"
            )
        if not f"{path}/".startswith(f"{self._own}/"):
            self._refuse_agents(asked, group, agents)
        return "" if path == self._own else path

    def _refuse_agents(self, asked: str, group: Group, agents: Iterable[int]) -> None:
        unified = self._host.unified
        roots = {*([unified.mount] if unified else []), *self._host.v1_mounts}
        wanted = [f"{root}{group.path}/" for root in roots]
        for pid in agents:
            try:
                taken = set(Membership.of(self._host, pid).directories) - roots
            except NotFoundError:  # a supervisor that has just died, and is replaced
                continue
            if any(w.startswith(f"{t}/") for w in wanted for t in taken):
                raise DeniedError(
                    f"cgroup parent {asked!r} is the group of the agent's process {pid} or in it: "
                    "choose another one"
                )

    def make(self, group: Group, *, trial: bool = False) -> tuple[str, ...]:
        """Make a container's group; `trial`: one that is removed again before it is anybody's.

        The directories that were made. Raises as `Group.create` does, and ConflictError: its
        parent is another one that is frozen, in which no start would come to an end.
        """
        parent = os.path.dirname(group.path)
        if parent not in {self._own or "/", *self.builds}:
            if not trial:
                self._require_thawed(parent)
            self.complete(group.path)
            missing = group.missing()
            self._note(self._made | {d for d in missing if trial or not _is_containers(d)})
        return group.create()

    def _require_thawed(self, parent: str) -> None:
        with suppress(NotFoundError, UnsupportedError):  # it is not there yet, or cannot be frozen
            if parent != "/" and self._host.group(parent).frozen_by() is not None:
                raise ConflictError(
                    f"cgroup {parent} is frozen, and nothing can start in it; thaw it first "
                    f"(cgagent cgroup thaw {parent})"
                )

    def make_noted(self, group: Group) -> None:
        """Make a group that is about to have a record, or else is pruned.

        Raises as `Group.create` does.
        """
        self._note(self._made | set(group.missing()))
        group.create()

    def disown(self, group: Group) -> None:
        """Note one that is about to lose its record: it is pruned from then on."""
        self._note(self._made | group.inodes().keys())

    def is_foreign(self, group: Group) -> bool:
        """Whether it is there, and was not made here."""
        there = group.inodes()
        return bool(there) and not self._made & there.keys()

    def prune(self, *, trials: bool = False) -> None:
        """Remove those that were made and that nothing is in.

        With `trials` also groups that an agent's death left in the middle of a trial.
        """
        if not self._made:
            return
        kept = self._kept_directories()
        for directory in sorted(self._made - kept, key=len, reverse=True):
            if trials or not _is_containers(directory):
                try:
                    os.rmdir(directory)
                except OSError:  # something is in it
                    continue
        self._note({d for d in self._made if os.path.isdir(d)})

    def _kept_directories(self) -> set[str]:
        unified = self._host.unified
        roots = {*([unified.mount] if unified else []), *self._host.v1_mounts}
        return {root + path for path in self.kept() for root in roots}

    def _note(self, made: set[str]) -> None:
        if made == self._made:
            return
        with disk_full_is_no_space(f"file {self._file}", self._file):
            new = self._file.with_suffix(".new")
            new.write_text(json.dumps({"boot": boot_id(), "made": sorted(made)}))
            os.replace(new, self._file)
        self._made = made


def _is_complete(path: str) -> None:
    """No group above it has a record."""


def _noted(path: Path) -> set[str]:
    """A reboot has removed all there were: what has such a name now is somebody else's."""
    try:
        value = json.loads(path.read_text())
        return set(value["made"]) if value["boot"] == boot_id() else set()
    except (OSError, ValueError, LookupError, TypeError):
        return set()


def _is_containers(directory: str) -> bool:
    return _AN_ID.fullmatch(os.path.basename(directory)) is not None
