"""The agent as an object: `connect` finds it, and its parts have what can be asked for."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Self

from cgagent.client.answers import Capacity, Event, Job, Stats
from cgagent.client.containers import Containers
from cgagent.client.groups import Groups
from cgagent.client.http import query
from cgagent.client.images import Images
from cgagent.client.networks import Networks
from cgagent.client.parts import filters_of
from cgagent.client.places import client_at, place_of
from cgagent.client.policies import Policies
from cgagent.client.volumes import Volumes

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from cgagent.client.http import Client
    from cgagent.client.parts import Filters


def connect(
    host: str | None = None,
    *,
    context: str | None = None,
    tls: bool = False,
    tlsverify: bool = False,
    tlscacert: str | None = None,
    tlscert: str | None = None,
    tlskey: str | None = None,
    token_file: str | None = None,
) -> Agent:
    """The agent at `host`, or where the environment or a context says, as for the command line.

    `host` is ``unix:///PATH``, ``tcp://HOST[:PORT]`` or ``ssh://[USER@]HOST``; the rest are
    docker's flags of these names. No agent is started. Nothing is sent before the first request.

    Raises:
        InvalidInputError: an address or a context that is none, or files that cannot be used.
    """
    place = place_of(
        host,
        context,
        tls=tls,
        tlsverify=tlsverify,
        tlscacert=tlscacert,
        tlscert=tlscert,
        tlskey=tlskey,
        token_file=token_file,
    )
    return Agent(client_at(place))


class Agent:
    """Every method raises the error that the agent answers, one of `cgagent.errors`."""

    def __init__(self, client: Client) -> None:
        self._client = client
        self.containers = Containers(client)
        self.groups = Groups(client)
        self.images = Images(client)
        self.networks = Networks(client)
        self.policies = Policies(client)
        self.volumes = Volumes(client)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Give its connection up; the next request makes another."""
        self._client.close()

    def request(self, method: str, path: str, body: Any = None) -> Any:
        """Any request of the native API, such as `GET` of ``/v1/host``; the answer's JSON."""
        return self._client.request(method, path, body)

    def info(self) -> Mapping[str, Any]:
        """The agent and its host."""
        found: dict[str, Any] = self.request("GET", "/v1/info")
        return found

    def version(self) -> str:
        return str(self.request("GET", "/v1/version")["version"])

    def events(
        self,
        *,
        follow: bool = False,
        since_ns: int = 0,
        until_ns: int | None = None,
        filters: Filters | None = None,
    ) -> Iterator[Event]:
        """Those that are kept; with `follow`, then every one that comes."""
        asked = query(
            follow=follow, since_ns=since_ns, until_ns=until_ns, filter=filters_of(filters)
        )
        return map(Event.of, self._client.lines("GET", f"/v1/events{asked}"))

    def stats(self) -> list[Stats]:
        """The last sample of every running container and every watched group."""
        return [Stats.of(one) for one in self.request("GET", "/v1/stats")]

    def capacity(
        self,
        *,
        memory_bytes: int | None = None,
        cpus: float | None = None,
        parent: str | None = None,
        group: str | None = None,
    ) -> Capacity:
        """What there is, is promised and used; with limits, whether one more with these fits.

        `parent` is the path of the cgroup it would be below, `group` the group of containers that
        it would be in.
        """
        asked = query(memory_bytes=memory_bytes, cpus=cpus, parent=parent, group=group)
        return Capacity.of(self.request("GET", f"/v1/capacity{asked}"))

    def jobs(self) -> list[Job]:
        """Running ones, then the last finished, newest first."""
        return [Job.of(one) for one in self.request("GET", "/v1/jobs")]

    def cancel(self, job_id: int) -> None:
        """End a running job. What it has half made, it removes."""
        self.request("DELETE", f"/v1/jobs/{job_id}")
