"""The store of images: pull, load, list, remove, and root file systems for containers.

The engine owns the one instance of `Images`. Methods that may take
long are coroutines; the others do a few database reads and directory operations, except
`remove`, `release` and `sweep`, which delete files and belong into a thread.
"""

from __future__ import annotations

import os
import sqlite3
from contextlib import contextmanager
from dataclasses import replace
from functools import cached_property, partial
from typing import TYPE_CHECKING, Final, TypeAlias

from cgagent.concurrency import in_thread
from cgagent.errors import ConflictError, InternalError, InvalidInputError, NoSuchImageError
from cgagent.images import reference as references
from cgagent.images.archives.authors import Authors
from cgagent.images.archives.members import open_archive
from cgagent.images.archives.reading import candidates
from cgagent.images.archives.writing import Wanted, chunks, together
from cgagent.images.building import Building
from cgagent.images.candidate import Candidate, Progress
from cgagent.images.check import Check, Report
from cgagent.images.content import ContentStore
from cgagent.images.distribution.credentials import ANONYMOUS, Credentials
from cgagent.images.drivers.choice import choose
from cgagent.images.garbage import collect
from cgagent.images.image import HOST, Image, image_of
from cgagent.images.install import Installer
from cgagent.images.layers import LayerStore
from cgagent.images.manifest import Platform
from cgagent.images.recovery import ImageFiles, Recovery
from cgagent.images.removal import Removal, Removed, name_in
from cgagent.store.builds import StepRecords
from cgagent.store.content import ContentRecords
from cgagent.store.images import ImageRecords
from cgagent.store.origins import OriginRecords

if TYPE_CHECKING:
    import threading
    from collections.abc import Callable, Iterable, Iterator, Sequence
    from contextlib import AbstractContextManager
    from pathlib import Path
    from typing import BinaryIO

    from cgagent.config import Settings
    from cgagent.images.archives.writing import Form
    from cgagent.images.distribution.push import Pushed
    from cgagent.images.distribution.registries import Registries
    from cgagent.images.drivers import Driver, RootFs
    from cgagent.images.reference import Reference
    from cgagent.images.removal import Users
    from cgagent.store import Database
    from cgagent.store.images import ImageRecord, LayerRecord

# `Images.list` hides the builtin inside the class.
ImageList: TypeAlias = list[Image]
Lines: TypeAlias = list[str]
PushedList: TypeAlias = "list[Pushed]"
Candidates: TypeAlias = list[Candidate]

_MIN_PREFIX: Final = 4
_HEX: Final = frozenset("0123456789abcdef")


def _ignore(progress: Progress) -> None:
    """For callers who do not watch."""


