"""The firewall of one network namespace: table ``inet cgagent`` and what it needs of the host.

Rules are constant (`cgagent.network.ruleset`); a bridge or a published port is a few elements of
sets. Other tables are never touched: where theirs drop what ours lets through,
`cgagent.network.doctor` says so. The table outlives the agent, as containers do.
"""

from __future__ import annotations

import secrets
import threading
from contextlib import ExitStack, suppress
from ipaddress import IPv4Interface, IPv6Interface
from typing import TYPE_CHECKING, Final

from cgagent.errors import ConflictError, InternalError, NotFoundError
from cgagent.network import ruleset, sysctl, tablecounters
from cgagent.network.conntrack import Conntrack, Flows
from cgagent.network.nftables import Nftables
from cgagent.network.tablewatch import TableWatch

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Mapping

    from cgagent.network.values import Address, Bridge, Publication

_FORWARDING4: Final = {"ipv4/ip_forward": "1"}
_FORWARDING6: Final = {"ipv6/conf/all/forwarding": "1"}
_HEARS_ROUTERS: Final = "1"
_HEARS_ROUTERS_ANYWAY: Final = "2"


class Firewall:
    """Owns the table, and sockets to it. Thread-safe; every call but `load` is below 1 ms."""

    def __init__(self, netns_fd: int | None = None, table: str = "cgagent") -> None:
        """Changes nothing yet: `load` does.

        Args:
            netns_fd: the namespace's, which stays the caller's; None: this process's.
            table: its name, one for each agent on a host.

        Raises:
            UnsupportedError: libnftables, nf_tables or conntrack is missing; says what to do.
        """
        self._netns_fd = netns_fd
        self._table = table
        self._lock = threading.Lock()
        self._bridges: dict[str, Bridge] = {}
        self._published: dict[tuple[str, str], Publication] = {}
        self._priorities: dict[Address, int] = {}
        self._loaded = False
        with ExitStack() as on_failure:
            self._nft = Nftables(netns_fd)
            on_failure.callback(self._nft.close)
            self._conntrack = Conntrack(netns_fd)
            on_failure.callback(self._conntrack.close)
            self._watch = TableWatch(netns_fd, table)
            on_failure.pop_all()

    def load(
        self, bridges: Collection[Bridge], publications: Collection[Publication]
    ) -> tuple[str, ...]:
        """Make the table anew with these, in one step; then let the host forward.

        A bridge whose interface is not there yet gets its setting by `add_bridge`.
        With 2,000 publications about 40 ms.

        Returns:
            Settings of the host that were off and are on now: ``net.ipv4.ip_forward=1``.

        Raises:
            InvalidInputError: a bridge's name that cannot be.
            UnsupportedError: a setting that cannot be switched on, a port on ::1.
            ConflictError: two publications of one port.
        """
        with self._lock:
            by_name = {bridge.name: bridge for bridge in bridges}
            published: dict[tuple[str, str], Publication] = {}
            self._take(publications, published)
            self._rebuild(by_name.values(), published.values())
            self._bridges, self._published, self._loaded = by_name, published, True
            return sysctl.inside(self._netns_fd, lambda: self._let_forward(by_name.values()))

    def add_bridge(self, bridge: Bridge) -> tuple[str, ...]:
        """Let through what a bridge's members may do. Its interface is there.

        Returns:
            As `load`.

        Raises:
            NotFoundError: it is not there.
            InvalidInputError, UnsupportedError: as of `load`.
        """
        with self._lock:
            known = self._bridges.get(bridge.name)
            before = ruleset.of_bridge(known) if known else ()
            after = ruleset.of_bridge(bridge)
            commands = ruleset.deleted(self._table, before) + ruleset.added(self._table, after)
            bridges = {**self._bridges, bridge.name: bridge}
            self._run(commands, bridges, self._published)
            self._bridges = bridges
            try:
                return sysctl.inside(self._netns_fd, lambda: self._let_forward((bridge,), True))
            except FileNotFoundError:
                self._drop_bridge(bridge.name)
                raise NotFoundError(
                    f"bridge {bridge.name}: there is no such interface: it is made before the "
                    "firewall hears of it"
                ) from None
            except BaseException:
                self._drop_bridge(bridge.name)
                raise

    def remove_bridge(self, bridge: Bridge) -> None:
        """Forget it; its interface may be gone. One that is not known is as good as forgotten."""
        with self._lock:
            self._drop_bridge(bridge.name)

    def publish(self, publications: Collection[Publication]) -> None:
        """Lead ports of the host's to containers: all of these or none.

        What is published already as it is here stays so.

        Raises:
            ConflictError: another container has a port.
            UnsupportedError: a port on ::1.
        """
        with self._lock:
            published = dict(self._published)
            new = self._take(publications, published)
            elements = map(ruleset.of_publication, new)
            self._run(ruleset.added(self._table, elements), self._bridges, published)
            self._published = published
            self._conntrack.forget([f for p in new for f in _flows_to(p)])

    def unpublish(self, publications: Collection[Publication]) -> None:
        """End it. What is not published, or by another container by now, stays as it is."""
        with self._lock:
            published = dict(self._published)
            ended, old = [], []
            for publication in publications:
                element = ruleset.of_publication(publication)
                if published.get((element.set, element.key)) == publication:
                    del published[element.set, element.key]
                    ended.append(publication)
                    old.append(element)
            self._run(ruleset.deleted(self._table, old), self._bridges, published)
            self._published = published
            self._conntrack.forget([f for p in ended for f in _flows_from(p)])

    def prioritize(self, priorities: Mapping[Address, int]) -> None:
        """Give what these addresses send to other networks a priority (SO_PRIORITY); 0: none."""
        with self._lock:
            before = self._priorities
            after = {a: p for a, p in {**before, **priorities}.items() if p}
            old, new = before.items() - after.items(), after.items() - before.items()
            commands = ruleset.deleted(self._table, (ruleset.of_priority(*each) for each in old))
            commands += ruleset.added(self._table, (ruleset.of_priority(*each) for each in new))
            self._priorities = after
            try:
                self._run(commands, self._bridges, self._published)
            except BaseException:
                self._priorities = before
                raise

    def priority(self, address: Address) -> int:
        return self._priorities.get(address, 0)

    def counts(self) -> tablecounters.TableCounts:
        """What has been dropped, and how many connections each published port has led on.

        Raises:
            NetlinkError: somebody has removed the table just now.
        """
        with self._lock:
            if not self._loaded:
                return tablecounters.NONE
            published = tuple(self._published.values())
        return tablecounters.read(self._netns_fd, self._table, published)

    def end(self) -> None:
        """Remove the table: all traffic of containers' with other hosts ends."""
        with self._lock:
            self._nft.run(ruleset.gone(self._table))
            self._bridges, self._published, self._loaded = {}, {}, False
            self._priorities = {}

    def changes(self) -> TableWatch:
        """Has a `fileno`, which is readable after any change of nf_tables: then call `heed`.

        Only `heed` reads from it, so a change that comes while `load` runs is not lost.
        """
        return self._watch

    def heed(self) -> bool:
        """Whether somebody else changed our table since it was made: then call `load`."""
        with self._lock:
            return self._watch.changed()

    def close(self) -> None:
        """Close the sockets; the table stays."""
        with self._lock:
            self._nft.close()
            self._conntrack.close()
            self._watch.close()

    def _drop_bridge(self, name: str) -> None:
        bridges = dict(self._bridges)
        known = bridges.pop(name, None)
        if known is not None:
            old = ruleset.of_bridge(known)
            self._run(ruleset.deleted(self._table, old), bridges, self._published)
            self._bridges = bridges

    def _take(
        self, publications: Iterable[Publication], published: dict[tuple[str, str], Publication]
    ) -> list[Publication]:
        """Add them to what is published, and return those that are new."""
        new = []
        for publication in publications:
            element = ruleset.of_publication(publication)
            known = published.setdefault((element.set, element.key), publication)
            if known is publication:
                new.append(publication)
            elif known != publication:
                raise ConflictError(
                    f"port {publication.host_port}/{publication.protocol} is published already, "
                    f"for {known.container}; publish another one, or end that container first"
                )
        return new

    def _run(
        self,
        commands: str,
        bridges: dict[str, Bridge],
        published: dict[tuple[str, str], Publication],
    ) -> None:
        """A change of elements; where the table is not what we left, all of it is made anew."""
        if not commands:
            return
        if not self._loaded:  # the table may be there, with what a former agent left in it
            raise InternalError(f"table {self._table}: it is loaded before anything is added")
        try:
            self._nft.run(commands)
        except InternalError:
            self._rebuild(bridges.values(), published.values())

    def _rebuild(self, bridges: Iterable[Bridge], published: Collection[Publication]) -> None:
        elements = [e for bridge in bridges for e in ruleset.of_bridge(bridge)]
        elements += map(ruleset.of_publication, published)
        elements += [ruleset.of_priority(*each) for each in self._priorities.items()]
        mark = f"made by cgagent {secrets.token_hex(8)}"
        made = ruleset.constant(self._table, mark)
        self._watch.expect(mark)
        self._nft.run(made + ruleset.added(self._table, elements))
        self._conntrack.forget_stale(published)

    def _let_forward(self, bridges: Iterable[Bridge], strict: bool = False) -> tuple[str, ...]:
        """In the namespace: forwarding, and connections from 127.0.0.1 out to a bridge.

        The latter needs the kernel to route such addresses (route_localnet), which chain raw
        makes harmless. `strict`: a bridge's interface must be there.
        """
        switched: tuple[str, ...] = ()
        for bridge in bridges:
            with suppress(*(() if strict else (FileNotFoundError,))):
                sysctl.switch({f"ipv4/conf/{bridge.name}/route_localnet": "1"})
            addresses = bridge.addresses
            if any(isinstance(a, IPv4Interface) for a in addresses):
                switched += sysctl.switch(_FORWARDING4)
            if any(isinstance(a, IPv6Interface) for a in addresses) and _forwarding6_is_off():
                switched += sysctl.switch(_still_hearing_routers(bridges) | _FORWARDING6)
        return switched


def _forwarding6_is_off() -> bool:
    return sysctl.read("ipv6/conf/all/forwarding") == "0"  # None without IPv6


def _still_hearing_routers(bridges: Iterable[Bridge]) -> dict[str, str]:
    """Settings that keep what this host learns from routers' advertisements.

    A host that forwards IPv6 does not listen to those by default, and would lose its way out.
    Never on a bridge of ours: a container could say that it is the router (CVE-2020-13401).
    """
    ours = {bridge.name for bridge in bridges}
    names = (f"ipv6/conf/{name}/accept_ra" for name in sysctl.taught_by_routers() - ours)
    return {n: _HEARS_ROUTERS_ANYWAY for n in names if sysctl.read(n) == _HEARS_ROUTERS}


def _flows_to(publication: Publication) -> list[Flows]:
    """Those that began before the port was published."""
    if publication.protocol != "udp":
        return []
    host = publication.host
    if host is not None and host.is_unspecified:
        host = None
    return [Flows(publication.container.version, publication.host_port, host, answered=False)]


def _flows_from(publication: Publication) -> list[Flows]:
    """Those that a container answers by the port."""
    if publication.protocol != "udp":
        return []
    address, port = publication.container, publication.container_port
    return [Flows(address.version, port, address, answered=True)]
