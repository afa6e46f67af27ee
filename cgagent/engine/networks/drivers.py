"""How the members of a network are connected: docker's drivers, and all in which they differ.

A driver is asked with a network as it was asked for; it keeps nothing and touches nothing. What
its `side` says of the host's part is made by `cgagent.engine.networks.wiring`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, Protocol

from cgagent.engine.networks.bridging import BridgeDriver
from cgagent.engine.networks.sharing import SharingDriver
from cgagent.errors import UnsupportedError

if TYPE_CHECKING:
    from cgagent.engine.networks.spec import NetworkSpec
    from cgagent.network.values import Address, Interface, Side


class Driver(Protocol):
    @property
    def name(self) -> str: ...

    @property
    def is_routed(self) -> bool:
        """The host has the gateways' addresses, lets traffic out and publishes ports."""

    def options(self, spec: NetworkSpec) -> dict[str, str]:
        """Those that were given, by our names, each checked.

        Raises:
            InvalidInputError: an unknown option, or a value that is none.
        """

    def interface(self, spec: NetworkSpec, network_id: str) -> str:
        """The name of the host's interface that members are connected to."""

    def may_share(self, spec: NetworkSpec, other: NetworkSpec) -> bool:
        """May another network have the same interface?"""

    def is_internal(self, spec: NetworkSpec) -> bool:
        """No way leads out of it."""

    def has_macs(self, spec: NetworkSpec) -> bool:
        """Each member has a MAC address of its own, which can be asked for."""

    def side(
        self,
        spec: NetworkSpec,
        network_id: str,
        interface: str,
        addresses: tuple[Interface, ...],
        mtu: int,
    ) -> Side:
        """The host's part. `addresses` are the gateways'; `mtu` where none was asked for."""

    def gateways(self, spec: NetworkSpec, gateways: tuple[Address, ...]) -> tuple[Address, ...]:
        """By which addresses members have their default routes; an unspecified one: by none."""


_DRIVERS: Final[dict[str, Driver]] = {
    "bridge": BridgeDriver(),
    "macvlan": SharingDriver("macvlan", ("bridge", "vepa", "private", "passthru")),
    "ipvlan": SharingDriver("ipvlan", ("l2", "l3", "l3s"), ("bridge", "private", "vepa")),
}


def driver(name: str) -> Driver:
    """Raises UnsupportedError: there is none of this name."""
    if name not in _DRIVERS:
        raise UnsupportedError(
            f"network driver {name!r} is not known here; there are {', '.join(_DRIVERS)}, and "
            "host, none and container:NAME for --network"
        )
    return _DRIVERS[name]
