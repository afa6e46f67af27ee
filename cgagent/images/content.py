"""Blobs by digest: `<data_root>/images/blobs/sha256/<hex>`, byte for byte as they came.

They are the truth about images; unpacked layers and rows can be made of them again. A blob is
written to a file in `images/ingest`, verified, put on disk, and only then renamed to its digest and
given a row. It stays as long as an image, a name or a `Lease` leads to it. `Images` owns the one
`ContentStore`; the methods of a `BlobWriter` belong into a thread.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import tempfile
import threading
from contextlib import ExitStack, asynccontextmanager, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Final

from cgagent.concurrency import StoppedError, in_thread
from cgagent.errors import InternalError, InvalidInputError, NotFoundError
from cgagent.store.content import Blob
from cgagent.store.disk import disk_full_is_no_space, sync_directory

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Iterable, Iterator
    from typing import BinaryIO

    from cgagent.store.content import ContentRecords

_CHUNK: Final = 1 << 20
_STOP_S: Final = 0.2
"""How soon a follower notices that it shall stop."""


class RestartedError(Exception):
    """What was read of a growing blob is void: it comes again from its first byte."""


class BlobWriter:
    """Receives one blob. Only `commit` makes it visible, and only when size and digest fit.

    Others may `follow` what is written, from threads of their own.
    """

    def __init__(self, lease: Lease, directory: Path, size: int, digest: str | None) -> None:
        self.size = size
        self.digest = digest
        self.written = 0
        self._lease = lease
        self._what = f"blob {digest}" if digest else "blob"
        self._hash = hashlib.sha256()
        self._changed = threading.Condition()
        self._restarts = 0
        self._is_closed = False
        self._kept: Path | None = None
        with disk_full_is_no_space(self._what, directory):
            self._fd, path = tempfile.mkstemp(prefix="tmp-", dir=directory)
        self._path = Path(path)

    def write(self, chunk: bytes) -> None:
        if self.written + len(chunk) > self.size:
            raise InvalidInputError(
                f"{self._what} is longer than the {self.size} bytes that its manifest says"
            )
        self._hash.update(chunk)
        view = memoryview(chunk)
        with disk_full_is_no_space(self._what, self._path):
            while view:
                view = view[os.write(self._fd, view) :]
        with self._changed:
            self.written += len(chunk)
            self._changed.notify_all()

    def restart(self) -> None:
        """Forgets what was written: the other end cannot resume."""
        with self._changed:
            self._restarts += 1
            self.written = 0
            self._changed.notify_all()
        os.ftruncate(self._fd, 0)
        os.lseek(self._fd, 0, os.SEEK_SET)
        self._hash = hashlib.sha256()

    @contextmanager
    def follow(self, stop: threading.Event) -> Iterator[Follower]:
        """Reads the bytes while they come; ends with the last one, which is not verified then.

        Raises:
            StoppedError: no more will come, or `stop` is set.
            RestartedError: begin again.
        """
        with self._changed:
            if not self._is_closed:
                fd = os.dup(self._fd)
            elif self._kept is not None:
                fd = os.open(self._kept, os.O_RDONLY | os.O_CLOEXEC)
            else:
                raise StoppedError
            restarts = self._restarts
        try:
            yield Follower(self, fd, restarts, stop)
        finally:
            os.close(fd)

    def wait_for(self, offset: int, restarts: int, stop: threading.Event) -> int:
        """For a follower: how many bytes after `offset` are here; none only at the end."""
        with self._changed:
            while True:
                if restarts != self._restarts:
                    raise RestartedError
                if self.written > offset or self.written == self.size:
                    return self.written - offset
                if self._is_closed or stop.is_set():
                    raise StoppedError
                self._changed.wait(_STOP_S)

    def commit(self, media_type: str) -> str:
        """The blob is in the store, and the lease has it; its digest. `sync` writes it to disk.

        Raises:
            InvalidInputError: it is not what was expected.
            NoSpaceError
        """
        if self.written != self.size:
            raise InvalidInputError(
                f"{self._what} has {self.written} bytes, its manifest says {self.size}"
            )
        actual = f"sha256:{self._hash.hexdigest()}"
        if self.digest not in (None, actual):
            raise InvalidInputError(
                f"{self._what} has the digest {actual}: its content was changed or damaged"
            )
        with disk_full_is_no_space(self._what, self._path):
            self._kept = self._lease.place(self._path, Blob(actual, media_type, self.size))
        return actual

    def close(self) -> None:
        with self._changed:
            self._is_closed = True
            self._changed.notify_all()
            os.close(self._fd)
        with contextlib.suppress(FileNotFoundError):  # gone after a commit
            self._path.unlink()


class Follower:
    """A file of a blob that is being written. See `BlobWriter.follow`."""

    def __init__(self, writer: BlobWriter, fd: int, restarts: int, stop: threading.Event) -> None:
        self._writer = writer
        self._fd = fd
        self._restarts = restarts
        self._stop = stop
        self._offset = 0

    def read(self, size: int, /) -> bytes:
        there = self._writer.wait_for(self._offset, self._restarts, self._stop)
        chunk = os.pread(self._fd, min(size, there), self._offset)
        # after a restart it may be what was cut off meanwhile
        self._writer.wait_for(self._offset, self._restarts, self._stop)
        self._offset += len(chunk)
        return chunk


class Lease:
    """Holds blobs and layers that no image leads to yet, or not any more; see `leased`."""

    def __init__(self, store: ContentStore, number: int) -> None:
        self._store = store
        self._number = number

    def hold(self, digests: Iterable[str]) -> None:
        """Blobs and chain ids of layers, present or to come, with all that they refer to."""
        self._store.records.hold(self._number, digests)

    @contextmanager
    def writer(self, size: int, digest: str | None = None) -> Iterator[BlobWriter]:
        """For one blob of this digest, or of the one that it will turn out to have."""
        writer = BlobWriter(self, self._store.ingest, size, digest)
        try:
            yield writer
        finally:
            writer.close()

    def put(self, raw: bytes, media_type: str) -> str:
        """Add a small blob; its digest."""
        digest = digest_of(raw)
        self.hold((digest,))
        if not self._store.has(digest):
            with self.writer(len(raw), digest) as writer:
                writer.write(raw)
                writer.commit(media_type)
        return digest

    def place(self, made: Path, blob: Blob) -> Path:
        """Give a file its name and its row."""
        return self._store.place(made, blob, self._number)


class ContentStore:
    def __init__(self, data_root: Path, records: ContentRecords) -> None:
        self.records = records
        self.ingest = data_root / "images" / "ingest"
        self._blobs = data_root / "images" / "blobs" / "sha256"
        self._placing = threading.Lock()  # a file and its row come and go together
        self._unsynced: dict[str, object] = {}
        """By digest, a mark of the file that a power cut may still take."""
        with disk_full_is_no_space(f"content store {self._blobs}", self._blobs):
            self._blobs.mkdir(mode=0o700, parents=True, exist_ok=True)
            self.ingest.mkdir(mode=0o700, exist_ok=True)
        records.end_leases()

    @contextmanager
    def leased(self, owner: str) -> Iterator[Lease]:
        """A lease for the length of the block; `collect` afterwards removes what only it had."""
        lease = self.lease(owner)
        try:
            yield lease
        finally:
            self.end(lease)

    @asynccontextmanager
    async def leasing(self, owner: str, digests: Iterable[str] = ()) -> AsyncIterator[Lease]:
        """As `leased`, in threads: the database waits for a disk that may be busy.

        The lease has the `digests` from its beginning.
        """
        with_lease = ExitStack()

        def begin(_stop: threading.Event) -> Lease:
            lease = with_lease.enter_context(self.leased(owner))
            lease.hold(digests)
            return lease

        try:
            yield await in_thread(begin)
        finally:  # cancelled while it was opened, it is there as well
            await in_thread(lambda _: with_lease.close())

    def lease(self, owner: str) -> Lease:
        """One that lasts until `end`, or until the agent ends."""
        return Lease(self, self.records.open_lease(owner))

    def end(self, lease: Lease) -> None:
        self.records.end_lease(lease._number)  # noqa: SLF001 -- its own class

    def path(self, digest: str) -> Path:
        return self._blobs / digest.removeprefix("sha256:")

    def has(self, digest: str) -> bool:
        """Is it here with the size that it must have? Its bytes are not read."""
        blob = self.records.get(digest)
        return blob is not None and self.size_bytes(digest) == blob.size_bytes

    def size_bytes(self, digest: str) -> int | None:
        """Of its file; None: there is none."""
        try:
            return self.path(digest).stat().st_size
        except FileNotFoundError:
            return None

    def open(self, digest: str) -> BinaryIO:
        """Raises NotFoundError."""
        try:
            return self.path(digest).open("rb")
        except FileNotFoundError:
            raise _not_here(digest) from None

    def read(self, digest: str) -> bytes:
        """A small blob, verified.

        Raises:
            NotFoundError: it is not here.
            InternalError: it is damaged.
        """
        with self.open(digest) as file:
            raw = file.read()
        if digest_of(raw) != digest:
            raise InternalError(f"blob {digest} is damaged; 'cgagent system check' says more")
        return raw

    def is_intact(
        self, digest: str, stop: threading.Event, progress: Callable[[int], None]
    ) -> bool:
        """Does its file have this digest? `progress` is told how many bytes were read."""
        found, count = hashlib.sha256(), 0
        with self.open(digest) as file:
            while chunk := file.read(_CHUNK):
                if stop.is_set():
                    raise StoppedError
                found.update(chunk)
                count += len(chunk)
                progress(count)
        return f"sha256:{found.hexdigest()}" == digest

    def place(self, made: Path, blob: Blob, lease: int) -> Path:
        """Called by the lease's writer: `made` is verified."""
        target = self.path(blob.digest)
        with self._placing:
            self._unsynced[blob.digest] = object()
            made.rename(target)
            self.records.add(blob, lease)
        return target

    def sync(self, digests: Iterable[str]) -> None:
        """Writes these blobs to disk, if they are not there: before an image's rows name them.

        Raises:
            NoSpaceError
        """
        with self._placing:
            marks = {d: self._unsynced[d] for d in digests if d in self._unsynced}
        if not marks:
            return
        with disk_full_is_no_space(f"content store {self._blobs}", self._blobs):
            for digest in marks:
                self._sync_one(digest)
            sync_directory(self._blobs)
        with self._placing:
            for digest, mark in marks.items():
                if self._unsynced.get(digest) is mark:  # else it has come again meanwhile
                    del self._unsynced[digest]

    def _sync_one(self, digest: str) -> None:
        with contextlib.suppress(NotFoundError), self.open(digest) as file:
            try:
                os.fsync(file.fileno())
            except OSError:  # it tells once: another fsync of these pages would succeed
                self.drop(digest)
                raise

    def discard(self, digests: Iterable[str]) -> None:
        """Remove the files of rows that were deleted, unless they have come again meanwhile."""
        for digest in digests:
            with self._placing:
                if self.records.get(digest) is None:
                    self._set_aside(digest)
        self._delete_set_aside()

    def drop(self, digest: str) -> None:
        """Remove the file of a damaged blob. Its row stays."""
        with self._placing:
            self._set_aside(digest)
        self._delete_set_aside()

    def _set_aside(self, digest: str) -> None:
        """Rename a blob's file, so that it can be deleted without the lock."""
        with contextlib.suppress(FileNotFoundError):
            self.path(digest).rename(self.ingest / f"gone-{digest.removeprefix('sha256:')}")

    def _delete_set_aside(self) -> None:
        """Deleting a large file takes its time: nobody waits for the lock meanwhile."""
        for path in self.ingest.glob("gone-*"):
            path.unlink(missing_ok=True)

    @contextmanager
    def scratch(self) -> Iterator[Path]:
        """A temporary file of the caller's, removed afterwards, by `sweep` if need be."""
        with disk_full_is_no_space(f"content store {self._blobs}", self._blobs):
            fd, path = tempfile.mkstemp(prefix="tmp-", dir=self.ingest)
        os.close(fd)
        try:
            yield Path(path)
        finally:
            os.unlink(path)

    def sweep(self) -> None:
        """Removes what earlier agents left half-made. Call before the first pull."""
        for path in self.ingest.iterdir():
            path.unlink()
        known = {self.path(blob.digest) for blob in self.records.all()}
        for path in self._blobs.iterdir():
            if path not in known:
                path.unlink()


def digest_of(raw: bytes) -> str:
    return f"sha256:{hashlib.sha256(raw).hexdigest()}"


def _not_here(digest: str) -> NotFoundError:
    return NotFoundError(f"blob {digest} is not here; 'cgagent system check' says more")
