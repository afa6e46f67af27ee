"""In place of the kernel's side of networks: it remembers what it was told, and touches nothing."""

from __future__ import annotations

import socket
from dataclasses import asdict, replace
from typing import TYPE_CHECKING, Final

from cgagent.cgroups import UNLIMITED
from cgagent.errors import ConflictError
from cgagent.network.rates import Rates
from cgagent.network.tablecounters import NONE, TableCounts

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Mapping, Sequence

    from cgagent.network.doctor import Finding
    from cgagent.network.values import Address, FoundLink, Link, Publication, Side, Subnet

_FREE: Final = Rates(incoming=UNLIMITED, outgoing=UNLIMITED)


class FakeWiring:
    """As `cgagent.engine.networks.wiring.Wiring`, whose links and ports it is, too."""

    def __init__(self) -> None:
        self.bridges: dict[str, Side] = {}
        self.attached: dict[str, Link] = {}
        self.publications: set[Publication] = set()
        self.reserved: set[Publication] = set()
        self.subnets: list[Subnet] = []
        self.interfaces: set[str] = set()
        """Other people's."""
        self.taken_ports: set[int] = set()
        self.refusal: Exception | None = None
        self.reloads = 0
        self.held: dict[str, Rates] = {}
        """Rates, by links' names."""
        self.priorities: dict[Address, int] = {}
        self._changes: tuple[socket.socket, ...] = ()

    @property
    def ports(self) -> FakeWiring:
        return self

    @property
    def links(self) -> FakeWiring:
        return self

    # -- bridges and links ------------------------------------------------------------------

    def is_up(self, side: Side) -> bool:
        return side.name in self.bridges

    def check(self, side: Side) -> None:
        pass

    has_rules = True

    def is_there(self, network_id: str) -> bool:
        return any(b.network == network_id for b in self.bridges.values())

    def has(self, name: str) -> bool:
        return name in self.bridges or name in self.interfaces

    def up(self, bridge: Side) -> list[str]:
        self.bridges[bridge.name] = bridge
        return []

    def restore(
        self, bridges: Collection[Side], publications: Collection[Publication]
    ) -> list[str]:
        self.bridges = {bridge.name: bridge for bridge in bridges}
        self.publications = set(publications)
        return []

    def changes(self) -> int:
        if not self._changes:
            self._changes = socket.socketpair()
        return self._changes[0].fileno()

    def heed(self) -> bool:
        return bool(self._changes[0].recv(100))

    def flush(self) -> None:
        """As another program does."""
        self._changes[1].send(b"flushed")

    def reload(self) -> None:
        self.reloads += 1

    def findings(self) -> list[Finding]:
        return []

    def close(self) -> None:
        for end in self._changes:
            end.close()
        self._changes = ()

    def down(self, side: Side) -> None:
        self.bridges.pop(side.name, None)

    def mtu(self, side: Side) -> int:
        return self.bridges[side.name].mtu

    def mtu_outward(self) -> int:
        return 1400

    def host_subnets(self) -> list[Subnet]:
        return self.subnets

    def attach(self, links: Iterable[Link], namespace: str) -> None:  # noqa: ARG002
        if self.refusal is not None:
            raise self.refusal
        for link in links:
            self.attached[link.host_name] = link

    def readdress(self, link: Link, namespace: str) -> None:  # noqa: ARG002
        assert link.host_name in self.attached
        self.attached[link.host_name] = link

    def detach(self, *host_names: str) -> None:
        for name in host_names:
            self.attached.pop(name, None)

    def sweep(self, known: Iterable[str], is_kept: object = None) -> list[FoundLink]:  # noqa: ARG002
        kept = set(known)
        self.detach(*(name for name in self.attached if name not in kept))
        return []

    # -- limits ------------------------------------------------------------------------------

    def limit(self, host_names: Iterable[str], rates: Rates) -> None:
        if self.refusal is not None:
            raise self.refusal
        for name in host_names:
            asked = {n: v for n, v in asdict(rates).items() if v is not None}
            self.held[name] = replace(self.rates(name) or _FREE, **asked)

    def rates(self, host_name: str) -> Rates | None:
        return self.held.get(host_name, _FREE)

    def limited(self) -> set[str]:
        return {name for name, rates in self.held.items() if rates != _FREE}

    def prioritize(self, priorities: Mapping[Address, int]) -> None:
        self.priorities.update(priorities)

    def priority(self, address: Address) -> int:
        return self.priorities.get(address, 0)

    def counts(self) -> TableCounts:
        return NONE

    # -- ports --------------------------------------------------------------------------------

    def publish(self, publications: Collection[Publication]) -> None:
        self.publications.update(publications)

    def unpublish(self, publications: Collection[Publication]) -> None:
        self.publications.difference_update(publications)
        self.release(publications)

    def has_loopback6(self) -> bool:
        return False

    def relayed(self, publication: Publication) -> socket.socket | None:  # noqa: ARG002
        return None

    def inherit(self, relayed: dict[tuple[str, int], socket.socket]) -> None:
        pass

    def let_go_of_inherited(self) -> None:
        pass

    def reserve(self, publications: Collection[Publication]) -> None:
        for publication in publications:
            if publication.host_port in {p.host_port for p in self.reserved} | self.taken_ports:
                raise ConflictError(f"port {publication.host_port} of the host is taken")
        self.reserved.update(publications)

    def free(
        self, publications: Sequence[Publication], ports: range | None = None
    ) -> tuple[Publication, ...]:
        used = {p.host_port for p in self.reserved} | self.taken_ports
        port = next(p for p in ports or range(32768, 61000) if p not in used)
        chosen = tuple(replace(p, host_port=port) for p in publications)
        self.reserve(chosen)
        return chosen

    def release(self, publications: Collection[Publication]) -> None:
        self.reserved.difference_update(publications)
