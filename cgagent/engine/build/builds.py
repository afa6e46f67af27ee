"""Builds as jobs: from a context to an image, with all that belongs to one made and removed."""

from __future__ import annotations

import asyncio
import logging
import time
from contextlib import asynccontextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Final

from cgagent.concurrency import in_thread, to_its_end
from cgagent.engine.build import workspace as workspaces
from cgagent.engine.build.accounts import report
from cgagent.engine.build.cache import StepCache
from cgagent.engine.build.caches import Caches
from cgagent.engine.build.commands import Commands
from cgagent.engine.build.copies import Copies
from cgagent.engine.build.files import Files
from cgagent.engine.build.kept import BuildCache
from cgagent.engine.build.mounts import RunMounts
from cgagent.engine.build.outputs import Outputs
from cgagent.engine.build.run import Run
from cgagent.engine.build.stage import check
from cgagent.engine.build.together import all_stages
from cgagent.engine.build.values import Built
from cgagent.engine.build.workspace import Workspace
from cgagent.engine.containers.names import new_id
from cgagent.engine.options import limits as limit_options
from cgagent.errors import CgagentError, NotFoundError
from cgagent.images import reference
from cgagent.images.build import stages, syntax
from cgagent.images.manifest import Platform, this_architecture

if TYPE_CHECKING:
    import threading
    from collections.abc import AsyncIterator

    from cgagent.cgroups import Host, Limits
    from cgagent.config import Settings
    from cgagent.engine.build.state import State
    from cgagent.engine.build.values import BuildRequest, Tell
    from cgagent.engine.containers.registry import Containers
    from cgagent.engine.events import Events
    from cgagent.engine.images import ImageJobs
    from cgagent.engine.jobs import Job, Jobs
    from cgagent.engine.lifecycle import Lifecycle
    from cgagent.engine.lifecycle.parents import Parents
    from cgagent.engine.observe.monitor import Monitor
    from cgagent.engine.sessions.streams import Streams
    from cgagent.images.build.context import Context
    from cgagent.images.build.stages import Plan
    from cgagent.images.building import Hold
    from cgagent.images.store import Images

log = logging.getLogger(__name__)

_V1: Final = 1


@dataclass(frozen=True, slots=True, kw_only=True)
class _Asked:
    """A build whose context is there."""

    request: BuildRequest
    plan: Plan
    names: tuple[str, ...]
    limits: Limits
    workspace: Workspace
    context: Context
    job: Job
    tell: Tell


