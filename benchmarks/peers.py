"""What every engine in the comparison is brought to: the same few verbs with the same limits.

A peer is opened in an empty folder of its own, holds the busybox image from then on, and takes
everything with it when closed. Verbs raise `Failure` with the engine's words.
"""

from __future__ import annotations

import os
from typing import ClassVar, Protocol, runtime_checkable

# A name for each run, which the processes of one run have from its first.
_RUN = os.environ.setdefault("CGAGENT_BENCH_RUN", os.urandom(4).hex())
CGROUP_PARENT = f"/cgagent-test-bench-{_RUN}"
IMAGE = "busybox:latest"
MEMORY_BYTES = 256 << 20
CPUS = 0.5
PIDS = 64
SLEEP = ("sleep", "100000")


class Peer(Protocol):
    """What every peer can do."""

    name: ClassVar[str]

    def open(self) -> None: ...
    def close(self) -> None: ...
    def version(self) -> str: ...
    def run(self) -> None:
        """One whole command: a container that runs ``true`` and is removed."""

    def start(self) -> str:
        """A container that sleeps; its name."""

    def remove(self, containers: list[str]) -> None: ...
    def exec(self, container: str) -> None:
        """Run ``true`` in it."""

    def freeze(self, container: str) -> None: ...
    def thaw(self, container: str) -> None: ...


@runtime_checkable
class Engine(Protocol):
    """A peer that keeps processes for its containers."""

    def engine_pids(self) -> set[int]:
        """Every process of its own, no process of a container."""

    def write(self, mib: int, containers: int) -> list[str]:
        """Containers that write so much between them, in lines of 64 bytes; when all is written."""

    def read(self, container: str) -> None:
        """All of a container's log."""


@runtime_checkable
class Api(Protocol):
    """A peer with a socket."""

    def create_by_api(self) -> str:
        """A container that will run ``true``."""

    def start_by_api(self, container: str) -> None:
        """Returns when its command runs."""

    def run_by_api(self) -> str:
        """Create, start and wait for ``true``; the container, still to be removed."""

    def exec_by_api(self, container: str) -> None:
        """Run ``true`` in it, connected to its output until that ends."""

    def start_crowd(self, tasks: int) -> str:
        """A container with so many sleeping tasks, all of them started."""

    def freeze_by_api(self, container: str) -> None: ...
    def thaw_by_api(self, container: str) -> None: ...
