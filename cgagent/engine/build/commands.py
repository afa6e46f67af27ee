"""RUN: a container on the layers so far, in the build's cgroup; what it has written is a layer."""

from __future__ import annotations

import asyncio
import codecs
import socket
import time
from contextlib import AsyncExitStack
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Final, Literal

from cgagent.concurrency import to_its_end
from cgagent.engine.build.accounts import account, over_the_limit
from cgagent.engine.build.values import StepContainer, StepNote, StepOutput
from cgagent.engine.containers.config import BuildStep, ContainerConfig, CreateRequest
from cgagent.engine.options.logging import LogConfig
from cgagent.engine.options.networking import EndpointSpec
from cgagent.engine.sessions.streams import Attachment
from cgagent.errors import DeniedError, InvalidInputError
from cgagent.images.image import ImageConfig
from cgagent.messages.record import decode
from cgagent.runtime.messages.outcomes import Status
from cgagent.runtime.protocol import STATUS, STDERR
from cgagent.runtime.supervisor.attached import read_frame

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Mapping

    from cgagent.cgroups import Limits
    from cgagent.engine.build.mounts import Mounted, RunMounts
    from cgagent.engine.build.state import State
    from cgagent.engine.build.values import Account, BuildRequest, Step, Tell
    from cgagent.engine.containers.container import Container
    from cgagent.engine.lifecycle import Lifecycle
    from cgagent.engine.observe.monitor import Monitor
    from cgagent.engine.sessions.streams import Streams
    from cgagent.images.build.commands import Run
    from cgagent.images.building import Hold, Layers
    from cgagent.images.store import Images

_READ_BYTES: Final = 1 << 16
_STREAMS: Final[tuple[Literal["stdout", "stderr"], ...]] = ("stdout", "stderr")


class StepFailedError(InvalidInputError):
    """A step's command has ended with another exit code than 0."""

    def __init__(self, message: str, exit_code: int) -> None:
        super().__init__(message)
        self.exit_code = exit_code


@dataclass(frozen=True, slots=True, kw_only=True)
class Surroundings:
    """What a command finds when it runs."""

    layers: Layers
    settings: Mapping[str, Any]
    arguments: Mapping[str, str]
    """Build arguments, which are in its environment."""
    origins: Mapping[str, State]
    """What ``from`` names in its mounts."""
    architecture: str


