"""Pushing: what a name stands for, to the registry that the name says.

Where nothing was changed, exactly what came is sent. Blobs that the registry has are not sent, and
those that another repository of it has are mounted.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field
from functools import partial
from typing import TYPE_CHECKING, Final

from cgagent.concurrency import in_waiting_thread
from cgagent.errors import NotFoundError
from cgagent.images import manifest
from cgagent.images.candidate import Progress
from cgagent.images.distribution import made
from cgagent.images.distribution.pull import waiting
from cgagent.images.distribution.sockets import stopping
from cgagent.images.distribution.uploads import Uploads

if TYPE_CHECKING:
    import threading
    from collections.abc import Callable

    from cgagent.images.content import ContentStore, Lease
    from cgagent.images.distribution.repository import Repository
    from cgagent.images.manifest import Descriptor, Document
    from cgagent.images.reference import Reference
    from cgagent.store.images import ImageRecord, ImageRecords
    from cgagent.store.origins import OriginRecords

    Tell = Callable[[Progress], None]

_PARALLEL: Final = 5
_STEP_BYTES: Final = 1 << 20


@dataclass(frozen=True, slots=True)
class Pushed:
    """What the registry has now, for `docker push`'s last line."""

    tag: str
    digest: str
    size_bytes: int


@dataclass(slots=True)
class _Work:
    """What there is to send: blobs first, then documents, those first that others name."""

    blobs: dict[str, Descriptor] = field(default_factory=dict)
    documents: list[Document] = field(default_factory=list)