class Images:
    def __init__(self, settings: Settings, database: Database) -> None:
        self._settings = settings
        self._records = ImageRecords(database)
        self._content = ContentStore(settings.data_root, ContentRecords(database))
        self._layers = LayerStore(settings.data_root, self._records)
        self._origins = OriginRecords(database)
        self._installer = Installer(self._content, self._layers, self._records)
        self.storage = choose(settings.data_root, settings.storage_driver)
        self._driver: Driver = self.storage.driver
        self._files = ImageFiles(settings.data_root / "images")
        self.authors = Authors(self._content, self._installer, self._stored, self._keep)
        self.building = Building(
            self._content, self._layers, self._installer, self._records, StepRecords(database)
        )
        self._removal = Removal(self._records, self._content, self._layers, self._files)

    @cached_property
    def registries(self) -> Registries:
        from cgagent.images.distribution.registries import Registries  # urllib3 takes its time

        return Registries(
            self._settings, self._installer, self._content, self._records, self._origins
        )

    def resolve(self, name: str) -> Image:
        """The image of that name, tag, digest, id or unique beginning of an id.

        ``host`` is the machine's own root as a read-only lower layer: a container of it can read
        every file of the host.

        Raises:
            NoSuchImageError: no such image here; it can perhaps be pulled.
            InvalidInputError: the name is malformed, or several ids begin with it.
        """
        return HOST if name == HOST.id else image_of(self._find(name))

    def list(self) -> ImageList:
        """The stored images, latest added first. ``host`` is not stored and not listed."""
        return [image_of(record) for record in self._records.all()]

    async def pull(
        self,
        name: str,
        progress: Callable[[Progress], None] = _ignore,
        *,
        credentials: Credentials = ANONYMOUS,
        platform: str = "",
    ) -> Image:
        """Fetches `name` from its registry and gives it that name here.

        `platform` is ``OS/ARCH[/VARIANT]``; empty: this machine's.

        Raises:
            InvalidInputError, NotFoundError, DeniedError, UnsupportedError, NoSpaceError,
            UnavailableError, DeadlineError, RemoteError: as `Registries.pull` says.
        """
        _pullable(name)
        wanted = Platform.parse(platform) if platform else None
        image_id, _ = await self.registries.pull(
            name, progress, credentials=credentials, platform=wanted
        )
        return image_of(await in_thread(lambda _: self._keep(image_id)))

    async def push(
        self,
        name: str,
        progress: Callable[[Progress], None] = _ignore,
        *,
        credentials: Credentials = ANONYMOUS,
        all_tags: bool = False,
    ) -> PushedList:
        """Sends what a name stands for, or every tag of its repository.

        Raises:
            NoSuchImageError: there is no such name here.
            InvalidInputError, DeniedError, NotFoundError, NoSpaceError, UnavailableError,
            DeadlineError, RemoteError: as `Registries.push` says.
        """
        wanted = _pullable(name)
        if all_tags and wanted.tag and name.endswith(f":{wanted.tag}"):
            raise InvalidInputError(f"image {name} has a tag, and all tags are asked for")
        named = [
            (references.parse(one), record)
            for record in self._records.all()
            for one in record.names
            if (all_tags and _is_tag_of(wanted, one)) or one == str(wanted)
        ]
        if not named:
            raise NoSuchImageError(
                f"no image here has the name {wanted.familiar}: a push needs a name, which "
                "'cgagent tag' gives"
            )
        pushed = await self.registries.push(named, progress, credentials=credentials)
        for image_id in {record.id for _, record in named}:
            if self._records.get(image_id) is not None:
                await in_thread(partial(self._kept, image_id))
        return pushed

    async def load(
        self,
        archive: str,
        progress: Callable[[Progress], None] = _ignore,
        *,
        shown: str | None = None,
    ) -> ImageList:
        """Adds the images in an archive of ``docker save`` or an OCI archive; all or none.

        It may be a directory. `shown` is what to call it. An image without a name in the archive
        is loaded under its id alone. What is returned has the names of the archive alone.

        Raises:
            NotFoundError: there is no such file.
            InvalidInputError: it is no image archive, or a damaged or hostile one.
            UnsupportedError, NoSpaceError.
        """

        def read(stop: threading.Event) -> Candidates:
            return candidates(open_archive(archive, shown or archive, str(scratch), stop))

        with self._content.scratch() as scratch:
            found = await in_thread(read)
            ids = await self._installer.install(found, progress)
        records = await in_thread(lambda _: [self._keep(image_id) for image_id in ids])
        named = zip(records, found, strict=True)
        return [replace(image_of(record), names=candidate.names) for record, candidate in named]

    @contextmanager
    def saving(self, names: Sequence[str], form: Form) -> Iterator[Iterator[bytes]]:
        """An archive of the images as a stream, in a thread; they stay until the block's end.

        A repository without a tag means all of its tags.

        Raises:
            NoSuchImageError, InvalidInputError: as `resolve`.
            NotFoundError: a part of an image is lost.
        """
        with self._content.leased("save") as lease:
            images = together(one for name in names for one in self._wanted(name))
            for image in images:
                lease.hold(filter(None, (image.record.id, image.record.manifest)))
                lease.hold(image.record.targets.values())
            yield chunks(self._content, images, form)

    def _wanted(self, name: str) -> Iterator[Wanted]:
        repository = references.bare_repository(name)
        found = [Wanted.of(r, repository) for r in self._records.all()] if repository else []
        of_repository = [image for image in found if image.names]
        if of_repository:
            yield from of_repository
            return
        record = self._find(name)
        meant = name_in(record, name)
        yield Wanted(record, (str(meant),) if meant else ())

    def kept(self, image_id: str) -> Image:
        """An image that has just been installed, now that its rows have a second copy."""
        return image_of(self._keep(image_id))

    def _kept(self, image_id: str, _stop: threading.Event) -> ImageRecord:
        return self._keep(image_id)

    def _keep(self, image_id: str) -> ImageRecord:
        """Write the second copy of its rows."""
        record = self._stored(image_id)
        self._files.keep(record, self._content.records.links(image_id))
        return record

    def remove(self, name: str, *, in_use: Users, force: bool = False) -> Removed:
        """Takes a name off an image, and deletes the image when that was its last.

        `in_use` has the containers of an image id. Removal by id takes all names off, several only
        with `force`. By force also an image goes that a container stands on, which keeps its files;
        one that runs keeps the image, without a name.

        Raises:
            NoSuchImageError, InvalidInputError: as `resolve`.
            ConflictError: a container uses it, or it has several names.
        """
        if name == HOST.id:
            raise ConflictError("image host is this machine itself and cannot be removed")
        return self._removal.remove(name, lambda: self._find(name), in_use, force=force)

    def prune(self, is_wanted: Callable[[Image], bool], in_use: Users) -> Removed:
        """Deletes the images that no container uses and that are not wanted otherwise."""
        done = [
            self._removal.remove_unused(record, in_use)
            for record in self._records.all()
            if not is_wanted(image_of(record))
        ]
        lines = tuple(line for one in done for line in one.lines)
        ids = tuple(image_id for one in done for image_id in one.images)
        return Removed(lines, ids, sum(one.freed_bytes for one in done))

    def tag(self, source: str, name: str) -> Image:
        """Give an image one more name, which another image loses if it has it.

        Raises:
            NoSuchImageError, InvalidInputError.
        """
        wanted = references.taggable(name)
        with self._records.transaction():
            record = self._find(source)
            meant = name_in(record, source)
            target = record.targets[str(meant)] if meant else record.manifest or record.id
            self._records.set_name(str(wanted), record.id, target)
        return image_of(self._keep(record.id))

    def config_of(self, image: Image) -> bytes:
        """Its configuration, byte for byte as it came."""
        return self._stored(image.id).config

    def blobs_bytes(self) -> int:
        """Of all indexes, manifests, configurations and layers as they came."""
        return sum(blob.size_bytes for blob in self._content.records.all())

    def scratch(self) -> AbstractContextManager[Path]:
        """A temporary file on the store's disk."""
        return self._content.scratch()

    async def complete(self, image: Image) -> bool:
        """Unpacks layers again whose files are lost; were there any?

        Raises:
            InternalError: their blobs are lost, too.
        """
        if all(map(self._layers.is_there, image.layers)):
            return False
        await self._installer.complete(self._stored(image.id))
        return True

    async def check(self, progress: Callable[[Progress], None], *, repair: bool) -> Report:
        """Reads every blob, and mends what is wrong if `repair`: from blobs, or a registry."""
        check = Check(self._records, self._content, self._layers, self._installer, self.pull)
        return await check.run(progress, repair=repair)

    def settle(self) -> None:
        """Puts unpacked layers on disk, so that a power cut does not cost them. For a thread."""
        self._layers.settle()

    def manifest(self, image: Image) -> bytes | None:
        """As it came; None: the image came in an archive of ``docker save``.

        Raises:
            NotFoundError, InternalError: it is lost, or damaged.
        """
        digest = self._stored(image.id).manifest
        return None if digest is None else self._content.read(digest)

    def blob(self, digest: str) -> BinaryIO:
        """An index, manifest, config or layer as it came, whose bytes nobody has verified again.

        Raises:
            NotFoundError
        """
        return self._content.open(digest)

    def prepare(self, image: Image, container_id: str, limit_bytes: int | None = None) -> RootFs:
        """Directories for the root file system of a new container; nothing is mounted.

        What the container writes may have so many bytes on disk. Quick where
        `storage.driver.is_quick`, else for a thread.

        Raises:
            NoSpaceError
            UnsupportedError: the storage driver cannot limit it, or cannot have this image.
            NoSuchImageError: the image was removed meanwhile.
            ConflictError: the container has one.
            InternalError: a layer is lost; `complete` comes first.
        """
        if image.id == HOST.id:
            return self._driver.prepare(container_id, ("/",), limit_bytes)
        lowers = self._layers.lowers(self._layers_of(image))
        if not all(map(os.path.isdir, lowers)):
            raise InternalError(
                f"image {image.id[:19]}: a layer of it is lost; 'cgagent system check --repair' "
                "unpacks it again"
            )
        try:
            if image.is_step:
                self._records.add_step_rootfs(container_id, image.id, b"{}", image.layers)
            else:
                self._records.add_rootfs(container_id, image.id)
        except sqlite3.IntegrityError:
            raise ConflictError(
                f"container {container_id[:12]} has a root file system already, or image "
                f"{image.id[:19]} was removed meanwhile"
            ) from None
        try:
            return self._driver.prepare(container_id, lowers, limit_bytes)
        except BaseException:
            self._records.delete_rootfs(container_id)
            raise

    def _layers_of(self, image: Image) -> Sequence[LayerRecord]:
        if not image.is_step:
            return self._stored(image.id).layers
        return [found for c in image.layers if (found := self._records.layer(c)) is not None]

    def written_bytes(self, container_id: str) -> int | None:
        """What the container has written, on disk; None: only a walk of its files can tell."""
        return self._driver.written_bytes(container_id)

    def release(self, container_id: str) -> None:
        """Removes what `prepare` made and the container wrote; nothing there is no error."""
        self._driver.remove(container_id)
        if self._records.delete_rootfs(container_id):
            collect(self._records, self._content, self._layers)

    def recover(self) -> Lines:
        """At the agent's start, before `sweep`: what is lost is made again of blobs.

        Images that cannot be made again are dropped. Returns a line about each that changed.
        """
        return Recovery(self._records, self._content, self._layers, self._files).run()

    def stand_on(self, roots: Iterable[tuple[str, str, RootFs]]) -> None:
        """At the agent's start: keeps the layers of containers whose roots the database has lost.

        `roots` are ids of container and image, and what is mounted.
        """
        known = set(self._records.rootfs_containers())
        held = None
        for container_id, image_id, root in roots:
            if image_id == HOST.id or container_id in known:
                continue
            if self._records.get(image_id) is None:
                held = held or self._content.lease("containers of lost images")
                held.hold(self._layers.chain_ids_of(root.lowers))
            else:
                self._records.add_rootfs(container_id, image_id)

    def set_apart(self, container_id: str, where: Path) -> None:
        """Moves what a container wrote to `where`, which is on the same disk."""
        self._driver.move(container_id, where)
        self._records.delete_rootfs(container_id)

    def sweep(self, containers: set[str]) -> None:
        """At the agent's start: removes what is half-made or belongs to no container."""
        self._content.sweep()
        for container_id in self._driver.containers() | set(self._records.rootfs_containers()):
            if container_id not in containers:
                self.release(container_id)
        self._layers.sweep()
        collect(self._records, self._content, self._layers)

    def _find(self, name: str) -> ImageRecord:
        digits = name.removeprefix("sha256:")
        is_hex = bool(digits) and set(digits) <= _HEX
        if not (is_hex and (len(digits) == 64 or digits != name)):  # noqa: PLR2004
            for wanted in [references.parse(name), *self._added(name)]:
                image_id = self._id_by_name(wanted)
                if image_id:
                    return self._stored(image_id)
        found = (
            self._records.ids_with_prefix(f"sha256:{digits}")
            if is_hex and len(digits) >= _MIN_PREFIX
            else []
        )
        if len(found) > 1:
            raise InvalidInputError(
                f"image id {name!r} is ambiguous: {len(found)} images begin with it; give more "
                "digits"
            )
        if not found:
            raise NoSuchImageError(f"no such image: {name}; 'cgagent pull {name}' fetches it")
        return self._stored(found[0])

    def _id_by_name(self, wanted: Reference) -> str | None:
        if wanted.digest:  # a tag beside a digest is for people to read
            wanted = replace(wanted, tag=None)
        return self._records.id_of(str(wanted))

    def _added(self, name: str) -> Iterable[Reference]:
        """What a name without a registry may mean beside docker.io's."""
        return self.registries.rules.candidates(name) if self._settings.add_registries else ()

    def _stored(self, image_id: str) -> ImageRecord:
        record = self._records.get(image_id)
        if record is None:
            raise NoSuchImageError(f"no such image: {image_id}: it was removed meanwhile")
        return record


def _is_tag_of(wanted: Reference, name: str) -> bool:
    found = references.parse(name)
    return found.name == wanted.name and found.tag is not None


def _pullable(name: str) -> Reference:
    if name == HOST.id:
        raise InvalidInputError("image host is this machine itself: there is nothing to pull")
    return references.parse(name)
