"""Policies, for programs: rulesets by which the agent acts by itself, and what they decided."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from cgagent.client.answers import Decision, Policy
from cgagent.client.http import query, quote
from cgagent.client.parts import Part

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence


class Policies(Part):
    def list(self) -> Sequence[Policy]:
        return [Policy.of(one) for one in self._client.request("GET", "/v1/policies")]

    def get(self, name: str) -> Policy:
        """Raises NotFoundError: there is none. `raw` has what is in force of it as ``holds``."""
        return Policy.of(self._client.request("GET", f"/v1/policies/{quote(name)}"))

    def add(
        self, rulesets: Sequence[Mapping[str, Any]], *, replace: bool = False
    ) -> Sequence[Policy]:
        """All of them or none; each is a table as a file of rulesets has it (docs/policies.md).

        Raises:
            InvalidInputError: a mistake in one. ConflictError: there is one of a name.
        """
        body = {"ruleset": [dict(one) for one in rulesets]}
        path = "/v1/policies" + query(replace=replace)
        return [Policy.of(one) for one in self._client.request("POST", path, body)]

    def remove(self, name: str) -> None:
        """What it holds anybody to is undone before."""
        self._client.request("DELETE", f"/v1/policies/{quote(name)}")

    def test(self, name: str) -> Mapping[str, Any]:
        """What its detectors find now, and what would be done to whom; nothing is done."""
        found: dict[str, Any] = self._client.request("GET", f"/v1/policies/{quote(name)}/test")
        return found

    def decisions(
        self,
        *,
        policy: str | None = None,
        container: str | None = None,
        group: str | None = None,
        limit: int = 100,
    ) -> Sequence[Decision]:
        """The newest first."""
        path = "/v1/decisions" + query(policy=policy, container=container, group=group, limit=limit)
        return [Decision.of(one) for one in self._client.request("GET", path)]