class Push:
    """Of one repository; tags one after the other."""

    def __init__(
        self,
        wanted: Reference,
        repository: Repository,
        *,
        content: ContentStore,
        records: ImageRecords,
        origins: OriginRecords,
        tell: Tell,
    ) -> None:
        self._wanted = wanted
        self._repository = repository
        self._content = content
        self._records = records
        self._origins = origins
        self._tell = tell
        self._host = repository.registry.endpoint.host
        self._uploads = Uploads(repository, partial(waiting, tell))

    async def run(self, record: ImageRecord, name: str, tag: str) -> Pushed:
        """Send what `name`, one of the image's names, stands for.

        Raises:
            NotFoundError: a blob of it is lost.
            DeniedError, UnavailableError, DeadlineError, RemoteError
        """
        held = (record.id, record.targets[name])
        async with self._content.leasing(f"push of {name}", held) as lease:
            work = await in_waiting_thread(partial(self._plan, record, name, lease))
            await self._send_blobs(work)
            await in_waiting_thread(partial(self._send_documents, work, tag))
            top = work.documents[-1]
            await in_waiting_thread(lambda _: self._note(record, work, top))
        return Pushed(tag, top.digest, len(top.raw))

    # -- what to send ---------------------------------------------------------------------------

    def _plan(self, record: ImageRecord, name: str, lease: Lease, stop: threading.Event) -> _Work:
        work = _Work()
        target = record.targets[name]
        if target == record.id:
            top = made.make(record, self._content, lease, stop, self._compressing)
            self._add(top, work)
            return work
        top = self._document(target)
        if isinstance(top.found, manifest.Index) and not self._is_all_here(top):
            top = self._only_platform(record, top)
        self._add(top, work)
        return work

    def _only_platform(self, record: ImageRecord, index: Document) -> Document:
        """Of an index whose other platforms are not here: as Docker does."""
        links = {digest for digest in self._below(index) if self._content.has(digest)}
        chosen = record.manifest if record.manifest in links else None
        if chosen is None:
            raise NotFoundError(
                f"image {self._wanted}: of the platforms in {index.digest} none is here whole"
            )
        self._tell(
            Progress(
                "",
                "Not all platforms of the image are here: only the one that is gets pushed "
                f"({index.digest} -> {chosen})",
            )
        )
        return self._document(chosen)

    def _below(self, index: Document) -> list[str]:
        """The digests of all documents below an index that are named by those here."""
        found: list[str] = []
        for digest in index.found.links:
            found.append(digest)
            if self._content.has(digest):
                document = self._document(digest)
                if isinstance(document.found, manifest.Index):
                    found += self._below(document)
        return found

    def _is_all_here(self, document: Document) -> bool:
        for digest in document.found.links:
            if not self._content.has(digest):
                return False
            if isinstance(document.found, manifest.Index) and not self._is_all_here(
                self._document(digest)
            ):
                return False
        return True

    def _document(self, digest: str) -> Document:
        return manifest.read(self._content.read(digest), f"image {self._wanted}: {digest[:19]}")

    def _add(self, document: Document, work: _Work) -> None:
        found = document.found
        if isinstance(found, manifest.Index):
            for digest in found.links:
                self._add(self._document(digest), work)
        else:
            for blob in (found.config, *found.layers):
                if not self._content.has(blob.digest):
                    raise NotFoundError(
                        f"image {self._wanted}: blob {blob.digest} is lost; 'cgagent system check "
                        "--repair' fetches it again"
                    )
                work.blobs[blob.digest] = blob
        if document.digest not in {known.digest for known in work.documents}:
            work.documents.append(document)

    # -- sending --------------------------------------------------------------------------------

    async def _send_blobs(self, work: _Work) -> None:
        slots = asyncio.Semaphore(_PARALLEL)

        async def send(blob: Descriptor) -> None:
            async with slots:
                await in_waiting_thread(partial(self._send_blob, blob))

        for digest in work.blobs:
            self._tell(Progress(digest[7:19], "Preparing"))
        sending = [asyncio.create_task(send(blob)) for blob in work.blobs.values()]
        try:
            for task in sending:
                await task
        finally:
            for task in sending:
                task.cancel()
            await asyncio.gather(*sending, return_exceptions=True)

    def _send_blob(self, blob: Descriptor, stop: threading.Event) -> None:
        shown = blob.digest[7:19]
        with stopping(stop):
            if self._uploads.has(blob.digest, shown):
                self._tell(Progress(shown, "Layer already exists"))
                return
            for source in self._origins.repositories(blob.digest, self._host):
                if source == self._repository.path:
                    continue
                if self._uploads.mount(blob.digest, source, shown):
                    self._tell(Progress(shown, f"Mounted from {source}"))
                    return
                self._origins.forget(blob.digest, self._host, source)
            self._uploads.send(
                blob.digest,
                blob.size,
                partial(self._content.open, blob.digest),
                shown,
                self._meter(shown, "Pushing", blob.size),
            )
            self._tell(Progress(shown, "Pushed"))

    def _send_documents(self, work: _Work, tag: str, stop: threading.Event) -> None:
        with stopping(stop):
            for document in work.documents:
                is_top = document is work.documents[-1]
                reference = tag if is_top and tag else document.digest
                self._uploads.manifest(
                    reference, document.raw, document.media_type, document.digest
                )

    def _note(self, record: ImageRecord, work: _Work, top: Document) -> None:
        """Its name by digest from now on, and where its blobs can be mounted from."""
        self._origins.add(work.blobs, self._host, self._repository.path)
        if self._records.get(record.id) is not None:
            name = f"{self._wanted.name}@{top.digest}"
            self._records.set_name(name, record.id, top.digest)

    def _meter(self, shown: str, status: str, size: int) -> Callable[[int], None]:
        told = -_STEP_BYTES

        def tell(count: int) -> None:
            nonlocal told
            if count - told >= _STEP_BYTES or count == size or count < told:
                told = count
                self._tell(Progress(shown, status, count, size))

        return tell

    def _compressing(self, digest: str, done: int, size: int) -> None:
        if done % _STEP_BYTES == 0 or done == size:
            self._tell(Progress(digest[7:19], "Compressing", done, size))
