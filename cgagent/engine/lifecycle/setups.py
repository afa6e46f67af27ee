"""Setting up: everything about a container that comes before its command and its streams.

Its zygote, OCI configuration and limits. For a usual container that is done when it is made, while
whoever made it is on the way to start it; for any other at its start. A usual one is of this host's
files only what is the same at any time: a path, a device or another container may be another one by
the time of the start.
"""

from __future__ import annotations

import asyncio
import contextlib
from typing import TYPE_CHECKING, Any

from cgagent.concurrency import in_thread, to_its_end
from cgagent.engine import jobs
from cgagent.engine.containers.bundle import root_mount
from cgagent.engine.containers.names import new_id
from cgagent.engine.lifecycle import log_target
from cgagent.engine.lifecycle.pool import OUTSIDE, OWN, Configured, PrewarmedRoot
from cgagent.engine.lifecycle.shared import require_running
from cgagent.engine.options import namespaces
from cgagent.engine.options.confinement import seccomp_choice
from cgagent.engine.options.plan import plan
from cgagent.errors import (
    CgagentError,
    ConflictError,
    InvalidInputError,
    UnsupportedError,
)
from cgagent.runtime import spec
from cgagent.runtime.messages.jobs import ContainerJob, Streams
from cgagent.runtime.seccomp import default as seccomp

if TYPE_CHECKING:
    from cgagent.engine.containers.container import Container, Record
    from cgagent.engine.lifecycle.pool import Namespaces
    from cgagent.engine.lifecycle.shared import Shared
    from cgagent.engine.options.namespaces import Namespaces as Joined


