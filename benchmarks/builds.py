"""Builds beside Docker's classic builder and podman's, which is buildah.

``python -m benchmarks.builds [--rounds N]``: 40 steps that do next to nothing, each with a layer or
without one, on a base that is here; the caches of earlier rounds are not used.
"""

from __future__ import annotations

import argparse
import sys
import time
from typing import TYPE_CHECKING, Final

from benchmarks import apart, table
from benchmarks.engines import Cgagent, Client, Docker, Podman
from benchmarks.measures import Row
from benchmarks.peers import IMAGE
from benchmarks.process import Failure

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

_STEPS: Final = 40
_ENGINES: Final[tuple[type[Cgagent | Docker | Podman], ...]] = (Cgagent, Docker, Podman)
_TEXTS: Final = {
    f"{_STEPS} steps: RUN true": "RUN true {}",
    f"{_STEPS} steps: RUN echo > FILE": "RUN echo {} > /file-{}",
    f"{_STEPS} steps: ENV": "ENV A{}=1",
}
_ALONE: Final = ("--network", "none")
_CHROOT: Final = (
    *("--isolation", "chroot", "--network", "host"),
    *("--ulimit", "nofile=1024:1024", "--ulimit", "nproc=4096:4096"),
)
"""Without a runtime for each step: here no runtime of podman's makes a container in a build."""
_FLAGS: Final[dict[str, dict[str, tuple[str, ...]]]] = {
    "cgagent": {"cgagent": _ALONE},
    "docker": {"docker": _ALONE},
    "podman": {"podman": (*_CHROOT, "--layers"), "podman, one layer": (*_CHROOT, "--layers=false")},
}


def _build(engine: Client, text: str, flags: tuple[str, ...], folder: Path) -> None:
    """One that takes nothing from a cache."""
    folder.mkdir(exist_ok=True)
    lines = [f"FROM {IMAGE}", *(text.replace("{}", str(n)) for n in range(_STEPS))]
    (folder / "Dockerfile").write_text("\n".join(lines) + "\n")
    engine.environment = {**engine.environment, "DOCKER_BUILDKIT": "0"}
    engine.cli("build", "-q", "--no-cache", *flags, str(folder))


def _round(
    running: list[Cgagent | Docker | Podman], failed: set[str], notes: list[str], folder: Path
) -> Iterator[tuple[str, str, float]]:
    """Each measure once of each that has not failed: measure, name and seconds."""
    for measure, text in _TEXTS.items():
        for engine in running:
            for name, flags in _FLAGS[engine.name].items():
                if name in failed:
                    continue
                began = time.perf_counter()
                try:
                    _build(engine, text, flags, folder / "context")
                except Failure as failure:
                    failed.add(name)
                    notes.append(f"{name} is left out: {failure}")
                else:
                    yield measure, name, time.perf_counter() - began


def _inside(options: argparse.Namespace, folder: Path) -> int:
    running: list[Cgagent | Docker | Podman] = []
    samples: dict[tuple[str, str], list[float]] = {}
    failed: set[str] = set()
    notes: list[str] = []
    wanted = options.only.split(",")
    try:
        for kind in [kind for kind in _ENGINES if kind.name in wanted]:
            engine = kind(folder / kind.name)
            running.append(engine)
            engine.open()
        for number in range(options.rounds + 1):
            for measure, name, taken in _round(running, failed, notes, folder):
                if number:  # the first round is for what is loaded but once
                    samples.setdefault((measure, name), []).append(taken)
    finally:
        for engine in running:
            engine.close()
    rows = [Row(measure, "s", name, tuple(taken)) for (measure, name), taken in samples.items()]
    order = list(_TEXTS)
    rows.sort(key=lambda row: order.index(row.measure))
    table.show(rows, [*notes, *(f"{e.name}: {e.version()}" for e in running)])
    return 0


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.builds", description=__doc__)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--only", metavar="NAME,...", default="cgagent,docker,podman")
    options = parser.parse_args()
    folder = apart.folder()
    return apart.again("benchmarks.builds") if folder is None else _inside(options, folder)


if __name__ == "__main__":
    sys.exit(main())
