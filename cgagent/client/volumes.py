"""Volumes, for programs."""

from __future__ import annotations

from typing import TYPE_CHECKING

from cgagent.client.answers import Volume
from cgagent.client.http import query, quote
from cgagent.client.parts import Part, filters_of, keyed

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from cgagent.client.parts import Filters


class Volumes(Part):
    def list(self, *, filters: Filters | None = None) -> Sequence[Volume]:
        path = "/v1/volumes" + query(filter=filters_of(filters))
        return [Volume.of(one) for one in self._client.request("GET", path)]

    def get(self, name: str) -> Volume:
        """Raises NotFoundError: there is none."""
        return Volume.of(self._client.request("GET", f"/v1/volumes/{quote(name)}"))

    def create(
        self,
        name: str | None = None,
        *,
        labels: Mapping[str, str] | None = None,
        idempotency_key: str | None = None,
    ) -> Volume:
        """One of that name that is there is left as it is; without a name it gets one."""
        body = {"name": name, "labels": dict(labels or {})}
        return Volume.of(self._client.ask("POST", "/v1/volumes", body, keyed(idempotency_key))[0])

    def remove(self, name: str, *, force: bool = False) -> None:
        """Raises ConflictError: containers have it."""
        self._client.request("DELETE", f"/v1/volumes/{quote(name)}" + query(force=force))