class Commands:
    def __init__(
        self,
        *,
        images: Images,
        lifecycle: Lifecycle,
        streams: Streams,
        monitor: Monitor,
        mounts: RunMounts,
        request: BuildRequest,
        hold: Hold,
        tell: Tell,
    ) -> None:
        self._images = images
        self._lifecycle = lifecycle
        self._streams = streams
        self._monitor = monitor
        self._mounts = mounts
        self._request = request
        self._hold = hold
        self._tell = tell
        self.group = ""
        """The path of the build's cgroup."""
        self._removing: list[asyncio.Task[None]] = []
        """Nobody waits for the removal of a step's container but the build's end."""
        self.limits: Limits | None = None
        """Those of a step's own group: what a group above it cannot bound on this host."""

    async def close(self) -> None:
        """When the containers are gone. Raises CgagentError: one of them is not."""
        await to_its_end(_all(self._removing))

    async def run(self, step: Step, what: Run, around: Surroundings) -> tuple[Layers, Account]:
        """Raises StepFailedError, or another CgagentError: it could not be started."""
        async with AsyncExitStack() as stack:
            began = time.monotonic()
            directory = around.settings.get("WorkingDir") or "/"
            mounted = await self._mounts.made(what, directory, around.origins, stack)
            create = self._create(what, around, mounted)
            container: Container | None = None
            ours, theirs = socket.socketpair()
            ours.setblocking(False)
            stack.callback(ours.close)
            stack.callback(theirs.close)

            async def take(made: Container) -> Attachment:
                nonlocal container
                container = made
                self._tell(StepContainer(step, made.id))
                return Attachment(fd=theirs.detach(), stdin=False)

            try:
                starting = asyncio.create_task(self._streams.run(create, take))
                try:
                    await self._pass_on(ours, step, starting)
                    await starting
                finally:
                    starting.cancel()
                    await asyncio.wait([starting])
                assert container is not None  # noqa: S101 -- the start has had it
                await self._lifecycle.wait(container, "not-running")
                return await self._result(step, what, container, around, began)
            finally:
                if container is not None:
                    removing = self._lifecycle.remove(container, force=True, volumes=True)
                    self._removing.append(asyncio.create_task(removing))
                    self._tell(StepContainer(step, container.id, is_gone=True))

    async def _result(
        self, step: Step, what: Run, container: Container, around: Surroundings, began: float
    ) -> tuple[Layers, Account]:
        outcome = container.record.outcome
        if outcome.exit_code == 0:  # all its processes are gone, and its mounts with them
            layers, used = await asyncio.gather(
                self._layers(container, around.layers), self._used(container, began)
            )
            if outcome.oom_kills:
                killed = f"the OOM killer ended {outcome.oom_kills} of its processes"
                self._tell(StepNote(step, f"{step.named}: {killed}"))
            return layers, used
        used = await self._used(container, began)
        outcome = container.record.outcome
        shown = step.named
        if outcome.exit_code and (outcome.oom_killed or outcome.oom_kills):
            raise StepFailedError(over_the_limit(shown, outcome.oom, used), outcome.exit_code)
        raise StepFailedError(
            f"The command '{' '.join(what.args)}' returned a non-zero code: {outcome.exit_code}"
            + (f": {outcome.error}" if outcome.error else ""),
            outcome.exit_code or 1,
        )

    async def _used(self, container: Container, began: float) -> Account:
        """With its last figures, which are there when its cgroup is gone."""
        async with container.lock:
            return account(self._monitor.used(container), time.monotonic() - began)

    async def _layers(self, container: Container, below: Layers) -> Layers:
        root = container.record.rootfs
        assert root is not None  # noqa: S101 -- it stands on layers
        points = self._lifecycle.bundle(container.id).mount_points()
        return await self._images.building.take(root, points, below, self._hold)

    def _create(self, what: Run, around: Surroundings, mounted: Mounted) -> CreateRequest:
        settings, asked = around.settings, self._request
        image = self._images.building.image(
            around.layers,
            ImageConfig(
                env=tuple(settings.get("Env") or ()),
                working_dir=settings.get("WorkingDir") or "",
                user=settings.get("User") or "",
            ),
            around.architecture,
        )
        arguments = [f"{name}={value}" for name, value in around.arguments.items()]
        request = CreateRequest(
            config=ContainerConfig(
                image=image.id,
                entrypoint=(),
                command=what.args,
                env=tuple(arguments),
                networks=(EndpointSpec(network=self._network(what)),),
                extra_hosts=asked.extra_hosts,
                shm_size_bytes=asked.shm_size_bytes,
                ulimits=asked.ulimits,
                log=LogConfig("none"),
                cgroup_parent=self.group,
            ),
            step=BuildStep(image=image, mounts=tuple(mounted.mounts), secrets=tuple(mounted.env)),
        )
        return request if self.limits is None else replace(request, limits=self.limits)

    def _network(self, what: Run) -> str:
        whole = self._request.network
        whole = "bridge" if whole in {"", "default"} else whole
        if what.network == "host" and whole != "host":
            raise DeniedError(
                "RUN --network=host: the Dockerfile asks for the host's network; build with "
                "--network host if it may have that"
            )
        return whole if what.network == "default" else what.network

    async def _pass_on(self, sock: socket.socket, step: Step, starting: asyncio.Task[None]) -> None:
        """All of the command's output, up to its end; or until the start has failed."""
        decoders = {
            name: codecs.getincrementaldecoder("utf-8")("replace") for name in ("stdout", "stderr")
        }
        reading = asyncio.create_task(self._read(sock, step, decoders))
        try:
            await asyncio.wait([reading, starting], return_when=asyncio.FIRST_COMPLETED)
            if starting.done() and starting.exception() is not None:
                return
            await reading
        finally:
            reading.cancel()
            await asyncio.wait([reading])

    async def _read(self, sock: socket.socket, step: Step, decoders: Mapping[str, Any]) -> None:
        async for stream, payload in _frames(sock):
            if stream == STATUS:
                status: Status = decode(payload, Status)
                if status.error is not None:
                    return  # the start's own error says it
                break
            name: Literal["stdout", "stderr"] = "stderr" if stream == STDERR else "stdout"
            if text := decoders[name].decode(payload):
                self._tell(StepOutput(step, name, text))
        for last in _STREAMS:
            if text := decoders[last].decode(b"", final=True):
                self._tell(StepOutput(step, last, text))


async def _all(tasks: list[asyncio.Task[None]]) -> None:
    await asyncio.gather(*tasks)


async def _frames(sock: socket.socket) -> AsyncIterator[tuple[int, bytes]]:
    loop = asyncio.get_running_loop()
    buffer = b""
    while True:
        while found := read_frame(buffer):
            stream, payload, buffer = found
            yield stream, payload
        more = await loop.sock_recv(sock, _READ_BYTES)
        if not more:
            return
        buffer += more
