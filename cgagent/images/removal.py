"""Taking names off images and deleting them, by docker's rules. `Images` owns the one `Removal`."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from cgagent.errors import ConflictError, InvalidInputError
from cgagent.images import reference as references
from cgagent.images.garbage import collect

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from typing import TypeAlias

    from cgagent.images.content import ContentStore
    from cgagent.images.layers import LayerStore
    from cgagent.images.recovery import ImageFiles
    from cgagent.images.reference import Reference
    from cgagent.store.images import ImageRecord, ImageRecords

    Users: TypeAlias = Callable[[str], list["User"]]
    """The containers of an image, by its id."""


@dataclass(frozen=True, slots=True)
class User:
    """A container that is made of an image."""

    name: str
    running: bool


@dataclass(frozen=True, slots=True)
class Removed:
    """`lines` are those of ``docker rmi``, `images` are ids."""

    lines: tuple[str, ...] = ()
    images: tuple[str, ...] = ()
    freed_bytes: int = 0


class Removal:
    def __init__(
        self, records: ImageRecords, content: ContentStore, layers: LayerStore, files: ImageFiles
    ) -> None:
        self._records = records
        self._content = content
        self._layers = layers
        self._files = files

    def remove(
        self, name: str, find: Callable[[], ImageRecord], users: Users, *, force: bool
    ) -> Removed:
        """Take `name` off, and delete the image when that was its last and no container runs it.

        A container that does not run keeps what it stands on. `find` gives the image of that name.

        Raises:
            ConflictError: a container uses it, or it has several names and is meant by its id.
        """
        with self._records.transaction(essential=True):
            record = find()
            using = self.users(record.id, users)
            wanted = name_in(record, name)
            names = _dropped(wanted, record)
            is_last = set(names) == set(record.names)
            if wanted is None:
                _check_by_id(name, record, using, force=force)
            elif is_last and using and not force:
                raise ConflictError(
                    f"image {name} cannot be removed: container {_named(using)} uses it; remove "
                    "the container first, or take the name off with --force"
                )
            delete = is_last and not any(user.running for user in using)
            self._drop(record.id, names, delete=delete)
        return self._cleaned_up(record.id, names, delete=delete)

    def remove_unused(self, record: ImageRecord, users: Users) -> Removed:
        """With all its names, unless a container has come to use it."""
        with self._records.transaction(essential=True):
            if self._records.get(record.id) is None or self.users(record.id, users):
                return Removed()
            self._drop(record.id, record.names, delete=True)
        return self._cleaned_up(record.id, record.names, delete=True)

    def _drop(self, image_id: str, names: Sequence[str], *, delete: bool) -> None:
        self._records.drop_names(names)
        if delete:
            self._files.forget(image_id)
            self._records.remove(image_id)

    def _cleaned_up(self, image_id: str, names: Sequence[str], *, delete: bool) -> Removed:
        if not delete and (record := self._records.get(image_id)) is not None:
            self._files.keep(record, self._content.records.links(image_id))
        lines = [f"Untagged: {references.parse(n).familiar}" for n in names]
        lines += [f"Deleted: {image_id}"] * delete
        before = self._sizes()
        gone = collect(self._records, self._content, self._layers)  # of an index, perhaps
        lines += [f"Deleted: {chain_id}" for chain_id in gone]
        after = self._sizes()
        freed_bytes = sum(n for key, n in before.items() if key not in after)
        return Removed(tuple(lines), (image_id,) * delete, freed_bytes)

    def users(self, image_id: str, users: Users) -> list[User]:
        """A root file system that is being made has no container yet."""
        being_made = (User(c[:12], running=True) for c in self._records.rootfs_users(image_id))
        return users(image_id) or list(being_made)

    def _sizes(self) -> dict[tuple[str, str], int]:
        layers = {("layer", x.chain_id): x.size_bytes for x in self._records.layers()}
        return layers | {("blob", b.digest): b.size_bytes for b in self._content.records.all()}


def name_in(record: ImageRecord, text: str) -> Reference | None:
    """The one of the image's names that `text` means; None when it is an id."""
    try:
        wanted = references.parse(text)
    except InvalidInputError:
        return None
    if wanted.digest:  # a tag beside a digest is for people to read
        wanted = replace(wanted, tag=None)
    return wanted if str(wanted) in record.names else None


def _dropped(wanted: Reference | None, record: ImageRecord) -> tuple[str, ...]:
    if wanted is None:
        return record.names
    named = [references.parse(n) for n in record.names]
    others = [n for n in named if n.name == wanted.name and n != wanted]
    if any(n.tag for n in others):
        return (str(wanted),)
    return (str(wanted), *map(str, others))  # digests do not outlive the last tag


def _check_by_id(name: str, record: ImageRecord, using: list[User], *, force: bool) -> None:
    running = [user for user in using if user.running]
    if running:
        raise ConflictError(
            f"image {name} cannot be removed: running container {_named(running)} uses it; stop "
            "and remove the container first"
        )
    if force:
        return
    if using:
        raise ConflictError(
            f"image {name} cannot be removed: container {_named(using)} uses it; remove the "
            "container first, or take its names off with --force"
        )
    named = [references.parse(n) for n in record.names]
    if len({n.name for n in named}) > 1 or sum(n.tag is not None for n in named) > 1:
        raise ConflictError(
            f"image {name} has several names ({', '.join(n.familiar for n in named)}): remove it "
            "by each of them, or with --force"
        )


def _named(using: list[User]) -> str:
    return ", ".join(user.name for user in using)
