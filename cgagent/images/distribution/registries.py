"""All that is done with registries, for the store of images: pull, push, login, search."""

from __future__ import annotations

import asyncio
from contextlib import contextmanager
from dataclasses import replace
from typing import TYPE_CHECKING

from cgagent.concurrency import in_waiting_thread
from cgagent.errors import CgagentError, NotFoundError
from cgagent.images.candidate import Progress
from cgagent.images.distribution.credentials import ANONYMOUS
from cgagent.images.distribution.endpoints import Rules
from cgagent.images.distribution.lookup import Described, look_up
from cgagent.images.distribution.pull import Places, Pull, waiting
from cgagent.images.distribution.push import Push, Pushed
from cgagent.images.distribution.repository import Repository, patiently
from cgagent.images.distribution.search import search
from cgagent.images.distribution.sockets import stopping
from cgagent.images.distribution.transport import Registry
from cgagent.images.distribution.trust import Trust
from cgagent.images.reference import DOCKER_DOMAIN
from cgagent.images.reference import parse as parse_reference

if TYPE_CHECKING:
    import threading
    from collections.abc import Callable, Iterator

    from cgagent.config import Settings
    from cgagent.images.content import ContentStore
    from cgagent.images.distribution.credentials import Credentials
    from cgagent.images.distribution.endpoints import Endpoint
    from cgagent.images.distribution.search import Found
    from cgagent.images.install import Installer
    from cgagent.images.manifest import Platform
    from cgagent.images.reference import Reference
    from cgagent.store.images import ImageRecord, ImageRecords
    from cgagent.store.origins import OriginRecords

    Tell = Callable[[Progress], None]


