"""After a restart: what the database says, what the supervisor has, and what the kernel holds.

The database may be behind (the agent was killed in the middle of a change), the supervisor may be
gone (a reboot), and cgroups, directories and roots may be left of changes that were never kept.
"""

from __future__ import annotations

import asyncio
import logging
import os
import shutil
import time
from dataclasses import replace
from typing import TYPE_CHECKING, Final

from cgagent.engine.containers.bundle import EXEC_FILES, Bundle, ahead_dir
from cgagent.engine.containers.container import Outcome
from cgagent.engine.containers.names import ID_LENGTH
from cgagent.engine.options.health import Health
from cgagent.errors import CgagentError
from cgagent.runtime.messages.outcomes import Exit
from cgagent.runtime.protocol import State

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from cgagent.cgroups import Group, Host
    from cgagent.engine.containers.container import Container
    from cgagent.engine.containers.registry import Containers
    from cgagent.engine.lifecycle import Lifecycle
    from cgagent.engine.lifecycle.parents import Parents
    from cgagent.engine.lifecycle.resources import Resources
    from cgagent.runtime.client import Tasks

log = logging.getLogger(__name__)

_ALIVE: Final = frozenset({State.RUNNING, State.STARTING})
_SETTLE_S: Final = 0.5
LOST: Final = Exit(
    exit_code=137, error="its supervisor and keeper ended without telling the exit code"
)


async def reconcile(
    containers: Containers,
    lifecycle: Lifecycle,
    tasks: Tasks,
    *,
    at_start: bool,
) -> None:
    """Make every container's state true. `tasks` is what the supervisor has.

    `at_start`: of this agent, so that nobody waits any more for a run that it does not know of.
    """
    # What `tasks` says is true now, before the first await: after it, exits have been told.
    running = {t.key: t for t in tasks if t.state in _ALIVE}
    ended = [c for c in containers if c.running and not c.record.adopted and c.id not in running]
    for container in containers:
        if not container.running and container.id in running:
            _note_running(containers, container, running[container.id].pid)
        elif not container.running and _has_run_unnoted(container, lifecycle):
            _note_running(containers, container, None)
            ended.append(container)
    for container in ended:
        exit_ = lifecycle.bundle(container.id).take_exit()
        await lifecycle.exited(container, exit_ or LOST)
    for container in containers:
        if container.running or container.record.adopted:
            continue
        half_removed = not lifecycle.bundle(container.id).path.exists()
        outcome = container.record.outcome
        is_over = outcome.status == "exited" or (at_start and outcome.of_run)
        if half_removed or (is_over and container.record.config.auto_remove):
            try:
                await lifecycle.remove(container, force=True)
            except CgagentError as e:  # the agent starts all the same
                log.error("container %s cannot be removed: %s", container.name, e.message)  # noqa: TRY400


def _has_run_unnoted(container: Container, lifecycle: Lifecycle) -> bool:
    """Did it start and end while there was no agent to note either?"""
    if container.record.adopted:
        return False
    exit_ = lifecycle.bundle(container.id).take_exit()
    return exit_ is not None and exit_.finished_ns != container.record.outcome.finished_ns


def _note_running(containers: Containers, container: Container, pid: int | None) -> None:
    """It was started, and the agent died before it could note that down."""
    health = Health() if container.record.resolved.health else None
    record, now_ns = container.record, time.time_ns()
    outcome = Outcome(
        status="running",
        pid=pid,
        started_ns=now_ns,
        health=health,
        boost_until_ns=record.boost_until_ns(now_ns),
    )
    restart = replace(record.restart, due_ns=None, held=False)
    containers.save(container, replace(record, outcome=outcome, restart=restart), "start")


async def sweep(
    containers: Containers,
    resources: Resources,
    host: Host,
    parents: Parents,
    containers_dir: Path,
    *,
    tasks: Tasks,
    set_apart: Callable[[str], None],
) -> None:
    """Remove what belongs to no container: directories, roots, cgroups of none that runs.

    A row is written before the record beside it and deleted after that is blanked, so what has
    neither is half-made or half-removed. Nothing is touched of what runs: by `tasks`, which are the
    supervisor's, or as its group has processes. Directories that are not ours are left alone.
    """
    known = {c.id for c in containers}
    await asyncio.to_thread(_forget_execs, containers_dir, known)
    alive = {t.key for t in tasks if t.state in _ALIVE}
    running = {c.id for c in containers if c.running}
    for container_id in await asyncio.to_thread(_unknown, containers_dir, known):
        path = _cgroup_path(Bundle(containers_dir, container_id)) or parents.path(container_id)
        group = host.group(path)
        if container_id in alive or await asyncio.to_thread(_has_processes, group):
            alive.add(container_id)
            log.warning("container %s runs, and there is no record of it", container_id)
        elif containers.is_damaged(container_id):
            set_apart(container_id)
        else:
            directory = containers_dir / container_id
            await asyncio.to_thread(shutil.rmtree, directory, ignore_errors=True)
    await resources.sweep(known | alive)
    await asyncio.to_thread(shutil.rmtree, ahead_dir(containers_dir), ignore_errors=True)
    left = {path for top in (parents.own, *parents.kept()) for path in _containers_in(host, top)}
    left |= {c.record.cgroup_path for c in containers}
    for path in left - {c.record.cgroup_path for c in containers if c.id in running}:
        try:
            await asyncio.to_thread(host.group(path).remove, 0.5)
        except CgagentError as e:  # somebody's processes are in it: not ours to end
            log.warning("cgroup %s of no running container is left alone: %s", path, e.message)
    parents.prune(trials=True)


def _containers_in(host: Host, path: str) -> list[str]:
    """Paths of the groups right below one that can be containers'."""
    names = host.group(path).children()
    return [f"{path.rstrip('/')}/{name}" for name in names if len(name) == ID_LENGTH]


def _cgroup_path(bundle: Bundle) -> str:
    """Of a container that there is no record of: what its last start was told."""
    try:
        return str(bundle.read_config()["linux"]["cgroupsPath"])
    except (OSError, ValueError, LookupError, TypeError):
        return ""


def _forget_execs(containers_dir: Path, known: set[str]) -> None:
    """Commands that an earlier agent was about to run, with their environment."""
    for container_id in known:
        for path in (containers_dir / container_id).glob(EXEC_FILES):
            path.unlink(missing_ok=True)


def _has_processes(group: Group) -> bool:
    """Also after a moment: those of a container that was being made have been killed."""
    deadline = time.monotonic() + _SETTLE_S
    while True:
        try:
            if not group.has_pids():
                return False
        except CgagentError:  # it is gone
            return False
        if time.monotonic() > deadline:
            return True
        time.sleep(0.02)


def _unknown(containers_dir: Path, known: set[str]) -> list[str]:
    if not containers_dir.exists():
        return []
    names = os.listdir(containers_dir)
    return [name for name in names if name not in known and len(name) == ID_LENGTH]
