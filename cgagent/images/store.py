"""The store of images: pull, load, list, remove, and root file systems for containers.

The engine owns the one instance of `Images`. Methods that may take
long are coroutines; the others do a few database reads and directory operations, except
`remove`, `release` and `sweep`, which delete files and belong into a thread.
"""

from __future__ import annotations

import os
import sqlite3
from contextlib import ExitStack
from dataclasses import replace
from functools import cached_property
from typing import TYPE_CHECKING, Final, TypeAlias

from cgagent.concurrency import in_thread
from cgagent.errors import ConflictError, InternalError, InvalidInputError, NoSuchImageError
from cgagent.images import archive as archives
from cgagent.images import reference as references
from cgagent.images.check import Check, Report
from cgagent.images.content import ContentStore
from cgagent.images.drivers.overlay2 import Overlay2
from cgagent.images.garbage import collect
from cgagent.images.image import HOST, Image, image_of
from cgagent.images.install import Candidate, Installer, Progress
from cgagent.images.layers import LayerStore
from cgagent.images.recovery import ImageFiles, Recovery
from cgagent.store.content import ContentRecords
from cgagent.store.images import ImageRecords

if TYPE_CHECKING:
    import threading
    from collections.abc import Callable, Iterable
    from pathlib import Path
    from typing import BinaryIO

    from cgagent.config import Settings
    from cgagent.images.drivers import Driver, RootFs
    from cgagent.images.reference import Reference
    from cgagent.images.registry import Registries
    from cgagent.store import Database
    from cgagent.store.images import ImageRecord

