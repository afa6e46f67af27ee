"""Start: limits, the OCI configuration, and the zygote's job."""

from __future__ import annotations

import time
from dataclasses import replace
from typing import TYPE_CHECKING

from cgagent.engine import jobs, logopts, namespaces, userns
from cgagent.engine.bundle import root_mount
from cgagent.engine.container import Outcome
from cgagent.engine.health import Health
from cgagent.engine.launch import OUTSIDE
from cgagent.engine.lifecycle.shared import require_running, require_there
from cgagent.engine.plan import plan
from cgagent.engine.restart_policy import RestartState
from cgagent.engine.runtimes import job
from cgagent.errors import EXIT_CODE, CgagentError, ConflictError
from cgagent.runtime import spec

if TYPE_CHECKING:
    from cgagent.engine.container import Container
    from cgagent.engine.lifecycle.removal import Removal
    from cgagent.engine.lifecycle.shared import Shared
    from cgagent.engine.namespaces import Namespaces


class Starts:
    def __init__(self, shared: Shared, removal: Removal) -> None:
        self._shared = shared
        self._removal = removal

    async def start(self, container: Container) -> None:
        """Run the container's command; one that runs already is left alone.

        Raises:
            CommandNotFoundError, NotExecutableError: the command.
            UnsupportedError: a limit this host cannot hold.
            CgagentError: a step of the set-up failed.
        """
        async with self._shared.jobs.run("start", container=container.id), container.lock:
            require_there(container)
            if container.up:
                return
            container.require_started_here("a start")
            try:
                await self.launch(container, RestartState())
            except CgagentError as e:
                failed = self.failure(container, e)
                self._shared.containers.save(container, replace(container.record, outcome=failed))
                if container.record.options.auto_remove:
                    await self._removal.forget(container)
                raise

    async def launch(self, container: Container, restart: RestartState) -> None:
        """Run it, whatever it was; the lock is held by the caller. Raises as `start` does."""
        pid = await self._launch(container)
        jobs.step("record")
        running = Outcome(
            status="running",
            pid=pid,
            started_ns=time.time_ns(),
            health=Health() if container.record.options.health else None,
        )
        started = replace(container.record, outcome=running, restart=replace(restart, due_ns=None))
        self._shared.containers.note(container, started, "start")
        self._shared.launcher.refill()
        self._shared.on_running(container)

    @staticmethod
    def failure(container: Container, error: CgagentError) -> Outcome:
        """What becomes of one whose start failed so."""
        return Outcome(
            status=container.record.outcome.status,
            exit_code=EXIT_CODE[error.kind],
            error=error.message,
        )

    async def _launch(self, container: Container) -> int:
        record = container.record
        bundle = self._shared.bundle(container.id)
        bundle.clear_exit()
        jobs.step("prepare")
        await self.make_ready(container)
        try:
            jobs.step("configure")
            config = bundle.write_config(
                plan(
                    record,
                    bundle=bundle.path,
                    cgroups=self._shared.launcher.cgroup_mounts(record.cgroup_path),
                    pid_of=self._pid_of,
                    volume_path=self._shared.volumes.path,
                )
            )
            self._shared.launcher.restrict_devices(
                container.id, config["linux"].get("resources", {})
            )
            jobs.step("limit")
            group = self._shared.group(container)
            group.apply(record.limits, new=True)
            # before the first fork that may be refused
            self._shared.watch.begin(container, group, new=True)
            jobs.step("launch")
            driver = self._shared.runtimes.of(container)
            async with userns.opened(record, config, bundle) as (mapped, fds):
                reply = await self._shared.supervisor.request(
                    "start",
                    fds,
                    **(job(driver, container.id, bundle, group) if driver else {}),
                    **mapped,
                    key=container.id,
                    bundle=str(bundle.path),
                    root=str(bundle.root),
                    rootfs=[root_mount(record.rootfs)] if record.rootfs else [],
                    log=logopts.description(record, bundle.log),
                    seccomp=self._shared.filters.path(config["linux"].get("seccomp")),
                    stdin=record.options.stdin,
                    stdin_once=record.options.stdin_once,
                    terminal=record.options.tty,
                )
        except BaseException as e:  # a cancelled start, too, leaves nothing
            self._shared.watch.end(container, self._shared.group(container))
            await self._shared.leave_runtime(container)
            await self._shared.launcher.discard(
                container.id, e if isinstance(e, CgagentError) else None
            )
            raise
        self._shared.launcher.launched(container.id)
        pid: int = reply["pid"]
        return pid

    async def make_ready(self, container: Container) -> None:
        """Cgroup and zygote: what attaching before the start needs."""
        options = container.record.options
        wanted = namespaces.listed(options.namespaces, options.network, self._pid_of)
        outside = self._shared.runtimes.of(container) is not None
        made = OUTSIDE if outside else spec.namespaces(wanted)
        await self._shared.launcher.prepare(container.id, made, options.namespaces.user_ids)
        try:
            self._require_same(options.namespaces)
        except CgagentError as e:
            await self._shared.launcher.discard(container.id, e)
            raise

    def _pid_of(self, container_id: str) -> int:
        """Of a container whose namespace is joined. Raises NotFoundError, ConflictError."""
        other = self._shared.containers.find(container_id)
        require_running(other)
        return other.record.outcome.pid or 0

    def _require_same(self, joined: Namespaces) -> None:
        """A pid can be another process's by now: then what was joined is not what was meant."""
        for other in filter(None, (joined.joined("pid"), joined.joined("ipc"))):
            container = self._shared.containers.find(other)
            if container.record.outcome.pid not in self._shared.group(container).pids():
                raise ConflictError(f"container {container.name} has just ended; start it first")
