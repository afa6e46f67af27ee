"""Groups of containers, for programs: made, held to limits and budgets, looked at, ended."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from cgagent.client.answers import Explanation, Group, Sizing, Stats
from cgagent.client.http import query, quote
from cgagent.client.parts import Part, keyed

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence


def _path(name: str, verb: str = "") -> str:
    return f"/v1/groups/{quote(name)}{verb and '/'}{verb}"


class Groups(Part):
    """A group is referred to by its name, ``PARENT/NAME`` for one in another.

    A container is put into one when it is made, or by `Containers.move`.
    """

    def list(self) -> Sequence[Group]:
        """All of them by name: each before those in it."""
        return [Group.of(one) for one in self._client.request("GET", "/v1/groups")]

    def get(self, name: str) -> Group:
        """Raises NotFoundError: there is none."""
        found, headers = self._client.ask("GET", _path(name))
        return Group.of(found, etag=headers.get("etag", ""))

    def create(
        self,
        name: str,
        *,
        limits: Mapping[str, Any] | None = None,
        max_containers: int | None = None,
        budget: str = "",
        reclaim: str = "",
        labels: Mapping[str, str] | None = None,
        idempotency_key: str | None = None,
    ) -> Group:
        """`limits` are those of ``POST /v1/groups``; `budget`, `reclaim` as of the command line.

        Raises:
            ConflictError: there is one. NotFoundError: the one that it is to be in is not there.
        """
        body = {
            "name": name,
            "limits": dict(limits or {}),
            "max_containers": max_containers,
            "budget": budget,
            "reclaim": reclaim,
            "labels": dict(labels or {}),
        }
        return Group.of(self._client.ask("POST", "/v1/groups", body, keyed(idempotency_key))[0])

    def update(
        self,
        name: str,
        limits: Mapping[str, Any] | None = None,
        *,
        max_containers: int | None = None,
        budget: str | None = None,
        reclaim: str | None = None,
        if_match: str = "",
        force: bool = False,
    ) -> Group:
        """Change limits, the quota of containers (-1: any number), wishes (``off``: none).

        Raises:
            ChangedError: it is not any more what had the `etag` that `if_match` is.
        """
        more = {"max_containers": max_containers, "budget": budget, "reclaim": reclaim}
        asked = {key: value for key, value in more.items() if value is not None}
        condition = (f"If-Match: {if_match}",) if if_match else ()
        path = _path(name, "update") + query(force=force)
        found, headers = self._client.ask("POST", path, {**(limits or {}), **asked}, condition)
        return Group.of(found, etag=headers.get("etag", ""))

    def remove(self, name: str, *, force: bool = False) -> None:
        """By `force` with its containers, and the groups in it.

        Raises ConflictError: something is in it.
        """
        self._client.request("DELETE", _path(name) + query(force=force))

    def freeze(self, name: str, *, lease_s: float | None = None) -> None:
        """All that is in it; with `lease_s` it is thawed by itself after so long."""
        self._client.request("POST", _path(name, "freeze") + query(lease_s=lease_s))

    def thaw(self, name: str) -> None:
        """A container that was frozen by itself stays so."""
        self._client.request("POST", _path(name, "thaw"))

    def kill(self, name: str) -> Sequence[str]:
        """End all that runs in it; nothing restarts it. The names of the containers."""
        killed: list[str] = self._client.request("POST", _path(name, "kill"))["killed"]
        return killed

    def stats(self, name: str) -> Stats:
        """What all that is in it uses together."""
        return Stats.of(self._client.request("GET", _path(name, "stats")))

    def watch(self, name: str) -> Iterator[Stats]:
        """Every sample from now on, until it is removed."""
        return map(Stats.of, self._client.server_sent(_path(name, "stats") + query(stream=True)))

    def why(
        self, name: str, *, window_s: float | None = None, since_s: float | None = None
    ) -> Explanation:
        """Why what is in it is slow; see `Containers.why`."""
        asked = query(window_s=window_s, since=since_s)
        return Explanation.of(self._client.request("GET", _path(name, "why") + asked))

    def advise(self, *names: str) -> Sequence[Sizing]:
        """Limits that what they have used makes advisable; of all groups by default."""
        asked = query(name=[*names] or None, groups=True)
        return [Sizing.of(one) for one in self._client.request("GET", f"/v1/advice{asked}")]
