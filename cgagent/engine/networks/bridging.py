"""The driver ``bridge``: a bridge of the host's that has the gateways' addresses."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from cgagent.engine.networks.options import DOCKERS, MTU_NAMES, named, truth
from cgagent.errors import InvalidInputError
from cgagent.network import ipam
from cgagent.network.interfaces import checked_name
from cgagent.network.values import Bridge

if TYPE_CHECKING:
    from cgagent.engine.networks.spec import NetworkSpec
    from cgagent.network.values import Address, Interface

_OPTIONS: Final = {
    f"{DOCKERS}bridge.name": "interface",
    f"{DOCKERS}bridge.enable_icc": "icc",
    f"{DOCKERS}bridge.enable_ip_masquerade": "masquerade",
    f"{DOCKERS}bridge.host_binding_ipv4": "publish_on",
    **{name: name for name in ("interface", "icc", "masquerade", "publish_on")},
    **MTU_NAMES,
}


class BridgeDriver:
    """See `cgagent.engine.networks.drivers.Driver`."""

    name = "bridge"
    is_routed = True

    def options(self, spec: NetworkSpec) -> dict[str, str]:
        found = named(spec, _OPTIONS)
        if "interface" in found:
            checked_name(found["interface"])
        for name in ("icc", "masquerade"):
            truth(found.get(name, "true"))
        self._publish_on(found)
        return found

    def _publish_on(self, options: dict[str, str]) -> Address | None:
        text = options.get("publish_on")
        try:
            return ipam.parse_address(text) if text is not None else None
        except ValueError as e:
            raise InvalidInputError(f"publish_on: address {text!r} is not valid: {e}") from None

    def interface(self, spec: NetworkSpec, network_id: str) -> str:
        return self.options(spec).get("interface") or f"cg-{network_id[:12]}"

    def may_share(self, spec: NetworkSpec, other: NetworkSpec) -> bool:  # noqa: ARG002
        return False

    def is_internal(self, spec: NetworkSpec) -> bool:
        return spec.internal

    def has_macs(self, spec: NetworkSpec) -> bool:  # noqa: ARG002
        return True

    def side(
        self,
        spec: NetworkSpec,
        network_id: str,
        interface: str,
        addresses: tuple[Interface, ...],
        mtu: int,
    ) -> Bridge:
        options = self.options(spec)
        return Bridge(
            network=network_id,
            name=interface,
            addresses=addresses,
            mtu=int(options.get("mtu", 0)) or mtu,
            internal=spec.internal,
            isolated=not truth(options.get("icc", "true")),
            masquerade=truth(options.get("masquerade", "true")),
            publish_on=self._publish_on(options),
        )

    def gateways(self, spec: NetworkSpec, gateways: tuple[Address, ...]) -> tuple[Address, ...]:  # noqa: ARG002
        return gateways
