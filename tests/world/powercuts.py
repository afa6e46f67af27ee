"""A power cut at random instants of a pull: what is on the disk then is all that there is.

The store is on ext4 in a file, and that file on btrfs, where a copy of it is made in one instant
(FICLONE): the copy is what a disk has after the power was cut, with all that was not synced
missing. Each copy is mounted, and an agent of the next boot starts on it.
"""

from __future__ import annotations

import asyncio
import fcntl
import hashlib
import os
import random
import subprocess
import sys
import time
from contextlib import closing
from typing import TYPE_CHECKING, Any, Final

from cgagent.config import Settings
from cgagent.images.store import Images
from cgagent.store import Database
from tests.world import disks, layered

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.world.registry import Registry

_FICLONE: Final = 0x40049409
_LAYERS: Final = 6
_FILES: Final = 60
_FILE_BYTES: Final = 20_000
_AGENT: Final = """
import asyncio, sys, time
from pathlib import Path
from cgagent.config import Settings
from cgagent.images.store import Images
from cgagent.store import Database

root, name = Path(sys.argv[1]), sys.argv[2]
images = Images(Settings(data_root=root), Database(root))
import cgagent.images.distribution.registries
print("begun", flush=True)
asyncio.run(images.pull(name))
time.sleep(0.3)  # so that cuts come at each of its states
images.settle()
time.sleep(0.3)
images.remove(name, in_use=lambda _: [], force=True)
"""


def cut(folder: Path, registry: Registry, count: int, seed: int) -> dict[str, int]:
    """What was found on the disks of so many cuts: the image or none, and layers made again.

    Raises:
        NoFileSystemError: the kernel lacks one that this takes.
    """
    source = random.Random(seed)  # noqa: S311 -- for a test
    archive = folder / "layered.tar"
    layered.archive(archive, "layered:1", _LAYERS, _FILES, _FILE_BYTES)
    name = layered.push(archive, registry, "layered:1")
    with disks.mounted(folder, "btrfs", size="2G") as outer:
        copies = list(_copies(outer, name, count, source))
        found = {"image": 0, "no image": 0, "unpacked again": 0}
        for number, copy in enumerate(copies):
            where = folder / f"cut-{number}"
            with disks.mounted_image(copy, where, "ext4") as mounted:
                told, is_there = _begin_again(mounted / "data", name)
            copy.unlink()
            found["image" if is_there else "no image"] += 1
            found["unpacked again"] += sum("unpacked again" in line for line in told)
        return found


def _copies(outer: Path, name: str, count: int, source: random.Random) -> Iterator[Path]:
    """Taken at random instants between the pull's begin and the removal's end."""
    took_s = _run(outer, name, [], "measured")
    number = 0
    while number < count:
        some = min(4, count - number)
        after_s = sorted(source.uniform(0, took_s * 1.1) for _ in range(some))
        _run(outer, name, after_s, f"run-{number}")
        yield from (outer / f"run-{number}-{n}" for n in range(some))
        number += some


def _run(outer: Path, name: str, after_s: list[float], label: str) -> float:
    """One agent on an empty disk, with copies of that at these times; how long it took."""
    with disks.mounted(outer, "ext4", size="256M", options="commit=1") as inner:
        command = [sys.executable, "-c", _AGENT, str(inner / "data"), name]
        with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as agent:
            assert agent.stdout is not None
            agent.stdout.readline()
            began = time.monotonic()
            for n, at_s in enumerate(after_s):
                time.sleep(max(0.0, began + at_s - time.monotonic()))
                _clone(outer / "ext4.img", outer / f"{label}-{n}")
            agent.stdout.read()
        if agent.returncode:
            raise RuntimeError(f"the pull ended with status {agent.returncode}")
        return time.monotonic() - began


def _clone(source: Path, target: Path) -> None:
    with source.open("rb") as old, target.open("wb") as new:
        fcntl.ioctl(new, _FICLONE, old.fileno())


def _begin_again(root: Path, name: str) -> tuple[list[str], bool]:
    """What the start of an agent tells, and whether the image was there; all is right then."""
    database = Database(root)
    with closing(database):
        images = Images(Settings(data_root=root), database)
        images._layers._boot_id = "the next"
        told = images.recover()
        images.sweep(set())
        is_there = bool(images.list())
        _check(images)
        before = _trees(root)
        asyncio.run(images.pull(name))
        _check(images)
        after = _trees(root)
        assert len(after) == _LAYERS, "a layer is missing"
        assert all(after[layer] == tree for layer, tree in before.items()), "a layer was not whole"
        half_made = [*root.glob("overlay2/tmp-*"), *root.glob("images/ingest/*")]
        assert not half_made, f"left half-made: {half_made}"
        for image in images.list():
            images.remove(image.id, in_use=lambda _: [], force=True)
        assert not [*root.glob("overlay2/*"), *root.glob("images/blobs/sha256/*")]
    return told, is_there


def _check(images: Images) -> None:
    report = asyncio.run(images.check(lambda _: None, repair=False))
    assert report.problems == (), f"system check finds {report.problems}"
    for layer in images._layers._layers.iterdir():
        count = sum(len(files) for _, _, files in os.walk(layer / "diff"))
        assert count >= _FILES, f"layer {layer} has lost files"


def _trees(root: Path) -> dict[str, Any]:
    """Of each layer, what its files hold."""
    return {
        layer.name: {
            str(path.relative_to(layer)): hashlib.sha256(path.read_bytes()).hexdigest()
            for path in (layer / "diff").rglob("*")
            if path.is_file() and not path.is_symlink()
        }
        for layer in root.glob("overlay2/*")
    }
