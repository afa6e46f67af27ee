"""Content on its way into the store: `<data_root>/blobs/sha256/<hex>`, verified.

A blob lives while a pull needs it: once its layer is unpacked it is removed, since the
overlay directories hold the same bytes and configs are in the database. So whatever lies here
when the agent starts is left over. `Images` owns the one `BlobStore`; its methods are called
from the event loop's thread, except `BlobWriter.write` and `commit`.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import tempfile
from collections import Counter
from contextlib import contextmanager
from typing import TYPE_CHECKING

from cgagent.errors import RemoteError
from cgagent.store.disk import disk_full_is_no_space

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from pathlib import Path


class BlobWriter:
    """Receives one blob. Only `commit` makes it visible, and only when size and digest fit."""

    def __init__(self, directory: Path, digest: str, size: int) -> None:
        self._target = directory / digest.removeprefix("sha256:")
        self.digest = digest
        self.size = size
        self.written = 0
        self._hash = hashlib.sha256()
        with disk_full_is_no_space(f"blob {digest}"):
            self._fd, self._path = tempfile.mkstemp(prefix="tmp-", dir=directory)

    def write(self, chunk: bytes) -> None:
        self.written += len(chunk)
        if self.written > self.size:
            raise RemoteError(
                f"blob {self.digest} is longer than the {self.size} bytes that its manifest says"
            )
        self._hash.update(chunk)
        view = memoryview(chunk)
        with disk_full_is_no_space(f"blob {self.digest}"):
            while view:
                view = view[os.write(self._fd, view) :]

    def restart(self) -> None:
        """Forgets what was written: the other end cannot resume."""
        os.ftruncate(self._fd, 0)
        os.lseek(self._fd, 0, os.SEEK_SET)
        self.written = 0
        self._hash = hashlib.sha256()

    def commit(self) -> None:
        if self.written != self.size:
            raise RemoteError(
                f"blob {self.digest} has {self.written} bytes, its manifest says {self.size}"
            )
        actual = f"sha256:{self._hash.hexdigest()}"
        if actual != self.digest:
            raise RemoteError(
                f"blob {self.digest} has the digest {actual}: its content was changed or damaged"
            )
        os.rename(self._path, self._target)

    def close(self) -> None:
        os.close(self._fd)
        with contextlib.suppress(FileNotFoundError):  # gone after a commit
            os.unlink(self._path)


class BlobStore:
    def __init__(self, data_root: Path) -> None:
        self._directory = data_root / "blobs" / "sha256"
        self._pins: Counter[str] = Counter()
        with disk_full_is_no_space(f"blob store {self._directory}"):
            self._directory.mkdir(mode=0o700, parents=True, exist_ok=True)

    def path(self, digest: str) -> Path:
        return self._directory / digest.removeprefix("sha256:")

    def has(self, digest: str) -> bool:
        return self.path(digest).exists()

    @contextmanager
    def pinned(self, digests: Iterable[str]) -> Iterator[None]:
        """Keeps these blobs, present or to come, until the last who pinned them is done."""
        wanted = set(digests)
        self._pins.update(wanted)
        try:
            yield
        finally:
            self._pins.subtract(wanted)
            for digest in wanted:
                if self._pins[digest] <= 0:
                    del self._pins[digest]
                    self.path(digest).unlink(missing_ok=True)

    @contextmanager
    def writer(self, digest: str, size: int) -> Iterator[BlobWriter]:
        writer = BlobWriter(self._directory, digest, size)
        try:
            yield writer
        finally:
            writer.close()

    @contextmanager
    def scratch(self) -> Iterator[Path]:
        """A temporary file of the caller's, removed afterwards, by `sweep` if need be."""
        with disk_full_is_no_space(f"blob store {self._directory}"):
            fd, path = tempfile.mkstemp(prefix="tmp-", dir=self._directory)
        os.close(fd)
        try:
            yield self._directory / path
        finally:
            os.unlink(path)

    def sweep(self) -> None:
        """Removes what earlier agents left. Call before the first pull."""
        for path in self._directory.iterdir():
            path.unlink()
