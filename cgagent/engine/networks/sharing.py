"""The drivers ``macvlan`` and ``ipvlan``: containers share an interface of the host's, the parent.

The host has no address in such a network: it publishes no port there, filters nothing, and reaches
no member over the parent itself, as the kernel has it. Without a parent the network is alone: a
bridge without an address stands where docker has a dummy interface, which not every kernel has.
"""

from __future__ import annotations

from dataclasses import dataclass
from ipaddress import IPv4Address, IPv6Address
from typing import TYPE_CHECKING, Final, Literal

from cgagent.engine.networks.options import MTU_NAMES, named
from cgagent.errors import InvalidInputError
from cgagent.network.interfaces import checked_name
from cgagent.network.values import IPV4, Bridge, Child, Parent

if TYPE_CHECKING:
    from cgagent.engine.networks.spec import NetworkSpec
    from cgagent.network.values import Address, Interface

_ALONE: Final = "passthru"
"""The mode in which a parent has one macvlan at all."""
_ROUTES: Final = ("l3", "l3s")
"""The modes in which the kernel routes instead of a gateway."""
_EVERY: Final[dict[bool, Address]] = {True: IPv4Address(0), False: IPv6Address(0)}


@dataclass(frozen=True, slots=True)
class SharingDriver:
    """See `cgagent.engine.networks.drivers.Driver`. The first of modes and flags is the usual."""

    name: Literal["macvlan", "ipvlan"]
    modes: tuple[str, ...]
    flags: tuple[str, ...] = ()

    @property
    def is_routed(self) -> bool:
        return False

    def options(self, spec: NetworkSpec) -> dict[str, str]:
        own = ("mode", "flag") if self.flags else ("mode",)
        names = {"parent": "parent", **{f"{self.name}_{n}": n for n in own}, **MTU_NAMES}
        found = named(spec, names)
        for what, known in (("mode", self.modes), ("flag", self.flags)):
            if what in found and found[what] not in known:
                raise InvalidInputError(
                    f"requested {self.name} {what} {found[what]!r} is not valid: one of "
                    f"{', '.join(known)}"
                )
        if found.get("parent") == "lo":
            raise InvalidInputError(f"loopback interface is not a valid {self.name} parent link")
        if "parent" in found:
            checked_name(found["parent"])
        return found

    def _child(self, spec: NetworkSpec) -> Child:
        options = self.options(spec)
        flag = options.get("flag", self.flags[0]) if self.flags else ""
        return Child(self.name, options.get("mode", self.modes[0]), flag)

    def interface(self, spec: NetworkSpec, network_id: str) -> str:
        return self.options(spec).get("parent") or f"cg-{network_id[:12]}"

    def may_share(self, spec: NetworkSpec, other: NetworkSpec) -> bool:
        """As docker has it: several macvlan networks, one ipvlan network."""
        return self.name == other.driver == "macvlan" and _ALONE not in {
            self._child(each).mode for each in (spec, other)
        }

    def is_internal(self, spec: NetworkSpec) -> bool:
        return spec.internal or "parent" not in self.options(spec)

    def has_macs(self, spec: NetworkSpec) -> bool:
        return self.name == "macvlan" and self._child(spec).mode != _ALONE

    def side(
        self,
        spec: NetworkSpec,
        network_id: str,
        interface: str,
        addresses: tuple[Interface, ...],  # noqa: ARG002 - they are other hosts'
        mtu: int,
    ) -> Bridge | Parent:
        options, child = self.options(spec), self._child(spec)
        own = int(options.get("mtu", 0))
        if "parent" in options:
            return Parent(network=network_id, name=interface, child=child, mtu=own)
        return Bridge(
            network=network_id,
            name=interface,
            addresses=(),
            mtu=own or mtu,
            internal=True,
            child=child,
        )

    def gateways(self, spec: NetworkSpec, gateways: tuple[Address, ...]) -> tuple[Address, ...]:
        if self._child(spec).mode in _ROUTES:
            return tuple(_EVERY[g.version == IPV4] for g in gateways)
        return gateways
