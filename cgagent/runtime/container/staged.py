"""The kernel's file systems that a zygote has mounted ahead of its job, as `stage` makes them."""

from __future__ import annotations

import os
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from cgagent.runtime.container.mounts import Mount

_HIDDEN: Final = ("maskedPaths", "readonlyPaths")


@dataclass(frozen=True, slots=True)
class Stage:
    config: dict[str, Any]
    """The part of an OCI configuration that is made: mounts, and what is hidden in them."""
    tops: tuple[tuple[Mount, int], ...]
    """The mounts that are below no other, with descriptors of them."""
    dev_fd: int
    """/dev, with its nodes."""
    sources: tuple[tuple[Mount, int], ...] = ()
    """Bind mounts that the job may have, with descriptors of them."""

    def source_of(self, mount: Mount) -> int | None:
        """A bind mount's descriptor, if it was opened ahead: to be cloned, not attached again."""
        return next((tree for known, tree in self.sources if known == mount), None)

    def fits(self, config: dict[str, Any]) -> bool:
        """Is it what this configuration begins with, and left alone by the rest of it?"""
        linux, ours = config.get("linux") or {}, self.config
        mounts = config.get("mounts") or []
        count = len(ours["mounts"])
        return (
            mounts[:count] == ours["mounts"]
            and all(linux.get(name) == ours["linux"].get(name) for name in _HIDDEN)
            and not any(self._has(m["destination"]) for m in mounts[count:])
        )

    def _has(self, path: str) -> bool:
        path = os.path.normpath("/" + path.strip("/"))
        return any(f"{path}/".startswith(m.destination + "/") for m, _ in self.tops)
