"""Network namespaces that links are made in: those of processes, and those made for a runtime."""

from __future__ import annotations

import os

from cgagent.network import netns


class Namespaces:
    """Owns the descriptors of namespaces that wait for another runtime to join them."""

    def __init__(self) -> None:
        self._made: dict[str, int] = {}

    def make(self, container_id: str) -> str:
        """The file of one that is the container's to come."""
        if container_id not in self._made:
            self._made[container_id] = netns.make()
        return self.of(container_id, 0)

    def of(self, container_id: str, pid: int) -> str:
        """The file of one that was made for it, or that of a process."""
        descriptor = self._made.get(container_id)
        return (
            f"/proc/{pid}/ns/net" if descriptor is None else f"/proc/{os.getpid()}/fd/{descriptor}"
        )

    def joined(self, container_id: str) -> None:
        """The runtime has, if there was one: the namespace is its container's alone."""
        descriptor = self._made.pop(container_id, None)
        if descriptor is not None:
            os.close(descriptor)
