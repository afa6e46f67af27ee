"""Create, start, stop, remove: what a container goes through, each change a job.

A failed change leaves nothing half-made. The container's lock is held during each change, so an
exit that comes while a start is being finished is dealt with after it.
"""

from __future__ import annotations

import asyncio
import signal
import time
from dataclasses import replace
from typing import TYPE_CHECKING, Any, Literal

from cgagent.engine import create, limits, logopts, namespaces
from cgagent.engine.bundle import Bundle, root_mount
from cgagent.engine.container import Container, Outcome, Record
from cgagent.engine.names import check_name, random_name
from cgagent.engine.plan import mount_points, plan
from cgagent.engine.watch import oom_view
from cgagent.errors import (
    CgagentError,
    ConflictError,
    DeadlineError,
    NotFoundError,
    UnsupportedError,
)
from cgagent.runtime import spec

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from cgagent.cgroups import Group, Limits
    from cgagent.engine.container import Options
    from cgagent.engine.containers import Containers
    from cgagent.engine.events import Events
    from cgagent.engine.jobs import Jobs
    from cgagent.engine.launch import Launcher
    from cgagent.engine.logopts import LogConfig
    from cgagent.engine.namespaces import Namespaces
    from cgagent.engine.volumes import Volumes
    from cgagent.engine.watch import GroupWatch
    from cgagent.images import Image, Images
    from cgagent.runtime.filters import Filters
    from cgagent.runtime.native import Supervisor
    from cgagent.runtime.spec import MountPoint

_KILL_TIMEOUT_S = 10.0
_MANY = 500

WaitCondition = Literal["not-running", "next-exit", "removed"]


