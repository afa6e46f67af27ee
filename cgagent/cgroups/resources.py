"""The controllers that are only read here: rdma, misc, dmem. Their limits go through `conf`."""

from __future__ import annotations

from typing import TYPE_CHECKING

from cgagent.cgroups import files
from cgagent.cgroups.usage import RdmaDevice

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence


class RdmaMeter:
    def __init__(self, directory: str) -> None:
        self._dir = directory

    def paths(self) -> Sequence[str]:
        return (f"{self._dir}/rdma.current",)

    def usage(self, texts: Sequence[str | None]) -> tuple[RdmaDevice, ...] | None:
        (text,) = texts
        if text is None:
            return None
        return tuple(
            RdmaDevice(
                device=device,
                hca_handles=int(pairs["hca_handle"]),
                hca_objects=int(pairs["hca_object"]),
            )
            for device, pairs in files.nested(text).items()
        )


class AmountsMeter:
    """One file of "name amount" lines: misc.current, dmem.current."""

    def __init__(self, path: str) -> None:
        self._path = path

    def paths(self) -> Sequence[str]:
        return (self._path,)

    def usage(self, texts: Sequence[str | None]) -> Mapping[str, int] | None:
        (text,) = texts
        return None if text is None else files.counts(text) or {}
