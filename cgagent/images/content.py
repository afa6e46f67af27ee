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
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Final

from cgagent.concurrency import StoppedError
from cgagent.errors import InternalError, InvalidInputError, NotFoundError
from cgagent.store.content import Blob
from cgagent.store.disk import disk_full_is_no_space, sync_directory

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator
    from typing import BinaryIO

    from cgagent.store.content import ContentRecords

_CHUNK: Final = 1 << 20


class BlobWriter:
    """Receives one blob. Only `commit` makes it visible, and only when size and digest fit."""

    def __init__(self, lease: Lease, directory: Path, size: int, digest: str | None) -> None:
        self.size = size
        self.digest = digest
        self.written = 0
        self._lease = lease
        self._what = f"blob {digest}" if digest else "blob"
        self._hash = hashlib.sha256()
        with disk_full_is_no_space(self._what):
            self._fd, path = tempfile.mkstemp(prefix="tmp-", dir=directory)
        self._path = Path(path)

    def write(self, chunk: bytes) -> None:
        self.written += len(chunk)
        if self.written > self.size:
            raise InvalidInputError(
                f"{self._what} is longer than the {self.size} bytes that its manifest says"
            )
        self._hash.update(chunk)
        view = memoryview(chunk)
        with disk_full_is_no_space(self._what):
            while view:
                view = view[os.write(self._fd, view) :]

    def restart(self) -> None:
        """Forgets what was written: the other end cannot resume."""
        os.ftruncate(self._fd, 0)
        os.lseek(self._fd, 0, os.SEEK_SET)
        self.written = 0
        self._hash = hashlib.sha256()

    def commit(self, media_type: str) -> str:
        """The blob is in the store, on disk, and the lease has it; its digest.

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
        with disk_full_is_no_space(self._what):
            os.fsync(self._fd)
            self._lease.place(self._path, Blob(actual, media_type, self.size))
        return actual

    def close(self) -> None:
        os.close(self._fd)
        with contextlib.suppress(FileNotFoundError):  # gone after a commit
            self._path.unlink()


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

    def place(self, made: Path, blob: Blob) -> None:
        """Give a file its name and its row."""
        self._store.place(made, blob, self._number)


class ContentStore:
    def __init__(self, data_root: Path, records: ContentRecords) -> None:
        self.records = records
        self.ingest = data_root / "images" / "ingest"
        self._blobs = data_root / "images" / "blobs" / "sha256"
        self._placing = threading.Lock()  # a file and its row come and go together
        with disk_full_is_no_space(f"content store {self._blobs}"):
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

    def place(self, made: Path, blob: Blob, lease: int) -> None:
        """Called by the lease's writer: `made` is verified and on disk."""
        with self._placing:
            made.rename(self.path(blob.digest))
            sync_directory(self._blobs)
            self.records.add(blob, lease)

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
        with disk_full_is_no_space(f"content store {self._blobs}"):
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
