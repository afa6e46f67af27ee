"""The cache of prepared things: kernels, root file systems, archives, unpacked packages.

Everything in it is made once, whole or not at all, and never changed afterwards; several
processes may ask at the same time. It outlives checkouts; deleting the folder is always safe
while no test runs.
"""

from __future__ import annotations

import fcntl
import os
import tempfile
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from tests.world import hosts

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator


def root() -> Path:
    """The cache folder: ``CGAGENT_TEST_CACHE`` or /var/cache/cgagent-tests."""
    folder = Path(os.environ.get("CGAGENT_TEST_CACHE", "/var/cache/cgagent-tests"))
    if not folder.is_dir():  # not touched when there: in the guest it is read-only
        folder.mkdir(parents=True)
    return folder


@contextmanager
def locked(name: str) -> Iterator[None]:
    """Hold the machine-wide lock `name`, waiting for whoever has it; things can be fetched."""
    with (root() / f".lock-{name}").open("w") as lock, hosts.in_the_machines_network():
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def build(name: str, make: Callable[[Path], None]) -> Path:
    """The cached file or folder `name`; `make(draft)` creates it the first time."""
    target = root() / name
    if target.exists():
        return target
    with locked(name):
        if not target.exists():
            with tempfile.TemporaryDirectory(prefix=f".new-{name}-", dir=root()) as scratch:
                Path(scratch).chmod(0o755)
                draft = Path(scratch) / name
                make(draft)
                draft.rename(target)
    return target
