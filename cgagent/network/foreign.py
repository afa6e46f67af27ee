"""Base chains of other programs' tables, as the kernel lists them."""

from __future__ import annotations

import shutil
import struct
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, Literal

from cgagent.errors import UnsupportedError
from cgagent.network import netfilter
from cgagent.network.netlink import NLM_F_DUMP, NetlinkError, attribute, attributes, words_of

if TYPE_CHECKING:
    from collections.abc import Sequence

    from cgagent.network.netfilter import Answer

_GET_CHAIN, _GET_RULE = 4, 7
_CHAIN_TABLE, _CHAIN_NAME, _CHAIN_HOOK, _CHAIN_POLICY = 1, 3, 4, 5
_HOOK_NUMBER: Final = 1
_RULE_TABLE: Final = 1
_DATA_VALUE: Final = 1
_NAME_BYTES: Final = 16
_NUMBER: Final = struct.Struct(">I")
_DROP: Final = bytes(4)
INPUT, FORWARD = 1, 2
"""Hooks."""

Family = Literal["inet", "ip", "ip6"]
_FAMILIES: Final[dict[int, Family]] = {
    netfilter.INET: "inet",
    netfilter.IPV4: "ip",
    netfilter.IPV6: "ip6",
}


@dataclass(frozen=True, slots=True)
class Chain:
    family: Family
    table: str
    name: str
    hook: int | None
    """None: it is not a base chain."""
    drops: bool
    """Its policy is to drop."""

    @property
    def is_ipv6(self) -> bool:
        return self.family == "ip6"

    @property
    def program(self) -> str | None:
        """That of iptables' which made it; None: another one."""
        if self.table != "filter" or self.name not in {"INPUT", "FORWARD"}:
            return None
        plain = {"ip": "iptables", "ip6": "ip6tables", "inet": None}[self.family]
        if plain is None:
            return None
        return f"{plain}-nft" if shutil.which(f"{plain}-nft") else plain


@dataclass(frozen=True, slots=True)
class Tables:
    """All chains of inet, ip and ip6; and rules, of which only the interfaces' names are read."""

    chains: Sequence[Chain]
    rules: Sequence[tuple[str, str, bytes]]
    """Family and table of each, and its attributes."""

    def rules_naming(self, chain: Chain, interface: str) -> int:
        """How many rules of a chain's table compare with exactly this interface's name."""
        name = interface.encode() + b"\0"
        # iptables compares the name with its end, nft with all that there is room for.
        compared = {attribute(_DATA_VALUE, n) for n in (name, name.ljust(_NAME_BYTES, b"\0"))}
        where = chain.family, chain.table
        bodies = (body for family, table, body in self.rules if (family, table) == where)
        return sum(any(data in body for data in compared) for body in bodies)

    def has_chain(self, beside: Chain, name: str) -> bool:
        """Whether there is one of that name in the same table."""
        where = beside.family, beside.table, name
        return any((c.family, c.table, c.name) == where for c in self.chains)

    def is_ufw(self, chain: Chain) -> bool:
        prefix = "ufw6" if chain.is_ipv6 else "ufw"
        return self.has_chain(chain, f"{prefix}-user-forward")


def tables() -> Tables:
    """Those of the calling thread's namespace: none where the kernel has no nf_tables."""
    try:
        asker = netfilter.Socket(None)
    except UnsupportedError:
        return Tables((), ())
    try:
        chains = [_chain(answer) for answer in _list(asker, _GET_CHAIN)]
        rules = [_rule(answer) for answer in _list(asker, _GET_RULE)]
    except NetlinkError:
        return Tables((), ())
    finally:
        asker.close()
    return Tables(chains, rules)


def _list(asker: netfilter.Socket, number: int) -> list[Answer]:
    what = "list chains and rules of nf_tables"
    answers = asker.ask(netfilter.NFTABLES, number, flags=NLM_F_DUMP, what=what)
    return [answer for answer in answers if answer.family in _FAMILIES]


def _chain(answer: Answer) -> Chain:
    found = answer.attributes()
    hook = attributes(found.get(_CHAIN_HOOK, b"")).get(_HOOK_NUMBER)
    return Chain(
        family=_FAMILIES[answer.family],
        table=words_of(found[_CHAIN_TABLE]),
        name=words_of(found[_CHAIN_NAME]),
        hook=None if hook is None else _NUMBER.unpack(hook)[0],
        drops=found.get(_CHAIN_POLICY) == _DROP,
    )


def _rule(answer: Answer) -> tuple[str, str, bytes]:
    table = words_of(answer.attributes()[_RULE_TABLE])
    return _FAMILIES[answer.family], table, answer.body