class Builds:
    def __init__(
        self,
        *,
        settings: Settings,
        host: Host,
        store: Images,
        images: ImageJobs,
        containers: Containers,
        lifecycle: Lifecycle,
        parents: Parents,
        streams: Streams,
        monitor: Monitor,
        jobs: Jobs,
        events: Events,
    ) -> None:
        self._settings = settings
        self._host = host
        self._store = store
        self._images = images
        self._containers = containers
        self._lifecycle = lifecycle
        self._parents = parents
        self._streams = streams
        self._monitor = monitor
        self._jobs = jobs
        self._events = events
        self._directory = settings.data_root / "builds"
        self._secrets = Path(settings.run_dir) / "builds"
        self._running: dict[str, int] = {}
        """Jobs, by what their clients call them."""
        self.outputs = Outputs()
        self.caches = Caches(settings.data_root / "build-cache")
        self.cache = BuildCache(
            store.building, self.caches, jobs, settings.build_cache_size, settings.data_root
        )

    async def build(self, request: BuildRequest, archive: str, tell: Tell) -> Built:
        """An image of the Dockerfile in a context, which is the tar at `archive`.

        However it ends, nothing of it is left but the image and the cache.

        Raises:
            InvalidInputError: the Dockerfile, an argument, or a command that failed.
            NotFoundError: a file, an image, a secret.
            CgagentError: whatever a step meets.
        """
        names = tuple(str(reference.taggable(name)) for name in request.names)
        limits = limit_options.resolve(request.limits, request.conveniences)
        if request.platform:
            Platform.parse(request.platform)
        parent = self._parents.checked(request.cgroup_parent, ()) or self._parents.own
        about = {"image": " ".join(request.names), "cgroup_parent": parent}
        async with self._jobs.run("build", **about) as job:
            known = self._known(request.client_id, job)
            with known, self.outputs.kept(job.id, tell) as tell_all:
                async with self._workspace(parent, limits) as workspace:
                    job.step("context")
                    context, text = await workspaces.unpacked(workspace, archive, request)
                    plan = await in_thread(lambda _: _plan(text, request))
                    asked = _Asked(
                        request=request,
                        plan=plan,
                        names=names,
                        limits=limits,
                        workspace=workspace,
                        context=context,
                        job=job,
                        tell=tell_all,
                    )
                    job.step("steps")
                    built = await self._carried_out(asked)
        self._images.settle()
        return built

    def cancel(self, client_id: str) -> None:
        """Raises NotFoundError: no such build goes on."""
        job_id = self._running.get(client_id)
        if job_id is None:
            raise NotFoundError(f"no build with the id {client_id} is going on")
        self._jobs.cancel(job_id)

    @asynccontextmanager
    async def _workspace(self, parent: str, limits: Limits) -> AsyncIterator[Workspace]:
        """With its cgroup below `parent`."""
        build_id = new_id()
        made = Workspace(self._directory / build_id, self._secrets / build_id, self._host)
        try:
            await in_thread(lambda _: made.make())
            group = await in_thread(lambda _: made.make_group(parent, limits))
            self._parents.builds.add(group.path)
            yield made
        finally:
            if made.group is not None:
                self._parents.builds.discard(made.group.path)
            await to_its_end(made.remove())

    def _known(self, client_id: str, job: Job) -> _Known:
        return _Known(self._running, client_id, job.id)

    async def _carried_out(self, asked: _Asked) -> Built:
        began = time.monotonic()
        request, workspace, names = asked.request, asked.workspace, asked.names
        building = self._store.building
        try:
            async with building.holding() as hold:
                run = self._run(asked, hold)
                run.commands.group = workspace.group.path if workspace.group else ""
                run.commands.limits = self._of_each_step(asked.limits)
                try:
                    await run.prefer(request.cache_from)
                    state = await all_stages(run)
                finally:
                    await run.commands.close()
                image_id = await self._made(state, names)
        finally:
            await to_its_end(asyncio.to_thread(building.collect))
        for name in names:
            self._events.publish("image", "tag", image_id, {"name": name})
        self._events.publish("image", "build", image_id, {"name": " ".join(request.names)})
        usage = await asyncio.to_thread(workspace.usage)
        unused = asked.plan.unused
        return Built(
            image_id=image_id,
            names=names,
            report=report(image_id, run.reported, time.monotonic() - began, usage),
            warnings=(
                (f"One or more build-args [{' '.join(unused)}] were not consumed",)
                if unused
                else ()
            ),
        )

    async def _made(self, state: State, names: tuple[str, ...]) -> str:
        """The image of the last stage's end, under its names; of a FROM alone it is the base."""
        check(state)
        if state.base_id:
            for name in names:
                await in_thread(partial(self._tag, state.base_id, name))
            return state.base_id
        image_id = await self._store.building.install(
            state.document(), state.layers, names, lambda _: None
        )
        await in_thread(lambda _: self._store.kept(image_id))
        return image_id

    def _tag(self, image_id: str, name: str, _stop: threading.Event) -> None:
        self._store.tag(image_id, name)

    def _run(self, asked: _Asked, hold: Hold) -> Run:
        request, workspace, context = asked.request, asked.workspace, asked.context
        files = Files(self._store, workspace, hold)
        mounts = RunMounts(workspace, context, files, self.caches, request.secrets)
        reads_own = not request.cache_from_alone
        commands = Commands(
            images=self._store,
            lifecycle=self._lifecycle,
            streams=self._streams,
            monitor=self._monitor,
            mounts=mounts,
            request=request,
            hold=hold,
            tell=asked.tell,
        )
        return Run(
            request=request,
            plan=asked.plan,
            job=asked.job,
            tell=asked.tell,
            images=self._images,
            lease=hold.lease,
            cache=StepCache(
                self._store.building, hold.lease, reads=not request.no_cache, reads_own=reads_own
            ),
            files=files,
            copies=Copies(workspace, context, files, self._may_fetch),
            mounts=mounts,
            commands=commands,
            steps=asked.plan.steps + bool(request.labels),
        )

    def _may_fetch(self, url: str) -> None:
        self._jobs.require_permitted("fetch", url=url)

    def _of_each_step(self, limits: Limits) -> Limits | None:
        """Caps of block devices: on cgroup v1 a group's do not hold for those below it."""
        place = self._host.placements.get("io") or self._host.placements.get("blkio")
        if limits.io_max is None or place is None or place.version != _V1:
            return None
        return type(limits)(io_max=limits.io_max)

    # -- what an earlier agent left -------------------------------------------------------------

    async def resume(self) -> None:
        """At the agent's start: builds that were going on ended with the agent before."""
        left = await asyncio.to_thread(_left, self._directory)
        await self._end_those(left)
        await asyncio.to_thread(workspaces.remove_directory, self._secrets)
        await asyncio.to_thread(self.caches.sweep)

    async def _end_those(self, left: list[Path]) -> None:
        for directory in left:
            path = workspaces.left_group(directory)
            for container in list(self._containers):
                if path and container.record.resolved.cgroup_parent == path:
                    try:
                        await self._lifecycle.remove(container, force=True, volumes=True)
                    except CgagentError as e:  # the agent starts all the same
                        log.error("container %s of a build: %s", container.name, e.message)  # noqa: TRY400
            await asyncio.to_thread(self._clean_up, directory, path)

    def _clean_up(self, directory: Path, group: str) -> None:
        try:
            if group:
                workspaces.end_group(self._host.group(group))
        except CgagentError as e:
            log.warning("cgroup %s of a build is left: %s", group, e.message)
        workspaces.remove_directory(directory)


class _Known:
    """A build's job under its client's own name, as long as it goes on."""

    def __init__(self, running: dict[str, int], client_id: str, job_id: int) -> None:
        self._running = running
        self._client_id = client_id
        self._job_id = job_id

    def __enter__(self) -> None:
        if self._client_id:
            self._running[self._client_id] = self._job_id

    def __exit__(self, *_: object) -> None:
        if self._running.get(self._client_id) == self._job_id:
            del self._running[self._client_id]


def _plan(text: bytes, request: BuildRequest) -> Plan:
    own = Platform("linux", this_architecture()[0])
    wanted = Platform.parse(request.platform) if request.platform else own
    platforms = {
        f"{kind}{name}": value
        for kind, platform in (("BUILD", own), ("TARGET", wanted))
        for name, value in (
            ("PLATFORM", str(platform)),
            ("OS", platform.os),
            ("ARCH", platform.architecture),
            ("VARIANT", platform.variant),
        )
    }
    return stages.plan(syntax.parse(text), request.target, request.arguments, platforms)


def _left(directory: Path) -> list[Path]:
    return sorted(directory.iterdir()) if directory.is_dir() else []