class Setups:
    def __init__(self, shared: Shared) -> None:
        self._shared = shared

    async def ready(self, container: Container) -> None:
        """Cgroup and zygote: what attaching before the start needs."""
        record = container.record
        self._shared.groups.require_open(record.cgroup_path, f"container {record.name}")
        shared = record.resolved.namespaces
        pool = self._shared.pool
        await pool.make_ready(container.id, self._namespaces(record), shared.user_ids)
        try:
            self._require_same(shared)
        except CgagentError as e:
            await pool.discard(container.id, e)
            raise

    def configure_ahead(self, record: Record) -> bool:
        """Configure a usual container when it is made, and let its zygote prepare.

        Returns whether its limits are held now.

        What fails here fails at the start again, and is told then; but for limits, of which the
        kernel is the judge.

        Raises:
            InvalidInputError, UnsupportedError: a limit that the kernel refuses.
        """
        made = None
        with contextlib.suppress(CgagentError):
            made = self._configured_ahead(record)
        if made is None:
            return False
        jobs.step("limit")
        try:
            self._limit(record, made)
        except (InvalidInputError, UnsupportedError):
            raise
        except CgagentError:  # its group is gone: the supervisor is, too
            return False
        return True

    async def try_limits(self, record: Record, *, is_step: bool = False) -> None:
        """Write its limits to a group that is made for it, below its parent, and removed, 3 ms.

        One below another parent than our own is made even if there are no limits, unless the
        agent has made that parent for a build.

        Raises:
            InvalidInputError, UnsupportedError: the kernel refuses one.
            CgagentError: no group can be made below that parent.
        """
        limits, parent = record.group_limits, record.resolved.cgroup_parent
        if not dict(limits) and (is_step or not parent):
            return
        parents = self._shared.parents
        group = self._shared.placement.group(parents.below(parent, new_id()))
        made = parents.make(group, trial=True)
        try:
            await in_thread(lambda _: group.apply(limits, new=True))
        finally:
            own = () if parent else made  # another parent goes by its note alone
            await to_its_end(asyncio.to_thread(group.remove, made=own))
            parents.prune()

    def _configured_ahead(self, record: Record) -> Configured | None:
        pool = self._shared.pool
        if not (self._is_usual(record) and pool.is_ready(record.id, self._namespaces(record))):
            return None
        jobs.step("configure")
        made = self._configured(record)
        if not pool.root_fits(record.id, made.config):
            return None
        if pool.rooted(record.id) is None:
            self._write(record, made)
            pool.prepare(record.id, made, self.streams(record))
        else:  # it has read what it needs
            pool.prepare(record.id, made, self.streams(record))
            self._write(record, made)
        return made

    def can_prewarm(self, record: Record) -> bool:
        """Can one like it be made, as far as its command, before it is there?

        A terminal is its own; with capped IO the end of one that nobody wants takes long, as it
        unmounts its root; and a root that is a copy of the image is not made in vain.
        """
        try:
            is_usual = self._is_usual(record) and self._namespaces(record) == OWN
        except CgagentError:  # it shares with another container, which does not run
            return False
        caps_io = record.limits.io_max or record.limits.conf
        is_quick = self._shared.images.storage.driver.is_quick
        return is_quick and is_usual and not record.config.tty and not caps_io

    def rooted(self, record: Record) -> PrewarmedRoot:
        """What is made of it before it is there."""
        config = self._config(record)
        return PrewarmedRoot(record=record, config=config, job=self._job(record, config))

    def streams(self, record: Record) -> Streams:
        """What the supervisor is told of them. A log's entries may have the container's name."""
        return Streams(
            log=log_target.description(record, self._shared.bundle(record.id).log),
            stdin=record.config.stdin,
            stdin_once=record.config.stdin_once,
            terminal=record.config.tty,
        )

    async def undo(self, container: Container) -> None:
        """What was done ahead, so that nobody has the root mounted.

        Raises:
            ConflictError: a client that is attached would lose the process it waits for.
        """
        pool = self._shared.pool
        if pool.configured(container.id) or pool.rooted(container.id):
            await self.unready(container)

    async def unready(self, container: Container) -> None:
        """Cgroup and zygote of one that does not run: it is to have others at its start.

        Raises:
            ConflictError: a client that is attached would lose the process it waits for.
        """
        if not await self._shared.pool.give_up(container.id):
            raise ConflictError(
                f"a client is attached to container {container.name} and waits for its start; "
                f"start it first (cgagent start {container.name})"
            )

    async def finished(self, container: Container) -> Configured:
        """The rest, of one that is `ready`: all of it, or what has changed since it was made."""
        record = container.record
        made = self._shared.pool.configured(container.id)
        if made is None or made.resolved is not record.resolved:
            made = await self._anew(container, made)
        if made.limits is not record.limits_in_force:
            jobs.step("limit")
            self._limit(record, made)
        return made

    async def renewed(self, container: Container) -> Configured:
        """All of it once more, with a new zygote; clients that are attached stay."""
        await self._shared.pool.replace(container.id)
        await self.ready(container)
        return await self.finished(container)

    async def _anew(self, container: Container, before: Configured | None) -> Configured:
        jobs.step("configure")
        made = self._configured(container.record)
        self._write(container.record, made)
        pool = self._shared.pool
        if before is not None and before.config == made.config:
            made.limits = before.limits
        elif before is not None or not pool.root_fits(container.id, made.config):
            await pool.replace(container.id)
            await self.ready(container)
            made = self._configured(container.record)
        resources = made.config["linux"].get("resources", {})
        self._shared.placement.restrict_devices(container.id, resources)
        return made

    def _is_usual(self, record: Record) -> bool:
        config, resolved = record.config, record.resolved
        return not (
            resolved.runtime
            or resolved.cgroup_parent
            or resolved.mounts
            or config.devices
            or config.device_cgroup_rules
            or config.privileged
        )

    def _namespaces(self, record: Record) -> Namespaces:
        resolved = record.resolved
        if resolved.runtime:
            return OUTSIDE
        shared = namespaces.listed(resolved.namespaces, self._pid_of)
        return spec.namespaces(shared)

    def _pid_of(self, container_id: str) -> int:
        """Of a container whose namespace is joined. Raises NotFoundError, ConflictError."""
        other = self._shared.containers.find(container_id)
        require_running(other)
        return other.record.outcome.pid or 0

    def _require_same(self, joined: Joined) -> None:
        """A pid can be another process's by now: then what was joined is not what was meant."""
        for other in filter(None, map(joined.joined, namespaces.JOINABLE)):
            container = self._shared.containers.find(other)
            if container.record.outcome.pid not in self._shared.group(container).pids():
                raise ConflictError(f"container {container.name} has just ended; start it first")

    def _configured(self, record: Record) -> Configured:
        """For the zygote that it has now."""
        rooted = self._shared.pool.rooted(record.id)
        if rooted is None:
            config = self._config(record)
            job = self._job(record, config)
            return Configured(resolved=record.resolved, config=config, job=job)
        before = rooted.record
        is_same = (before.config, before.resolved) == (record.config, record.resolved)
        config = rooted.config if is_same else self._config(record)
        return Configured(
            resolved=record.resolved,
            config=config,
            job=rooted.job.replace(process=config["process"]),
            limits=before.limits,
        )

    def _write(self, record: Record, made: Configured) -> None:
        self._shared.bundle(record.id).write_config(made.config)

    def _config(self, record: Record) -> dict[str, Any]:
        endpoints = self._shared.networks.endpoints
        return spec.build(
            plan(
                record,
                bundle=self._shared.bundle(record.id).path,
                cgroups=self._shared.placement.mounts(record.cgroup_path),
                pid_of=self._pid_of,
                volume_path=self._shared.volumes.path,
                network=endpoints.made(record.id) if record.resolved.runtime else None,
            )
        )

    def _job(self, record: Record, config: dict[str, Any]) -> ContainerJob:
        """What a zygote needs to know beside it."""
        bundle = self._shared.bundle(record.id)
        thrown_away = record.config.auto_remove or record.resolved.is_step
        rootfs = (root_mount(record.rootfs, thrown_away=thrown_away),) if record.rootfs else ()
        return ContainerJob(
            bundle=str(bundle.path),
            root=str(bundle.root),
            rootfs=rootfs,
            seccomp=self._shared.filters.path(config["linux"].get("seccomp")),
            filter_is_usual=seccomp_choice(record.config) == seccomp.DEFAULT,
            process=self._discreet(record.id, config["process"]),
        )

    def _discreet(self, container_id: str, process: dict[str, Any]) -> dict[str, Any] | None:
        """The process with the secrets of a build's step, which its configuration has not."""
        secrets = self._shared.secrets.get(container_id)
        if not secrets:
            return None
        names = {item.partition("=")[0] for item in secrets}
        others = (item for item in process["env"] if item.partition("=")[0] not in names)
        return {**process, "env": [*others, *secrets]}

    def _limit(self, record: Record, made: Configured) -> None:
        wanted = record.limits_in_force
        if made.limits != wanted:
            group = self._shared.placement.group(record.cgroup_path)
            group.apply(record.group_limits, new=made.limits is None)
        made.limits = wanted
