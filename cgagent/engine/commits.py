"""``commit``: an image of what a container has changed, and how the container is run."""

from __future__ import annotations

import asyncio
import contextlib
import json
from dataclasses import asdict
from typing import TYPE_CHECKING, Any, Final

from cgagent.concurrency import to_its_end
from cgagent.engine.lifecycle.shared import require_there
from cgagent.errors import ConflictError, UnsupportedError
from cgagent.images.archives.authoring import committed_config
from cgagent.images.image import HOST

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable

    from cgagent.engine.containers.container import Container
    from cgagent.engine.events import Events
    from cgagent.engine.jobs import Jobs
    from cgagent.engine.lifecycle import Lifecycle
    from cgagent.engine.lifecycle.control import Control
    from cgagent.images.archives.authoring import Authorship, NewLayer
    from cgagent.images.candidate import Progress
    from cgagent.images.image import HealthCheck, Image
    from cgagent.images.store import Images

_END_S: Final = 1.0
"""At most so long after its last task is gone a container's end becomes known."""
_LEASE_S: Final = 120.0
"""After so long a container runs again whose agent died, or whose changes take longer to pack."""


class Commits:
    def __init__(
        self, images: Images, lifecycle: Lifecycle, control: Control, jobs: Jobs, events: Events
    ) -> None:
        self._images = images
        self._lifecycle = lifecycle
        self._control = control
        self._jobs = jobs
        self._events = events

    async def commit(
        self,
        container: Container,
        about: Authorship,
        progress: Callable[[Progress], None],
        *,
        pause: bool = True,
    ) -> Image:
        """Make an image; with `pause` its tasks stand still while its files are read.

        Raises:
            UnsupportedError: a container of the host's own root, or a change no layer can hold.
            NoSuchImageError, InvalidInputError, NoSpaceError.
        """
        container.require_started_here("making an image of it")
        record = container.record
        if record.rootfs is None or record.image_id == HOST.id:
            raise UnsupportedError(
                f"container {container.name} stands on the machine's own root: there is no image "
                "to add a layer to"
            )

        def make(base: bytes, layer: NewLayer) -> bytes:
            run = run_config(json.loads(base).get("config") or {}, container)
            return committed_config(base, run, layer, about, " ".join(record.resolved.args))

        async with self._jobs.run("commit", container=container.id, image=about.name or ""):
            try:
                image = await self._images.authors.commit(
                    record.image_id,
                    record.rootfs,
                    self._lifecycle.bundle(container.id).mount_points(),
                    make,
                    name=about.name,
                    paused=self._standing_still(container, pause=pause),
                    progress=progress,
                )
            except UnsupportedError as e:
                raise UnsupportedError(f"container {container.name}: {e.message}") from None
        self._events.tell(container, "commit")
        return image

    @contextlib.asynccontextmanager
    async def _standing_still(self, container: Container, *, pause: bool) -> AsyncIterator[None]:
        """Frozen if it runs and nobody has frozen it; one that does not run cannot be removed."""
        if pause and container.sleeps:  # a packet would wake it in the middle
            with contextlib.suppress(ConflictError):  # one just has
                await self._control.thaw(container, by="commit")
        if container.running and (not pause or self._control.is_frozen(container)):
            yield
            return
        if not container.running or not await self._frozen(container):
            async with container.lock:
                require_there(container)
                yield
            return
        try:
            yield
        finally:
            with contextlib.suppress(ConflictError):  # it was killed, or thawed by somebody
                await to_its_end(self._control.thaw(container))

    async def _frozen(self, container: Container) -> bool:
        """Freeze it; false: it has ended meanwhile.

        Raises:
            ConflictError: it runs, and cannot be frozen.
        """
        try:
            await self._control.freeze(container, lease_s=_LEASE_S)
        except ConflictError:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(_END_S):
                    await self._lifecycle.wait(container, "not-running")
            if container.running:
                raise
            return False
        return True


def run_config(base: dict[str, Any], container: Container) -> dict[str, Any]:
    """An image's object ``config``, with what the container was given beside it."""
    config, resolved = container.record.config, container.record.resolved
    run = {name: value for name, value in base.items() if name != "OnBuild"}
    if config.entrypoint is not None:
        run["Entrypoint"], run["Cmd"] = list(config.entrypoint), list(config.command)
    elif config.command:
        run["Cmd"] = list(config.command)
    env = {item.partition("=")[0]: item for item in base.get("Env") or ()}
    for item in config.env:
        if "=" in item:
            env[item.partition("=")[0]] = item
        else:
            env.pop(item, None)
    run["Env"] = list(env.values())
    given = {
        "User": config.user,
        "WorkingDir": config.working_dir,
        "StopSignal": config.stop_signal,
        "Labels": resolved.labels or None,
        "Healthcheck": _health(resolved.health) if config.health else None,
    }
    run.update({name: value for name, value in given.items() if value is not None})
    made = (m for m in resolved.mounts if m.type == "volume" and m.anonymous)
    volumes: dict[str, Any] = {m.destination: {} for m in made}
    if volumes:
        run["Volumes"] = {**(run.get("Volumes") or {}), **volumes}
    return {name: value for name, value in run.items() if value not in (None, [], {})}


def _health(check: HealthCheck | None) -> dict[str, Any]:
    if check is None:
        return {"Test": ["NONE"]}
    names = {
        "test": "Test",
        "interval_ns": "Interval",
        "timeout_ns": "Timeout",
        "start_period_ns": "StartPeriod",
        "start_interval_ns": "StartInterval",
        "retries": "Retries",
    }
    return {names[name]: value for name, value in asdict(check).items() if names.get(name)}
