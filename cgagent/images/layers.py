"""Unpacked layers: `<data_root>/overlay2/<chain id>/diff`, and a short link to each in `l`.

A layer is unpacked by a confined child (`cgagent.images.unpacking`) into a temporary
directory and gets its name when its diff id is verified, so a directory with a name is whole, with
one exception: its files are written to disk later, by `settle`, and a power cut before that may
lose some. So a layer that was not settled in an earlier boot counts as missing. A missing layer is
unpacked again from its blob, under its old number.

The option string of mount(2) has room for one page: 26 bytes for each of 127 layers fit thanks to
the links; Linux 6.7 mounts more in another way. `Images` owns the one `LayerStore`; it sees to it
that one layer is added once at a time.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import os
import stat
import tempfile
import threading
import time
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Final

from cgagent.images.content import digest_of
from cgagent.images.unpack.trees import remove_tree
from cgagent.images.unpacking import PlainLayer, UnpackingProcess
from cgagent.kernel import beneath
from cgagent.kernel.boot import boot_id
from cgagent.kernel.syncing import sync_file_system
from cgagent.store import recordfiles
from cgagent.store.disk import disk_full_is_no_space
from cgagent.store.images import LayerRecord

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence

    from cgagent.images.unpacking import Reader
    from cgagent.store.images import ImageRecords

MAX_LAYERS: Final = 500
"""As many lower directories an overlay of Linux may have."""
_RECORD_FILE: Final = "layer.json"
_DIGITS: Final = "0123456789abcdefghijklmnopqrstuvwxyz"


def chain_ids(diff_ids: Sequence[str]) -> tuple[str, ...]:
    """What names each layer together with all below it, bottom first.

    https://github.com/opencontainers/image-spec/blob/main/config.md#layer-chainid
    """
    chain: list[str] = []
    for diff_id in diff_ids:
        if chain:
            both = f"{chain[-1]} {diff_id}".encode()
            chain.append(digest_of(both))
        else:
            chain.append(diff_id)
    return tuple(chain)


class LayerStore:
    def __init__(self, data_root: Path, records: ImageRecords) -> None:
        self._layers = data_root / "overlay2"
        self._links = data_root / "l"
        self._nothing = data_root / "empty"
        self._records = records
        self._placing = threading.Lock()  # a directory and its row come and go together
        self._boot_id = boot_id()
        with disk_full_is_no_space(f"layer store {self._layers}", self._layers):
            self._layers.mkdir(mode=0o700, parents=True, exist_ok=True)
            self._links.mkdir(mode=0o700, parents=True, exist_ok=True)

    def has(self, chain_id: str) -> bool:
        layer = self._records.layer(chain_id)
        return layer is not None and self.is_whole(layer)

    def is_whole(self, layer: LayerRecord) -> bool:
        is_linked = self._link(layer.number).is_dir()
        return is_linked and layer.boot_id in (None, self._boot_id)

    def is_there(self, chain_id: str) -> bool:
        """Since the agent's start, when all were made whole. Quick: each new container asks."""
        return os.path.isdir(f"{self._layers}/{chain_id[7:]}/diff")

    def lowers(self, layers: Sequence[LayerRecord]) -> tuple[str, ...]:
        """The layers' directories by their short links, top first, as overlayfs wants them."""
        links = tuple(str(self._link(layer.number)) for layer in reversed(layers))
        return links or (self.nothing,)

    def add(
        self,
        source: Reader,
        chain: Sequence[str],
        diff_id: str,
        process: UnpackingProcess,
        below: Callable[[], object] = lambda: None,
    ) -> None:
        """Unpacks the layer that `chain` ends with; `below` returns when those below are there.

        Raises:
            InvalidInputError: a bad archive, or content that is not what its diff id says.
            NoSpaceError, InternalError, and whatever `source` and `below` raise.
        """
        what = f"layer {diff_id[:19]}"
        with disk_full_is_no_space(f"{what}: unpacking", self._layers):
            directory = tempfile.mkdtemp(prefix="tmp-", dir=self._layers)
            try:
                diff = os.path.join(directory, "diff")
                os.mkdir(diff, 0o755)
                plain = PlainLayer(source, diff_id, what)

                def lowers() -> list[str]:
                    below()
                    return self._diffs(chain[:-1])

                size_bytes = process.unpack(iter(plain), diff, lowers, what)
                plain.check()
                below()
                self._commit(Path(directory), chain[-1], diff_id, size_bytes)
            except BaseException:
                _remove_if_there(Path(directory))
                raise

    def adopt(
        self,
        upper: str,
        chain: Sequence[str],
        diff_id: str,
        size_bytes: int,
        left_out: Iterable[str],
    ) -> bool:
        """Make an overlay's upper directory the layer that `chain` ends with, by renaming it.

        Nothing has it mounted any more, and its content is what the diff id says, without the
        paths `left_out`. False: it is on another file system, or in another project of a quota.

        Raises:
            NoSpaceError
        """
        with disk_full_is_no_space(f"layer {diff_id[:19]}: taking it over", self._layers):
            directory = tempfile.mkdtemp(prefix="tmp-", dir=self._layers)
            diff = os.path.join(directory, "diff")
            try:
                os.rename(upper, diff)
            except OSError as e:
                os.rmdir(directory)
                if e.errno != errno.EXDEV:
                    raise
                return False
            try:
                for path in sorted(left_out, reverse=True):  # what is in a directory comes first
                    _remove_made(diff, path)
                self._commit(Path(directory), chain[-1], diff_id, size_bytes)
            except BaseException:
                _remove_if_there(Path(directory))
                raise
        return True

    @property
    def nothing(self) -> str:
        """An empty directory, which stands below a root that no layer is below."""
        self._nothing.mkdir(mode=0o755, exist_ok=True)
        return str(self._nothing)

    def unpacking_process(self) -> UnpackingProcess:
        """One for several layers, which its caller closes."""
        return UnpackingProcess(self._layers)

    def verify(self, source: Reader, diff_id: str) -> None:
        """Reads a layer that is not to be unpacked.

        Raises:
            InvalidInputError: its content is not what its diff id says.
            StoppedError.
        """
        plain = PlainLayer(source, diff_id, f"layer {diff_id[:19]}")
        for _ in plain:
            pass
        plain.check()

    def _diffs(self, chain: Sequence[str]) -> list[str]:
        return [str(self._directory(chain_id) / "diff") for chain_id in reversed(chain)]

    def _commit(self, made: Path, chain_id: str, diff_id: str, size_bytes: int) -> None:
        record = {"diff_id": diff_id, "size": size_bytes, "boot_id": self._boot_id}
        recordfiles.write(made / _RECORD_FILE, record)
        with self._placing:
            if self.has(chain_id):  # it came from somewhere else meanwhile
                aside = made
            else:  # there is a part of one, perhaps, or one of an agent that died right here
                aside = self._set_aside(self._directory(chain_id))
                self._place(made, chain_id, diff_id, size_bytes)
        _remove_if_there(aside)

    def _place(self, made: Path, chain_id: str, diff_id: str, size_bytes: int) -> None:
        """Give a whole layer its name, its row and its link."""
        target = self._directory(chain_id)
        made.rename(target)
        try:
            with self._records.transaction():
                layer = self._records.add_layer(chain_id, diff_id, size_bytes, self._boot_id)
                link = self._link(layer.number)
                link.unlink(missing_ok=True)
                link.symlink_to(f"../{self._layers.name}/{target.name}/diff")
        except BaseException:
            _remove_if_there(target)
            raise

    def recover(self) -> None:
        """At the agent's start: the layers whose rows the database has lost have rows again."""
        known = {layer.chain_id for layer in self._records.layers()}
        for link in self._links.iterdir():
            target = self._layers / os.readlink(link).split("/")[-2]
            chain_id = f"sha256:{target.name}"
            if chain_id in known:
                continue
            with contextlib.suppress(recordfiles.DamagedRecordError, KeyError, TypeError):
                found = recordfiles.read(self._record_file(chain_id))
                if found is not None:
                    number, boot_id = int(link.name, len(_DIGITS)), found["boot_id"]
                    self._records.restore_layer(
                        LayerRecord(number, chain_id, found["diff_id"], found["size"], boot_id)
                    )
        for layer in self._records.layers():
            if self.is_there(layer.chain_id) and not self._record_file(layer.chain_id).exists():
                self._keep_record(layer)

    def missing(self) -> list[LayerRecord]:
        """Layers that the database has and the disk has not, or perhaps not as a whole."""
        return [layer for layer in self._records.layers() if not self.is_whole(layer)]

    def settle(self) -> None:
        """Writes to disk what was unpacked in this boot, which takes as long as the disk takes."""
        layers = [layer for layer in self._records.layers() if layer.boot_id == self._boot_id]
        before = {layer: found for layer in layers if (found := self._identity(layer))}
        if not before:
            return
        sync_file_system(self._layers)
        with self._placing:  # a layer may have gone meanwhile, or have been unpacked once more
            settled = [
                layer
                for layer, found in before.items()
                if self._identity(layer) == found and self._records.layer(layer.chain_id) == layer
            ]
            self._records.settle_layers(settled)
            for layer in settled:
                self._keep_record(replace(layer, boot_id=None))

    def _identity(self, layer: LayerRecord) -> tuple[int, int] | None:
        """Of its directory, which is another one when it was unpacked again; None: it is lost."""
        try:
            found = os.stat(self._directory(layer.chain_id) / "diff")
        except FileNotFoundError:
            return None
        return found.st_ino, found.st_ctime_ns

    def _keep_record(self, layer: LayerRecord) -> None:
        record = {"diff_id": layer.diff_id, "size": layer.size_bytes, "boot_id": layer.boot_id}
        recordfiles.write(self._record_file(layer.chain_id), record)

    def _record_file(self, chain_id: str) -> Path:
        return self._directory(chain_id) / _RECORD_FILE

    def chain_ids_of(self, lowers: Sequence[str]) -> list[str]:
        """The layers with these short links."""
        links = {os.path.basename(lower) for lower in lowers}
        return [x.chain_id for x in self._records.layers() if self._link(x.number).name in links]

    def discard(self, layers: Iterable[LayerRecord]) -> None:
        """Remove the files of rows that were deleted, unless they have come again meanwhile."""
        aside = []
        for layer in layers:
            with self._placing:
                self._link(layer.number).unlink(missing_ok=True)
                if self._records.layer(layer.chain_id) is None:
                    aside.append(self._set_aside(self._directory(layer.chain_id)))
        for directory in aside:
            _remove_if_there(directory)

    def _set_aside(self, directory: Path) -> Path:
        """Rename a directory, so that it can be deleted without the lock."""
        aside = self._layers / f"tmp-gone-{time.monotonic_ns()}"
        with contextlib.suppress(FileNotFoundError):
            directory.rename(aside)
        return aside

    def sweep(self) -> None:
        """Removes what earlier agents left half-made. Call before the first pull.

        Waits for the unpacking child of an agent that was killed a moment ago.
        """
        with self._locked(fcntl.LOCK_EX):
            self._remove_unknown()

    def _remove_unknown(self) -> None:
        known = self._records.layers()
        directories = {self._directory(layer.chain_id).name for layer in known}
        for path in self._layers.iterdir():
            if path.name not in directories:
                _remove_if_there(path)
        links = {self._link(layer.number).name for layer in known}
        for path in self._links.iterdir():
            if path.name not in links:
                path.unlink()

    @contextmanager
    def _locked(self, operation: int) -> Iterator[int]:
        fd = os.open(self._layers, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            fcntl.flock(fd, operation)
            yield fd
        finally:
            os.close(fd)

    def _directory(self, chain_id: str) -> Path:
        return self._layers / chain_id.removeprefix("sha256:")

    def _link(self, number: int) -> Path:
        name = ""
        while number:
            number, digit = divmod(number, len(_DIGITS))
            name = _DIGITS[digit] + name
        return self._links / name


def _remove_if_there(path: Path) -> None:
    with contextlib.suppress(FileNotFoundError):
        remove_tree(os.fsencode(path))


def _remove_made(root: str, path: str) -> None:
    """An empty file or directory that was made for a mount; no link on the way is followed."""
    directory, name = os.path.split(path)
    with contextlib.suppress(OSError), contextlib.ExitStack() as stack:
        top = os.open(root, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
        stack.callback(os.close, top)
        parent = beneath.open_beneath(top, directory, os.O_PATH | os.O_DIRECTORY)
        stack.callback(os.close, parent)
        found = os.stat(name, dir_fd=parent, follow_symlinks=False)
        if stat.S_ISDIR(found.st_mode):
            os.rmdir(name, dir_fd=parent)
        elif stat.S_ISREG(found.st_mode) and not found.st_size:
            os.unlink(name, dir_fd=parent)
