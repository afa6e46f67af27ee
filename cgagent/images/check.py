"""Finding out whether all that images consist of is here and whole, and mending what is not.

Blobs are read and compared with their digests, relations with the documents that they were made
of. Of an unpacked layer only the presence is checked: its files may be in use, and are not hashed.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Final

from cgagent.concurrency import in_thread
from cgagent.errors import CgagentError
from cgagent.images import manifest, reference
from cgagent.images.candidate import Progress
from cgagent.images.content import digest_of
from cgagent.images.image import parse_config
from cgagent.images.layers import chain_ids

if TYPE_CHECKING:
    import threading
    from collections.abc import Awaitable, Callable, Iterable, Iterator

    from cgagent.images.content import ContentStore
    from cgagent.images.install import Installer
    from cgagent.images.layers import LayerStore
    from cgagent.store.images import ImageRecord, ImageRecords

    Tell = Callable[[Progress], None]

_STEP_BYTES: Final = 64 << 20


@dataclass(frozen=True, slots=True)
class Problem:
    image_id: str
    image: str
    """A name that people know it by."""
    cause: str
    digest: str = ""
    """Of the blob that is damaged or missing; empty where it is not about one."""


@dataclass(frozen=True, slots=True)
class Report:
    problems: tuple[Problem, ...]
    """What is wrong now."""
    repaired: tuple[Problem, ...] = ()
    """What was wrong before."""
    failures: tuple[str, ...] = ()
    """Why images could not be repaired."""


class Check:
    """One run; `pull` fetches an image by name from its registry."""

    def __init__(
        self,
        records: ImageRecords,
        content: ContentStore,
        layers: LayerStore,
        installer: Installer,
        pull: Callable[[str, Tell], Awaitable[object]],
    ) -> None:
        self._records = records
        self._content = content
        self._layers = layers
        self._installer = installer
        self._pull = pull

    async def run(self, progress: Tell, *, repair: bool) -> Report:
        every = [record.id for record in self._records.all(removed=True)]
        found = await self._find(every, progress)
        if not (repair and found):
            return Report(found)
        failures: list[str] = []
        broken = list(dict.fromkeys(problem.image_id for problem in found))
        for image_id in broken:
            bad = [problem.digest for problem in found if problem.image_id == image_id]
            failures += await self._repair(image_id, filter(None, bad), progress)
        left = await self._find(broken, progress)
        repaired = tuple(problem for problem in found if problem not in left)
        return Report(left, repaired, tuple(failures) if left else ())

    async def _find(self, image_ids: list[str], progress: Tell) -> tuple[Problem, ...]:
        def work(stop: threading.Event) -> tuple[Problem, ...]:
            finder = _Finder(self._records, self._content, self._layers, stop, progress)
            return tuple(problem for i in image_ids for problem in finder.image(i))

        return await in_thread(work)

    async def _repair(self, image_id: str, bad: Iterable[str], progress: Tell) -> list[str]:
        """Messages of what did not work."""
        record = self._records.get(image_id)
        if record is None:
            return []
        await in_thread(lambda _: self._prepare(record, bad))
        failures = []
        names = [name for name in record.names if "@" in name]
        attempts: list[Callable[[], Awaitable[object]]] = []
        attempts += [partial(self._pull, name, progress) for name in names]
        attempts += [partial(self._installer.complete, record)]
        for attempt in attempts:
            try:
                await attempt()
            except CgagentError as e:
                failures.append(e.message)
        return failures

    def _prepare(self, record: ImageRecord, bad: Iterable[str]) -> None:
        """Make room for what comes again. The config comes from its row."""
        for digest in bad:
            self._content.drop(digest)
        if digest_of(record.config) == record.id:
            with self._content.leased(f"repair of {record.id}") as lease:
                self._content.sync([lease.put(record.config, manifest.DOCKER_CONFIG)])


class _Finder:
    """Looks at each blob once, whichever images have it."""

    def __init__(
        self,
        records: ImageRecords,
        content: ContentStore,
        layers: LayerStore,
        stop: threading.Event,
        progress: Tell,
    ) -> None:
        self._records = records
        self._content = content
        self._layers = layers
        self._stop = stop
        self._progress = progress
        self._causes: dict[str, str] = {}

    def image(self, image_id: str) -> list[Problem]:
        """All that is wrong with it; nothing if it is removed meanwhile."""
        record = self._records.get(image_id)
        if record is None:
            return []
        name = next((reference.parse(n).familiar for n in record.names), image_id[7:19])
        found = [
            Problem(image_id, name, f"blob {digest} {cause}", digest)
            for digest in self._digests(record)
            if (cause := self._cause(digest))
        ]
        found += [Problem(image_id, name, cause) for cause in self._relations(record)]
        found += [
            Problem(image_id, name, f"layer {layer.chain_id} is not there unpacked")
            for layer in record.layers
            if not self._layers.is_whole(layer)
        ]
        return found if self._records.get(image_id) is not None else []

    def _digests(self, record: ImageRecord) -> dict[str, None]:
        """All blobs that must be here, in the order in which they lead to each other."""
        found: dict[str, None] = {}
        pending = [record.id, *([record.manifest] if record.manifest else [])]
        pending += record.targets.values()
        while pending:
            digest = pending.pop(0)
            if digest in found:
                continue
            found[digest] = None
            blob = self._content.records.get(digest)
            children = self._content.records.links(digest)
            if blob is not None and blob.media_type in (manifest.OCI_INDEX, manifest.DOCKER_LIST):
                # one platform is kept of an image
                children = tuple(c for c in children if self._content.records.get(c) is not None)
            pending += children
        return found

    def _cause(self, digest: str) -> str:
        """What is wrong with a blob; empty: nothing."""
        if digest not in self._causes:
            try:
                self._causes[digest] = self._examine(digest)
            except OSError as e:
                self._causes[digest] = f"cannot be read: {e.strerror}"
        return self._causes[digest]

    def _examine(self, digest: str) -> str:
        blob, size_bytes = self._content.records.get(digest), self._content.size_bytes(digest)
        if blob is None:
            return "is not known to the database"
        if size_bytes is None:
            return "is missing"
        if size_bytes != blob.size_bytes:
            return f"has {size_bytes} bytes, not {blob.size_bytes}"
        shown = 0

        def tell(count: int) -> None:
            nonlocal shown
            if count == size_bytes or count - shown >= _STEP_BYTES:
                shown = count
                self._progress(Progress(digest[7:19], "Checking", count, size_bytes))

        return "" if self._content.is_intact(digest, self._stop, tell) else "is damaged"

    def _relations(self, record: ImageRecord) -> Iterator[str]:
        """Where the database says something else than the documents."""
        roots = {*record.targets.values(), record.manifest} - {None, record.id}
        for digest in self._digests(record):
            blob = self._content.records.get(digest)
            is_document = blob is not None and blob.media_type in manifest.ACCEPTED
            if (is_document or digest in roots) and not self._cause(digest):
                found = manifest.parse(self._content.read(digest), digest).links
                if found != self._content.records.links(digest):
                    yield f"what {digest} refers to is not what the database says"
        diff_ids = parse_config(record.config, "image").diff_ids
        if chain_ids(diff_ids) != tuple(layer.chain_id for layer in record.layers):
            yield "its layers are not those of its config"
        links = self._content.records.links(record.id)
        blobs = [self._content.records.get(digest) for digest in links]
        if record.manifest is None and tuple(b.diff_id for b in blobs if b) != diff_ids:
            yield "the blobs of its layers are not those of its config"
        for diff_id in diff_ids:
            if not self._content.records.of_diff(diff_id):
                yield f"no blob is known for its layer {diff_id}"
