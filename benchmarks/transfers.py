"""Images on their way: ``python -m benchmarks.transfers [--rounds N] [--only NAME,...]``.

Each engine pulls, saves, loads and pushes the same images, with a registry on loopback: one of
content that cannot be compressed, a Debian, one of many layers and one of many small files. Beside
the time stands what the whole machine was busy meanwhile, the registry's part included.

Each engine has a new ext4 of its own: what one deletes does not slow down what the next one writes
(ext4 without a journal looks at each inode that was deleted in the last minute).
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import time
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Final

from benchmarks import apart, table
from benchmarks.engines import Cgagent, Docker, Podman
from benchmarks.measures import Row
from benchmarks.process import Failure, command
from cgagent.images.manifest import this_architecture
from tests.world.layered import docker_archive, push, tar_of
from tests.world.registry import Registry

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from benchmarks.engines import Client

_ENGINES: Final = {engine.name: engine for engine in (Cgagent, Docker, Podman)}
_INCOMPRESSIBLE_BYTES: Final = 120 << 20
_SMALL_FILES: Final = 30_000
_LAYERS: Final = 20
_DISK: Final = "8G"
_CONFIG: Final = {"architecture": this_architecture()[0], "os": "linux", "config": {}}
_TICKS_PER_S: Final = os.sysconf("SC_CLK_TCK")


def _debian() -> bytes:
    """A tar of Debian's programs and Python's library, some 400 MB."""
    return subprocess.run(
        ["tar", "-C", "/usr", "-c", "bin", "sbin", "share/perl", "lib/python3.13"],
        check=True,
        stdout=subprocess.PIPE,
    ).stdout


def _incompressible() -> list[bytes]:
    return [tar_of({"random": os.urandom(_INCOMPRESSIBLE_BYTES)})]


def _layers() -> list[bytes]:
    return [tar_of({f"layer{n}": os.urandom(1 << 20) * 2}) for n in range(_LAYERS)]


def _small_files() -> list[bytes]:
    small = {f"d{n % 300}/f{n}": f"{n}\n".encode() * 40 for n in range(_SMALL_FILES)}
    return [tar_of(small)]


_IMAGES: Final[dict[str, Callable[[], list[bytes]]]] = {
    "incompressible": _incompressible,
    "debian": lambda: [_debian()],
    "layers": _layers,
    "small-files": _small_files,
}


def _images(names: list[str]) -> Iterator[tuple[str, list[bytes]]]:
    """Names, and the layers of each."""
    for name in names:
        yield name, _IMAGES[name]()


class _Transfers:
    """One engine's verbs, on one image."""

    def __init__(self, engine: Client, name: str, folder: Path) -> None:
        self.engine = engine
        self._insecure = ("--tls-verify=false",) if engine.name == "podman" else ()
        self._name = name
        self._saved = folder / f"{engine.name}.tar"

    def run(self, note: Callable[[str, float, float], None]) -> None:
        """`note` is told each verb's name, seconds, and seconds that CPUs were busy."""
        self._time("pull", note, "pull", "-q", *self._insecure, self._name)
        self._time("save", note, "save", "-o", str(self._saved), self._name)
        with Registry() as empty:
            elsewhere = f"{empty.address}/pushed:latest"
            self.engine.cli("tag", self._name, elsewhere)
            self._time("push", note, "push", "-q", *self._insecure, elsewhere)
        self.engine.cli("rmi", "-f", self._name, elsewhere)
        self._time("load", note, "load", "-q", "-i", str(self._saved))
        self.engine.cli("rmi", "-f", self._name)
        self._saved.unlink()

    def _time(self, verb: str, note: Callable[[str, float, float], None], *words: str) -> None:
        busy, begin = _busy_s(), time.perf_counter()
        self.engine.cli(*words)
        note(verb, time.perf_counter() - begin, _busy_s() - busy)


def _busy_s() -> float:
    """CPU time of the whole machine since its start: all but idle and waiting for disks."""
    user, nice, system, _idle, _wait, *others = map(
        int, Path("/proc/stat").read_text().split("\n", 1)[0].split()[1:9]
    )
    return (user + nice + system + sum(others)) / _TICKS_PER_S


def _inside(options: argparse.Namespace, folder: Path) -> int:
    running: list[Cgagent | Docker | Podman] = []
    rows: list[Row] = []
    notes: list[str] = []
    try:
        for name in options.only.split(",") if options.only else _ENGINES:
            engine: Cgagent | Docker | Podman = _ENGINES[name](_disk(folder / name))
            running.append(engine)
            engine.open()
        with Registry() as registry:
            for image, layers in _images(options.images.split(",")):
                archive = folder / "image.tar"
                archive.write_bytes(docker_archive(f"{image}:latest", _CONFIG, layers))
                name = push(archive, registry, f"{image}:latest")
                archive.unlink()
                transfers = [_Transfers(engine, name, folder) for engine in running]
                rows += _measured(transfers, image, options.rounds, notes)
    finally:
        for engine in running:
            engine.close()
    table.show(rows, [*notes, *(f"{e.name}: {e.version()}" for e in running)])
    return 0


def _disk(where: Path) -> Path:
    """A new one, mounted there for as long as this mount namespace lasts.

    What is synced is not copied into the page cache a second time (direct I/O).
    """
    image = where.with_name(f"{where.name}.img")
    command("truncate", "--size", _DISK, str(image))
    command("mkfs.ext4", "-q", str(image))
    where.mkdir()
    device = command("losetup", "--find", "--show", "--direct-io=on", str(image)).strip()
    command("mount", device, str(where))
    command("losetup", "--detach", device)  # as soon as nothing is mounted of it
    return where


def _measured(transfers: list[_Transfers], image: str, rounds: int, notes: list[str]) -> list[Row]:
    found: dict[tuple[str, str, str], list[float]] = {}

    def note(peer: str, verb: str, seconds: float, busy_s: float) -> None:
        found.setdefault((verb, "s", peer), []).append(seconds)
        found.setdefault((verb, "CPU s", peer), []).append(busy_s)

    for _ in range(rounds):
        for one in list(transfers):
            try:
                one.run(partial(note, one.engine.name))
            except Failure as failure:
                transfers.remove(one)
                notes.append(f"{one.engine.name} is left out of {image}: {failure}")
    return [
        Row(f"{verb} of {image}, {unit}", unit, peer, tuple(samples))
        for verb in ("pull", "save", "push", "load")
        for unit in ("s", "CPU s")
        for (what, of, peer), samples in found.items()
        if (what, of) == (verb, unit)
    ]


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.transfers", description=__doc__)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--only", metavar="NAME,...", help=f"of {','.join(_ENGINES)}")
    every = ",".join(_IMAGES)
    parser.add_argument("--images", metavar="NAME,...", default=every, help=f"of {every}")
    options = parser.parse_args()
    folder = apart.folder()
    if folder is not None:
        return _inside(options, folder)
    return apart.again("benchmarks.transfers")


if __name__ == "__main__":
    sys.exit(main())
