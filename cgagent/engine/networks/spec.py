"""A network as it is asked for, in docker's terms."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import Annotated

from cgagent.bounds import BOUNDED


@dataclass(frozen=True, kw_only=True)
class SubnetSpec:
    """One address range of a network, as asked for; what is empty is chosen."""

    subnet: str = ""
    gateway: str = ""
    ip_range: str = ""
    """The part of the subnet that addresses are given from."""
    aux_addresses: Annotated[dict[str, str], BOUNDED] = field(default_factory=dict)
    """Addresses that belong to others, by name."""


@dataclass(frozen=True, kw_only=True)
class NetworkSpec:
    """A network as it is asked for, in docker's terms."""

    name: str
    driver: str = "bridge"
    subnets: Annotated[tuple[SubnetSpec, ...], BOUNDED] = ()
    ipv6: bool = False
    internal: bool = False
    labels: Annotated[dict[str, str], BOUNDED] = field(default_factory=dict)
    options: Annotated[dict[str, str], BOUNDED] = field(default_factory=dict)


def canonical(spec: NetworkSpec) -> NetworkSpec:
    """The first of docker's two ways to say it: an IPv6 subnet that is asked for is IPv6."""
    return replace(spec, ipv6=spec.ipv6 or any(":" in s.subnet for s in spec.subnets))
