"""Which storage driver an agent uses, and why.

A container keeps the root that it was made with: another driver is for new ones.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final

from cgagent.errors import InvalidInputError, UnsupportedError
from cgagent.images.drivers.overlay2 import Overlay2
from cgagent.images.drivers.trees import Btrfs, Vfs
from cgagent.kernel import btrfs, mount

if TYPE_CHECKING:
    from collections.abc import Callable

    from cgagent.images.drivers import Driver

_DRIVERS: Final[dict[str, Callable[[Path], Driver]]] = {
    driver.name: driver for driver in (Overlay2, Btrfs, Vfs)
}
NAMES: Final = tuple(_DRIVERS)
"""The first of them that works is taken."""
_GONE: Final = {
    "aufs": "Linux has no aufs, and Docker dropped it; overlay2 does the same",
    "devicemapper": "Docker dropped it; overlay2 takes its place",
    "overlay": "Docker dropped it; overlay2 takes its place",
}


@dataclass(frozen=True, slots=True)
class Choice:
    driver: Driver
    reason: str
    """A sentence for people, for ``cgagent system info``."""


def choose(data_root: Path, wanted: str) -> Choice:
    """`wanted` is one of `NAMES`, or empty for the first that works.

    Raises:
        InvalidInputError: there is no such driver.
        UnsupportedError: it does not work on this file system.
    """
    if wanted and wanted not in NAMES:
        why = _GONE.get(wanted, "it is not known")
        raise InvalidInputError(f"storage driver {wanted!r}: {why}; choose {', '.join(NAMES)}")
    data_root.mkdir(mode=0o700, parents=True, exist_ok=True)
    missed: list[str] = []
    for name in [wanted] if wanted else NAMES:
        why_not = _why_not(name, data_root)
        if why_not is None:
            reason = "as it was asked for" if wanted else "the first that works here"
            return Choice(_DRIVERS[name](data_root), "; ".join([reason, *missed]))
        missed.append(f"{name} does not: {why_not}")
    raise UnsupportedError(f"storage driver: {', '.join(missed)}")


def _why_not(name: str, data_root: Path) -> str | None:
    if name == "overlay2":
        return _why_no_overlay(data_root)
    if name == "btrfs" and not btrfs.is_on_btrfs(data_root):
        return f"{data_root} is not on btrfs"
    return None


def _why_no_overlay(data_root: Path) -> str | None:
    """None: one can be made here, with a writable layer."""
    made = Path(tempfile.mkdtemp(prefix="tmp-probe-", dir=data_root))
    try:
        directories = {"lowerdir": "lower", "upperdir": "upper", "workdir": "work"}
        options = {key: str(made / name) for key, name in directories.items()}
        for path in options.values():
            os.mkdir(path)
        mount.make_file_system("overlay", options)
        os.setxattr(made / "upper", "trusted.overlay.opaque", b"y")
    except OSError as e:
        return f"the kernel refuses an overlay on its file system ({os.strerror(e.errno or 0)})"
    finally:
        with contextlib.suppress(OSError):
            shutil.rmtree(made)
    return None