class Registries:
    def __init__(
        self,
        settings: Settings,
        installer: Installer,
        content: ContentStore,
        records: ImageRecords,
        origins: OriginRecords,
    ) -> None:
        self.rules = Rules(settings)
        self._installer = installer
        self._content = content
        self._records = records
        self._origins = origins
        self._trust = Trust(settings.registry_certs)

    async def pull(
        self,
        name: str,
        tell: Tell,
        *,
        credentials: Credentials = ANONYMOUS,
        platform: Platform | None = None,
    ) -> tuple[str, Reference]:
        """The id of the image, and the name that it has in the store.

        Raises:
            NotFoundError: the registry does not have it.
            DeniedError: it does not exist or requires a login, or the settings block it.
            UnavailableError, DeadlineError: no answer.
            RemoteError: an answer that cannot be used, a wrong digest among them.
            UnsupportedError: not made for this machine, or in a format cgagent cannot read.
            InvalidInputError, NoSpaceError
        """
        *added, last = self.rules.candidates(name)
        meant = parse_reference(name).domain  # whose login it is
        for wanted in added:
            try:
                return await self._pull(wanted, tell, ANONYMOUS, platform)
            except CgagentError:
                continue  # the next one may have it
        who = credentials if last.domain == meant else ANONYMOUS
        return await self._pull(last, tell, who, platform)

    async def _pull(
        self,
        wanted: Reference,
        tell: Tell,
        credentials: Credentials,
        platform: Platform | None,
    ) -> tuple[str, Reference]:
        before = self._target(wanted)
        places = Places(self.rules.places(wanted), f"image {wanted}", self._trust, credentials)
        pull = Pull(
            wanted,
            places,
            self._installer,
            origins=self._origins,
            platform=platform,
            tell=tell,
        )
        image_id, digest = await pull.run()
        done = "Image is up to date for" if before == digest else "Downloaded newer image for"
        tell(Progress("", f"Status: {done} {wanted.familiar}"))
        return image_id, wanted

    def _target(self, wanted: Reference) -> str | None:
        name = str(replace(wanted, tag=None) if wanted.digest else wanted)
        image_id = self._records.id_of(name)
        record = self._records.get(image_id) if image_id else None
        return record.targets.get(name) if record else None

    async def tags(self, name: str, tell: Tell, credentials: Credentials) -> list[Reference]:
        """All that a repository has, as names to be pulled."""
        wanted = replace(self.rules.candidates(name)[-1], tag=None, digest=None)
        (place,) = self.rules.places(wanted, mirrors=False)

        def work(stop: threading.Event) -> list[str]:
            with stopping(stop), self._open(place.endpoint, f"image {wanted}", credentials) as it:
                return Repository(it, place.path).tags(waiting(tell))

        tags = await in_waiting_thread(work)
        if not tags:
            raise NotFoundError(f"image {wanted}: registry {place.endpoint.host} has no tags of it")
        return [replace(wanted, tag=tag) for tag in tags]

    async def look_up(self, name: str, credentials: Credentials) -> Described:
        """What the registry of a name has there; its mirrors are not asked.

        Raises:
            InvalidInputError, NotFoundError, DeniedError, UnavailableError, DeadlineError
            RemoteError: an answer that cannot be used.
        """
        wanted = self.rules.candidates(name)[-1]
        (place,) = self.rules.places(wanted, mirrors=False)

        def work(stop: threading.Event) -> Described:
            with stopping(stop), self._open(place.endpoint, f"image {wanted}", credentials) as it:
                return look_up(Repository(it, place.path), wanted, lambda _: None)

        return await in_waiting_thread(work)

    async def push(
        self,
        named: list[tuple[Reference, ImageRecord]],
        tell: Tell,
        *,
        credentials: Credentials = ANONYMOUS,
    ) -> list[Pushed]:
        """What the names stand for, all of one repository.

        Raises:
            DeniedError, NotFoundError, UnavailableError, DeadlineError, RemoteError, NoSpaceError
        """
        wanted = replace(named[0][0], tag=None, digest=None)
        (place,) = self.rules.places(wanted, mirrors=False)
        tell(Progress("", f"The push refers to repository [{wanted.name}]"))
        with self._open(place.endpoint, f"image {wanted}", credentials) as registry:
            repository = Repository(registry, place.path)
            push = Push(
                wanted,
                repository,
                content=self._content,
                records=self._records,
                origins=self._origins,
                tell=tell,
            )
            return [await push.run(record, str(name), name.tag or "") for name, record in named]

    async def login(self, host: str, credentials: Credentials) -> str:
        """Does the registry let them in? A token to be kept instead of the password, if it has one.

        Raises:
            DeniedError: it does not.
        """
        endpoint = self.rules.endpoint(host)

        def work(stop: threading.Event) -> str:
            with stopping(stop), self._open(endpoint, "login", credentials) as registry:

                def attempt() -> None:
                    with registry.request("GET", "/v2/"):
                        return

                patiently(attempt, lambda _: None)
                return registry.access.identity_token

        return await in_waiting_thread(work)

    async def search(self, term: str, limit: int, credentials: Credentials) -> list[Found]:
        """Of the registry in the term; without one, those that were added and docker.io."""
        wanted = parse_reference(term.lower())
        hosts = [wanted.domain]
        prefixes = [f"{wanted.domain}/"]
        first, slash, rest = term.partition("/")
        if slash and first == wanted.domain:
            term = rest
        else:
            added = list(self.rules.added)
            hosts, prefixes = [*added, DOCKER_DOMAIN], [*(f"{host}/" for host in added), ""]
        searches = [
            self._search(
                host, prefix, term, limit, credentials if host == wanted.domain else ANONYMOUS
            )
            for host, prefix in zip(hosts, prefixes, strict=True)
        ]
        found = await asyncio.gather(*searches, return_exceptions=True)
        good = [one for result in found if not isinstance(result, BaseException) for one in result]
        failures = [result for result in found if isinstance(result, BaseException)]
        if failures and len(failures) == len(found):
            raise failures[-1]
        return good[:limit]

    async def _search(
        self, host: str, prefix: str, term: str, limit: int, credentials: Credentials
    ) -> list[Found]:
        endpoint = self.rules.search_endpoint(host)

        def work(stop: threading.Event) -> list[Found]:
            with stopping(stop), self._open(endpoint, f"search for {term!r}", credentials) as it:
                return search(it, prefix, term, limit, lambda _: None)

        return await in_waiting_thread(work)

    @contextmanager
    def _open(self, endpoint: Endpoint, what: str, credentials: Credentials) -> Iterator[Registry]:
        who = credentials if endpoint.own else ANONYMOUS
        with Registry(endpoint, what, self._trust, who) as registry:
            yield registry
