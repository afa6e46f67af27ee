"""Interfaces of the host's that containers' interfaces share: looked at, and VLANs made.

An ordinary one is left as it is. ``eth0.10`` is made where it is not there, as docker does: VLAN 10
of eth0; it has our alias, so it goes with its last network, and after a crash.
"""

from __future__ import annotations

import errno
from typing import TYPE_CHECKING, Final

from cgagent.errors import ConflictError, InvalidInputError, NotFoundError
from cgagent.network import rtmessages as rt
from cgagent.network.interfaces import delete, explained
from cgagent.network.netlink import NetlinkError

if TYPE_CHECKING:
    from cgagent.network.rtnetlink import Route
    from cgagent.network.values import Parent

_VLANS: Final = range(1, 4095)


class Parents:
    """Those of one host namespace and one owner."""

    def __init__(self, prefix: str, route: Route, slow: Route) -> None:
        """`prefix`: of our aliases."""
        self._prefix = prefix
        self._route = route
        self._slow = slow

    def check(self, parent: Parent) -> None:
        """Could members share it? Nothing is made.

        Raises:
            NotFoundError: there is no such interface.
            InvalidInputError: its packets are smaller than the network's.
            UnsupportedError: the kernel lacks the kind of interface, or VLANs.
        """
        self.require(parent.child.kind)
        found = self._route.link(parent.name)
        if found is None:
            base, _ = self._vlan(parent.name)
            self.require("vlan")
            found = self._route.link(base)
        if found is not None and parent.mtu > found.mtu:
            raise InvalidInputError(
                f"network option mtu: {parent.mtu} is more than the {found.mtu} of the parent "
                f"interface {found.name}"
            )

    def require(self, kind: str) -> None:
        """The kernel makes interfaces of this kind; a request without a parent makes none.

        Raises:
            UnsupportedError: it does not. DeniedError: we may not.
        """
        (refused,) = self._route.attempt(rt.probe(kind))
        if refused is not None and refused.errno != errno.EINVAL:
            raise explained(refused, kind)

    def make(self, parent: Parent) -> None:
        """It is there when this returns.

        Raises:
            NotFoundError: there is none. ConflictError: that which a VLAN is to be of is down.
            UnsupportedError: the kernel has no VLANs.
        """
        if self._route.index(parent.name) is not None:
            return
        base, number = self._vlan(parent.name)
        made = rt.make_vlan(parent.name, self._route.index(base) or 0, number)
        alias = rt.alias(self._prefix + parent.network)
        try:
            self._route.batch(made, rt.change_link(parent.name, alias))
            self._route.batch(rt.change_link(parent.name, up=True))
        except NetlinkError as e:
            self.remove(parent.name)
            if e.errno == errno.ENETDOWN:
                raise ConflictError(
                    f"interface {base} is down: set it up (ip link set {base} up)"
                ) from e
            raise explained(e, "8021q") from e

    def remove(self, name: str) -> None:
        """Only one that was made here goes."""
        found = self._route.link(name)
        if found is not None and found.kind == "vlan" and found.alias.startswith(self._prefix):
            delete(self._slow, name)

    def _vlan(self, name: str) -> tuple[str, int]:
        """The interface and the number of the VLAN that this one is to be.

        Raises:
            NotFoundError: it is no name of a VLAN, or of one of an interface that is not there.
        """
        base, _, number = name.rpartition(".")
        is_vlan = number.isascii() and number.isdecimal() and int(number) in _VLANS
        if not (base and is_vlan and self._route.index(base) is not None):
            raise NotFoundError(
                f"parent interface {name} is not there: name one that `ip link` shows, or a VLAN "
                "of one, such as eth0.10"
            )
        return base, int(number)
