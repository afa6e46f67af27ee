"""Registries as jobs: push, all tags of a pull, and what is only asked of one."""

from __future__ import annotations

from typing import TYPE_CHECKING

from cgagent.engine.images import told
from cgagent.errors import InvalidInputError
from cgagent.images.distribution.credentials import from_header

if TYPE_CHECKING:
    from collections.abc import Callable

    from cgagent.engine.events import Events
    from cgagent.engine.images import ImageJobs
    from cgagent.engine.jobs import Jobs
    from cgagent.images.candidate import Progress
    from cgagent.images.distribution.lookup import Described
    from cgagent.images.distribution.push import Pushed
    from cgagent.images.distribution.search import Found
    from cgagent.images.image import Image
    from cgagent.images.store import Images

    Tell = Callable[[Progress], None]


class RegistryJobs:
    """`login` is a header X-Registry-Auth everywhere: no job, event or record has it."""

    def __init__(self, images: Images, pulls: ImageJobs, jobs: Jobs, events: Events) -> None:
        self._images = images
        self._pulls = pulls
        self._jobs = jobs
        self._events = events

    async def pull_all(
        self, name: str, login: str | None, platform: str, tell: Tell
    ) -> list[Image]:
        """Every tag of a repository, one after the other."""
        credentials = from_header(login)
        first = name.rpartition("/")[2]
        if ":" in first or "@" in name:
            raise InvalidInputError(f"image {name} has a tag, and all tags are asked for")
        async with self._jobs.run("pull", image=name, all_tags="true") as job:
            found = await self._images.registries.tags(name, told(job, tell), credentials)
        return [
            await self._pulls.pull(one.familiar, tell, login=login, platform=platform)
            for one in found
        ]

    async def push(
        self, name: str, login: str | None, tell: Tell, *, all_tags: bool
    ) -> list[Pushed]:
        """What a name stands for, to the registry in the name."""
        credentials = from_header(login)
        async with self._jobs.run("push", image=name) as job:
            job.step("registry")
            pushed = await self._images.push(
                name, told(job, tell), credentials=credentials, all_tags=all_tags
            )
        for one in pushed:
            attributes = {"name": name, "tag": one.tag}
            self._events.publish("image", "push", one.digest, attributes)
        return pushed

    async def login(self, host: str, login: str | None) -> str:
        """A token that the registry wants to see instead of the password; empty: it has none.

        Raises:
            DeniedError: the registry does not let them in.
        """
        credentials = from_header(login)
        if not credentials:
            raise InvalidInputError("login: header X-Registry-Auth has no username")
        async with self._jobs.run("login", registry=host):
            return await self._images.registries.login(host, credentials)

    async def look_up(self, name: str, login: str | None) -> Described:
        """The digest and the platforms of what a registry has under a name; nothing is fetched."""
        async with self._jobs.run("look up", image=name):
            return await self._images.registries.look_up(name, from_header(login))

    async def search(self, term: str, limit: int, login: str | None) -> list[Found]:
        async with self._jobs.run("search", term=term):
            return await self._images.registries.search(term, limit, from_header(login))

    def in_force(self) -> list[dict[str, object]]:
        """What the settings say of registries, as plain values."""
        return self._images.registries.rules.in_force()