class Lifecycle:
    def __init__(
        self,
        *,
        containers: Containers,
        images: Images,
        volumes: Volumes,
        supervisor: Supervisor,
        launcher: Launcher,
        jobs: Jobs,
        events: Events,
        containers_dir: Path,
        filters: Filters,
        watch: GroupWatch,
        stop_timeout_s: float,
        log_default: LogConfig,
        last_sample: Callable[[Container], None],
        forget_samples: Callable[[str], None],
    ) -> None:
        """`last_sample` takes a final look at a container's cgroup before it is removed."""
        self._containers = containers
        self._images = images
        self._volumes = volumes
        self._supervisor = supervisor
        self._launcher = launcher
        self._jobs = jobs
        self._events = events
        self._dir = containers_dir
        self.filters = filters
        self.watch = watch
        self._stop_timeout_s = stop_timeout_s
        self._log_default = log_default
        self._last_sample = last_sample
        self._forget_samples = forget_samples

    def bundle(self, container_id: str) -> Bundle:
        return Bundle(self._dir, container_id)

    def group(self, container: Container) -> Group:
        return self._launcher.group(container.record.cgroup_path)

    def mount_points(self, container: Container) -> tuple[MountPoint, ...]:
        """What is mounted into it, beside the kernel's own file systems."""
        path = self.bundle(container.id).path
        return mount_points(container.record.options, path, self._volumes.path)

    def publish(self, container: Container, action: str, **attributes: str) -> None:
        self._events.publish(
            "container",
            action,
            container.id,
            name=container.name,
            image=container.record.options.image,
            **attributes,
        )

    # -- create -----------------------------------------------------------------------------

    async def create(self, request: create.Request) -> Container:
        """Make a container of an image; nothing runs yet.

        Raises:
            InvalidInputError, NoSuchImageError, ConflictError (name taken), NoSpaceError.
        """
        async with self._jobs.run("create", image=request.image):
            name = self.choose_name(request.name)
            image = self._images.resolve(request.image)
            held = limits.resolve(request.limits, request.conveniences)
            container_id = await self._launcher.reserve()
            try:
                find = self._containers.find
                options = create.options(
                    request, image.config, container_id, find, self._log_default
                )
                async with self._volumes.held(options.mounts):
                    container = await self._make(container_id, name, image, options, held)
            except BaseException:
                await self._launcher.discard(container_id)
                raise
            self.publish(container, "create")
            return container

    async def _make(
        self, container_id: str, name: str, image: Image, options: Options, held: Limits
    ) -> Container:
        bundle = self.bundle(container_id)
        bundle.make(options)
        try:
            rootfs = self._images.prepare(image, container_id)
            await self._volumes.populate(options.mounts, root_mount(rootfs), str(bundle.root))
            record = Record(
                id=container_id,
                name=name,
                image_id=image.id,
                created_ns=time.time_ns(),
                cgroup_path=self._launcher.cgroup_path(container_id),
                rootfs=rootfs,
                options=options,
                limits=held,
            )
            return self._containers.add(record)
        except BaseException:
            self._images.release(container_id)
            bundle.remove()
            raise

    def choose_name(self, wanted: str | None) -> str:
        """The name wanted, or a free one.

        Raises:
            ConflictError: it is taken.
        """
        if wanted:
            if self._containers.name_taken(check_name(wanted)):
                raise ConflictError(
                    f"container name {wanted!r} is taken; remove that container "
                    f"(cgagent rm {wanted}) or choose another name"
                )
            return wanted
        while self._containers.name_taken(name := random_name()):
            if len(self._containers) > _MANY:  # the names run out: make them longer
                return f"{name}_{time.time_ns():x}"
        return name

    # -- start ------------------------------------------------------------------------------

    async def start(self, container: Container) -> None:
        """Run the container's command; one that runs already is left alone.

        Raises:
            CommandNotFoundError, NotExecutableError: the command.
            UnsupportedError: a limit this host cannot hold.
            CgagentError: a step of the set-up failed.
        """
        async with self._jobs.run("start", container=container.id), container.lock:
            self.require_there(container)
            if container.running:
                return
            container.require_started_here("a start")
            try:
                pid = await self._launch(container)
            except CgagentError as e:
                failed = Outcome(
                    status=container.record.outcome.status,
                    exit_code={"not_executable": 126, "command_not_found": 127}.get(e.kind, 125),
                    error=e.message,
                )
                self._containers.save(container, replace(container.record, outcome=failed))
                if container.record.options.auto_remove:
                    await self.forget(container)
                raise
            running = Outcome(status="running", pid=pid, started_ns=time.time_ns())
            self._containers.note(container, replace(container.record, outcome=running))
        self.publish(container, "start")
        self._launcher.refill()

    async def _launch(self, container: Container) -> int:
        record = container.record
        bundle = self.bundle(container.id)
        bundle.clear_exit()
        await self.make_ready(container)
        try:
            config = bundle.write_config(
                plan(
                    record,
                    bundle=bundle.path,
                    cgroups=self._launcher.cgroup_mounts(record.cgroup_path),
                    pid_of=self._pid_of,
                    volume_path=self._volumes.path,
                )
            )
            self._launcher.restrict_devices(container.id, config["linux"].get("resources", {}))
            group = self.group(container)
            group.apply(record.limits)
            self.watch.begin(container, group)  # before the first fork that may be refused
            reply = await self._supervisor.request(
                "start",
                key=container.id,
                bundle=str(bundle.path),
                root=str(bundle.root),
                rootfs=[root_mount(record.rootfs)] if record.rootfs else [],
                log=logopts.description(record, bundle.log),
                seccomp=self.filters.path(config["linux"].get("seccomp")),
                stdin=record.options.stdin,
                stdin_once=record.options.stdin_once,
                terminal=record.options.tty,
            )
        except BaseException as e:  # a cancelled start, too, leaves nothing
            self.watch.end(container, self.group(container))
            await self._launcher.discard(container.id, e if isinstance(e, CgagentError) else None)
            raise
        self._launcher.launched(container.id)
        pid: int = reply["pid"]
        return pid

    async def make_ready(self, container: Container) -> None:
        """Cgroup and zygote: what attaching before the start needs."""
        options = container.record.options
        wanted = namespaces.listed(options.namespaces, options.network, self._pid_of)
        await self._launcher.prepare(container.id, spec.namespaces(wanted))
        try:
            self._require_same(options.namespaces)
        except CgagentError as e:
            await self._launcher.discard(container.id, e)
            raise

    def _pid_of(self, container_id: str) -> int:
        """Of a container whose namespace is joined. Raises NotFoundError, ConflictError."""
        other = self._containers.find(container_id)
        self.require_running(other)
        return other.record.outcome.pid or 0

    def _require_same(self, joined: Namespaces) -> None:
        """A pid can be another process's by now: then what was joined is not what was meant."""
        for other in filter(None, (joined.joined("pid"), joined.joined("ipc"))):
            container = self._containers.find(other)
            if container.record.outcome.pid not in self.group(container).pids():
                raise ConflictError(f"container {container.name} has just ended; start it first")

    # -- the end ----------------------------------------------------------------------------

    async def exited(self, container: Container, status: dict[str, Any]) -> None:
        """The first process has ended, as told by the supervisor or its exit file."""
        async with container.lock:
            if not container.running:
                if not self._launcher.is_ready(container.id):  # noted by an agent killed right then
                    await self._supervisor.request("forget", key=container.id)
                return
            pids = (status.get("pid"), container.record.outcome.pid)
            if None not in pids and pids[0] != pids[1]:
                return  # the exit of an earlier run, told twice
            group = self.group(container)
            oom = self.watch.end(container, group)
            outcome = replace(
                container.record.outcome,
                status="exited",
                pid=None,
                exit_code=status.get("exit_code"),
                finished_ns=status.get("finished_ns", time.time_ns()),
                oom_killed=oom is not None or _was_oom_killed(group),
                oom=None if oom is None else oom_view(oom),
                error=status.get("error"),
                log_dropped_bytes=status.get("log_dropped_bytes", 0),
            )
            # Told at once: the cgroup's removal may take its time, and a start waits for the lock.
            self._containers.note(container, replace(container.record, outcome=outcome))
            self.publish(container, "die", exit_code=str(outcome.exit_code))
            await self._bury(container, group)
            await self._supervisor.request("forget", key=container.id)
            if container.record.options.auto_remove:
                await self.forget(container)

    async def _bury(self, container: Container, group: Group) -> None:
        """Take the last figures, then end and remove the cgroup."""

        def work() -> None:
            if not container.record.options.auto_remove:  # else nobody can ask for it any more
                self._last_sample(container)
            group.kill(_KILL_TIMEOUT_S)
            group.remove()

        try:
            await asyncio.to_thread(work)
        except NotFoundError:
            return
        except CgagentError as e:
            outcome = replace(
                container.record.outcome, error=f"its cgroup is left behind: {e.message}"
            )
            self._containers.note(container, replace(container.record, outcome=outcome))

    async def wait(self, container: Container, condition: WaitCondition) -> int | None:
        """Until the condition holds; the exit code of the last run, None if it never ran."""
        before = container.record.outcome.finished_ns
        while True:
            outcome = container.record.outcome
            if container.removed:
                return outcome.exit_code
            if condition == "not-running" and outcome.status != "running":
                return outcome.exit_code
            if condition == "next-exit" and outcome.finished_ns not in {None, before}:
                return outcome.exit_code
            await container.changed()

    async def kill(self, container: Container, signal_name: str) -> None:
        """Send a signal to the first process.

        Raises:
            ConflictError: it is not running.
            InvalidInputError: no such signal.
        """
        number = create.signal_number(signal_name)
        async with self._jobs.run("kill", container=container.id, signal=signal_name):
            await self._signal(container, number)
        self.publish(container, "kill", signal=str(int(number)))

    async def _signal(self, container: Container, number: int) -> None:
        self.require_running(container)
        await self._send_signal(container, int(number))
        if number == signal.SIGKILL:  # a frozen v1 task dies only when it is thawed
            await asyncio.to_thread(self._thaw_for_kill, container)

    async def _send_signal(self, container: Container, number: int) -> None:
        adopted = container.record.adopted
        if adopted is None:
            await self._supervisor.request("signal", key=container.id, signal=number)
        elif number == signal.SIGKILL:
            await asyncio.to_thread(self.group(container).kill, _KILL_TIMEOUT_S)
        else:
            adopted.send_signal(number)

    def _thaw_for_kill(self, container: Container) -> None:
        try:
            group = self.group(container)
            if group.freezer_state() != "thawed":
                group.thaw(_KILL_TIMEOUT_S)
        except NotFoundError:
            return  # it has ended and its cgroup is gone

    async def stop(self, container: Container, timeout_s: float | None = None) -> None:
        """Stop signal, then after the timeout SIGKILL. One that does not run is left alone."""
        own = container.record.options.stop_timeout_s
        timeout = self._timeout(own if timeout_s is None else timeout_s)
        if not container.running:
            return
        async with self._jobs.run("stop", container=container.id):
            number = create.signal_number(container.record.options.stop_signal)
            try:
                await self._signal(container, number)
                await asyncio.to_thread(self._thaw_for_kill, container)
                async with asyncio.timeout(timeout):
                    await self.wait(container, "not-running")
            except TimeoutError:
                await self._kill_and_wait(container)
            except ConflictError:
                await self.wait(container, "not-running")  # it ended by itself meanwhile
        self.publish(container, "stop")

    def _timeout(self, asked: float | None) -> float | None:
        """None for ever, which docker calls -1."""
        chosen = self._stop_timeout_s if asked is None else asked
        return None if chosen < 0 else chosen

    async def _kill_and_wait(self, container: Container) -> None:
        try:
            await self._signal(container, signal.SIGKILL)
        except ConflictError:
            return  # it ended by itself meanwhile
        try:
            async with asyncio.timeout(_KILL_TIMEOUT_S):
                await self.wait(container, "not-running")
        except TimeoutError:
            raise DeadlineError(
                f"container {container.name} did not end {_KILL_TIMEOUT_S:g} s after SIGKILL; "
                "a task may be in uninterruptible sleep"
            ) from None

    async def restart(self, container: Container, timeout_s: float | None = None) -> None:
        await self.stop(container, timeout_s)
        await self.start(container)

    async def rename(self, container: Container, name: str) -> None:
        """Call it something else, running or not.

        Raises:
            InvalidInputError: the name. ConflictError: it is taken, or was its name already.
        """
        async with self._jobs.run("rename", container=container.id, to=name), container.lock:
            self.require_there(container)
            old = container.name
            self._containers.rename(container, self.choose_name(check_name(name)))
        self.publish(container, "rename", old_name=old)

    async def remove(
        self, container: Container, *, force: bool = False, volumes: bool = False
    ) -> None:
        """Remove a container with its files, and with `volumes` those without a name.

        Raises:
            ConflictError: it runs and `force` was not given.
        """
        async with self._jobs.run("remove", container=container.id):
            while not container.removed:
                if container.running and not force:
                    raise ConflictError(
                        f"container {container.name} is running; stop it first or remove it "
                        "with --force"
                    )
                if container.running:
                    await self._kill_and_wait(container)
                async with container.lock:
                    if not container.running:  # it may have been started meanwhile
                        await self.forget(container, volumes=volumes)

    async def forget(self, container: Container, *, volumes: bool = False) -> None:
        """Remove all that is kept of one that does not run; the lock is held by the caller."""
        if container.removed:
            return
        if self._launcher.is_ready(container.id):
            await self._launcher.discard(container.id)

        def remove_files() -> None:
            self.group(container).remove()
            self.bundle(container.id).remove()
            self._images.release(container.id)

        # its files first: on a full disk the database can change only when they are gone
        await asyncio.to_thread(remove_files)
        if volumes or container.record.options.auto_remove:
            await self._volumes.remove_anonymous(container)
        self._containers.drop(container)
        self._forget_samples(container.id)
        self.publish(container, "destroy")

    # -- conditions -------------------------------------------------------------------------

    @staticmethod
    def require_running(container: Container) -> None:
        if not container.running:
            status = container.record.outcome.status
            raise ConflictError(
                f"container {container.name} is not running ({status}); "
                f"start it first (cgagent start {container.name})"
            )

    @staticmethod
    def require_there(container: Container) -> None:
        if container.removed:
            raise NotFoundError(f"container {container.name} has been removed")


def _was_oom_killed(group: Group) -> bool:
    try:
        return group.oom_kills() > 0
    except (NotFoundError, UnsupportedError):
        return False
