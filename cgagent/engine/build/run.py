"""What the stages of one build share: the plan, the images it stands on, and its hands."""

from __future__ import annotations

import asyncio
import json
import os
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final

from cgagent.concurrency import KeyedLock
from cgagent.engine.build.files import Writing
from cgagent.engine.build.state import State
from cgagent.engine.options.platforms import require_platform
from cgagent.errors import CgagentError, NoSuchImageError, UnsupportedError
from cgagent.images.image import HOST
from cgagent.images.reference import parse as parse_reference

if TYPE_CHECKING:
    from collections.abc import Callable

    from cgagent.engine.build.cache import StepCache
    from cgagent.engine.build.commands import Commands
    from cgagent.engine.build.copies import Copies
    from cgagent.engine.build.files import Files
    from cgagent.engine.build.mounts import RunMounts
    from cgagent.engine.build.values import Account, BuildRequest, StepDone, Tell
    from cgagent.engine.images import ImageJobs
    from cgagent.engine.jobs import Job
    from cgagent.images.build.stages import Plan
    from cgagent.images.building import Layers
    from cgagent.images.candidate import Progress
    from cgagent.images.content import Lease
    from cgagent.images.image import Image

_AT_ONCE: Final = max(2, os.cpu_count() or 1)


@dataclass(kw_only=True)
class Run:
    request: BuildRequest
    plan: Plan
    job: Job
    tell: Tell
    images: ImageJobs
    lease: Lease
    cache: StepCache
    files: Files
    copies: Copies
    mounts: RunMounts
    commands: Commands
    steps: int
    reported: list[StepDone] = field(default_factory=list)
    working: asyncio.Semaphore = field(default_factory=lambda: asyncio.Semaphore(_AT_ONCE))
    """Held by each step that uses the machine."""
    _stages: dict[int, asyncio.Future[State]] = field(default_factory=dict)
    _pulling: KeyedLock = field(default_factory=KeyedLock)
    _pulled: set[str] = field(default_factory=set)

    def done(self, one: StepDone) -> None:
        self.reported.append(one)
        self.tell(one)

    # -- stages that wait for each other --------------------------------------------------------

    def expect(self) -> None:
        """Before the first stage goes."""
        loop = asyncio.get_running_loop()
        self._stages = {stage.index: loop.create_future() for stage in self.plan.stages}

    def finish(self, stage: int, state: State) -> None:
        self._stages[stage].set_result(state)

    async def finished(self, stage: int) -> State:
        """What a stage has come to, when it has."""
        return await asyncio.shield(self._stages[stage])

    async def origin(self, name: str, before: int) -> State:
        """The stage or the image that ``--from`` names in the stage `before`.

        It may not be that stage or a later one, which would wait for itself.
        """
        stage = self.plan.stage_of(name, before)
        if stage is not None:
            if stage not in self._stages:  # of a trigger of the base's, or by a variable
                raise UnsupportedError(f"stage {name} is no part of this build")
            return await self.finished(stage)
        image = await self.image(name, self.request.platform, lambda _progress, _tag: None)
        return State.of_image(image, json.loads(self.images.config_of(image)))

    # -- images ---------------------------------------------------------------------------------

    async def image(self, name: str, platform: str, tell: Callable[[Progress, str], None]) -> Image:
        """The image of that name, which is pulled if it is not here; it stays until the end.

        Raises:
            NotFoundError, DeniedError, UnavailableError, RemoteError: it cannot be had.
        """
        if name == HOST.id:
            raise UnsupportedError(
                "FROM host: the machine's own root is no image that another can be made of"
            )
        async with self._pulling.hold(f"{name} {platform}"):
            image = await self._found(name, platform, tell)
        self.lease.hold(filter(None, (image.id, image.manifest, *image.layers)))
        return image

    async def _found(
        self, name: str, platform: str, tell: Callable[[Progress, str], None]
    ) -> Image:
        asked = f"{name} {platform}"
        if not self.request.pull or asked in self._pulled:
            try:
                image = self.images.resolve(name)
                if platform:
                    require_platform(image, name, platform)
            except NoSuchImageError:
                pass
            else:
                return image
        reference = parse_reference(name)
        tag = reference.tag or reference.digest or ""
        pulled = await self.images.pull(
            name,
            lambda progress: tell(progress, tag),
            login=self.request.login(reference.domain),
            platform=platform,
        )
        self._pulled.add(asked)
        return pulled

    async def prefer(self, names: tuple[str, ...]) -> None:
        """Images whose steps may be taken over; those that cannot be had are passed over."""
        for name in names:
            try:
                image = await self.image(name, "", lambda _progress, _tag: None)
                document: dict[str, Any] = json.loads(self.images.config_of(image))
            except CgagentError:
                continue
            self.cache.add_image(image, document)

    async def write_directory(self, layers: Layers, target: str) -> tuple[Layers, Account]:
        async with self.working:
            return await self.files.layer(layers, [Writing(target=target)])