# `Images.list` hides the builtin inside the class.
ImageList: TypeAlias = list[Image]
Lines: TypeAlias = list[str]
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
        self._installer = Installer(self._content, self._layers, self._records)
        self._driver: Driver = Overlay2(settings.data_root)
        self._files = ImageFiles(settings.data_root / "images")

    @cached_property
    def _registries(self) -> Registries:
        from cgagent.images.registry import Registries  # httpx takes its time to load

        return Registries(self._settings, self._installer)

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

    async def pull(self, name: str, progress: Callable[[Progress], None] = _ignore) -> Image:
        """Fetches `name` from its registry, anonymously, and gives it that name here.

        Raises:
            InvalidInputError, NotFoundError, DeniedError, UnsupportedError, NoSpaceError,
            UnavailableError, DeadlineError, RemoteError: as `cgagent.images.registry` says.
        """
        wanted = _pullable(name)
        image_id = await self._registries.pull(wanted, progress)
        return image_of(await in_thread(lambda _: self._keep(image_id)))

    async def load(self, archive: str, progress: Callable[[Progress], None] = _ignore) -> ImageList:
        """Adds the images in an archive of ``docker save`` or an OCI archive; all or none.

        An image without a name in the archive is loaded under its id alone.

        Raises:
            NotFoundError: there is no such file.
            InvalidInputError: it is no image archive, or a damaged or hostile one.
            UnsupportedError, NoSpaceError.
        """

        def read(stop: threading.Event) -> Candidates:
            if not archives.is_compressed(archive):
                return archives.candidates(archive, archive)
            plain = str(opened.enter_context(self._content.scratch()))
            archives.decompress(archive, plain, stop)
            return archives.candidates(plain, archive)

        with ExitStack() as opened:
            candidates = await in_thread(read)
            ids = await self._installer.install(candidates, progress)
        records = await in_thread(lambda _: [self._keep(image_id) for image_id in ids])
        return [image_of(record) for record in records]

    def _keep(self, image_id: str) -> ImageRecord:
        """Write the second copy of its rows."""
        record = self._stored(image_id)
        self._files.keep(record, self._content.records.links(image_id))
        return record

    def remove(self, name: str, *, in_use: Callable[[str], Lines], force: bool = False) -> Lines:
        """Takes a name off an image, and deletes the image when that was its last.

        Returns the lines that ``docker rmi`` prints. `in_use` names the containers of an image
        id. Removal by id takes all names off, those in several repositories only with
        `force`. An image that a container uses is never deleted.

        Raises:
            NoSuchImageError, InvalidInputError: as `resolve`.
            ConflictError: a container uses it, or it has names in several repositories.
        """
        if name == HOST.id:
            raise ConflictError("image host is this machine itself and cannot be removed")
        with self._records.transaction(essential=True):
            record = self._find(name)
            names = self._names_to_drop(name, record, force=force)
            last = set(names) == set(record.names)
            if last:
                self._refuse_if_used(name, record.id, in_use(record.id))
            self._records.drop_names(names)
            if last:
                self._files.forget(record.id)
                self._records.delete(record.id)
        if not last:
            self._keep(record.id)
        lines = [f"Untagged: {references.parse(n).familiar}" for n in names]
        if last:
            lines.append(f"Deleted: {record.id}")
        removed = collect(self._records, self._content, self._layers)  # an index, perhaps
        lines += [f"Deleted: {chain_id}" for chain_id in removed]
        return lines

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

    def prepare(self, image: Image, container_id: str) -> RootFs:
        """Directories for the root file system of a new container; nothing is mounted.

        Raises:
            NoSuchImageError: the image was removed meanwhile.
            ConflictError: the container has one.
            InternalError: a layer is lost; `complete` comes first.
        """
        if image.id == HOST.id:
            return self._driver.prepare(container_id, ("/",))
        record = self._stored(image.id)
        lowers = self._layers.lowers(record.layers)
        if not all(map(os.path.isdir, lowers)):
            raise InternalError(
                f"image {image.id[:19]}: a layer of it is lost; 'cgagent system check --repair' "
                "unpacks it again"
            )
        try:
            self._records.add_rootfs(container_id, image.id)
        except sqlite3.IntegrityError:
            raise ConflictError(
                f"container {container_id[:12]} has a root file system already, or image "
                f"{image.id[:19]} was removed meanwhile"
            ) from None
        try:
            return self._driver.prepare(container_id, lowers)
        except BaseException:
            self._records.delete_rootfs(container_id)
            raise

    def release(self, container_id: str) -> None:
        """Removes what `prepare` made and the container wrote; nothing there is no error."""
        self._driver.remove(container_id)
        self._records.delete_rootfs(container_id)

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
            image_id = self._id_by_name(references.parse(name))
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

    def _stored(self, image_id: str) -> ImageRecord:
        record = self._records.get(image_id)
        if record is None:
            raise NoSuchImageError(f"no such image: {image_id}; it was removed meanwhile")
        return record

    def _names_to_drop(self, name: str, record: ImageRecord, *, force: bool) -> tuple[str, ...]:
        named = [references.parse(n) for n in record.names]
        wanted = self._name_of(name, record)
        if wanted is None:
            if len({n.name for n in named}) > 1 and not force:
                raise ConflictError(
                    f"image {name} has names in several repositories "
                    f"({', '.join(n.familiar for n in named)}): remove it by name or with force"
                )
            return record.names
        others = [n for n in named if n.name == wanted.name and n != wanted]
        if any(n.tag for n in others):
            return (str(wanted),)
        return (str(wanted), *map(str, others))  # digests do not outlive the last tag

    def _name_of(self, text: str, record: ImageRecord) -> Reference | None:
        """The one of the image's names that `text` means; none when it is an id."""
        try:
            wanted = references.parse(text)
        except InvalidInputError:
            return None
        if wanted.digest:
            wanted = replace(wanted, tag=None)
        return wanted if str(wanted) in record.names else None

    def _refuse_if_used(self, name: str, image_id: str, containers: Lines) -> None:
        users = containers or [c[:12] for c in self._records.rootfs_users(image_id)]
        if users:
            raise ConflictError(
                f"image {name} cannot be removed: container {', '.join(users)} uses it; remove "
                "the container first"
            )


def _pullable(name: str) -> Reference:
    if name == HOST.id:
        raise InvalidInputError("image host is this machine itself: there is nothing to pull")
    return references.parse(name)
