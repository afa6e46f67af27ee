"""What of a host stands in the way of containers' traffic, with the commands that mend it.

Nothing here changes anything. Tables of other programs are read from the kernel: chains with
their hooks and policies, and whether a rule names a bridge, never what nft prints.
"""

from __future__ import annotations

import errno
import fcntl
import shutil
import socket
import subprocess
from contextlib import suppress
from dataclasses import dataclass
from functools import cached_property
from ipaddress import IPv6Interface
from pathlib import Path
from typing import TYPE_CHECKING, Final

from cgagent.cgroups.files import lines
from cgagent.errors import UnsupportedError
from cgagent.network import foreign, sysctl
from cgagent.network.conntrack import Conntrack
from cgagent.network.foreign import FORWARD, INPUT, Chain, Tables
from cgagent.network.nftables import Nftables

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterator

    from cgagent.network.values import Bridge

_SIOCBRDELBR: Final = 0x89A1
_STRICT: Final = "1"
_LEGACY: Final = {"ip_tables_names": "iptables-legacy", "ip6_tables_names": "ip6tables-legacy"}


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that stands in the way."""

    object: str
    """Such as ``chain FORWARD of table ip filter``."""
    cause: str
    """What it is like, and what does not work therefore."""
    commands: tuple[str, ...]
    """For root's shell on the host; they hold until a reboot where nothing else is said."""


@dataclass(frozen=True)
class _Host:
    """What the checks look at, in the calling thread's network namespace."""

    bridges: Collection[Bridge]

    @cached_property
    def tables(self) -> Tables:
        return foreign.tables()

    @property
    def has_ipv6(self) -> bool:
        return any(isinstance(a, IPv6Interface) for b in self.bridges for a in b.addresses)


def findings(bridges: Collection[Bridge], netns_fd: int | None = None) -> list[Finding]:
    """What is wrong for these bridges; an empty list is a healthy host.

    Takes some ms, and 10 ms for each bridge where tables of iptables-legacy are in use.
    """

    def look() -> list[Finding]:
        host = _Host(bridges)
        return [finding for check in _CHECKS for finding in check(host)]

    return sysctl.inside(netns_fd, look)


def _libraries(_: _Host) -> Iterator[Finding]:
    for part in (Nftables, Conntrack):
        try:
            part().close()
        except UnsupportedError as e:
            what, rest = e.message.split("; ", 1)
            yield Finding(what, rest, _remedy(rest))


def _remedy(text: str) -> tuple[str, ...]:
    """The command in a message that names one in parentheses."""
    if "modprobe" in text:
        return (text[text.index("modprobe") : text.index(")")],)
    return ("apt-get install libnftables1",)


def _bridge_driver(_: _Host) -> Iterator[Finding]:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        try:  # deleting what is not there changes nothing, and asks for the driver
            fcntl.ioctl(sock, _SIOCBRDELBR, b"cgagent-none\0\0\0\0")
        except OSError as e:
            if e.errno == errno.ENOPKG:
                yield Finding(
                    "the kernel's bridge driver",
                    "it is missing, so no bridge network can be made",
                    ("modprobe bridge",),
                )


def _forwarding(host: _Host) -> Iterator[Finding]:
    for name, family, wanted in (
        ("ipv4/ip_forward", "IPv4", bool(host.bridges)),
        ("ipv6/conf/all/forwarding", "IPv6", host.has_ipv6),
    ):
        if wanted and sysctl.read(name) == "0":
            yield Finding(
                f"setting {sysctl.spelled(name)}",
                f"it is off: containers reach no other host over {family}, and no other host them",
                (f"sysctl -w {sysctl.spelled(name)}=1",),
            )


def _reverse_path(host: _Host) -> Iterator[Finding]:
    for bridge in host.bridges:
        name = f"ipv4/conf/{bridge.name}/rp_filter"
        own = sysctl.read(name)
        if own is not None and max(own, sysctl.read("ipv4/conf/all/rp_filter") or "") == _STRICT:
            yield Finding(
                f"setting {sysctl.spelled(name)}",
                "it is strict: answers of a container in two networks that come by the other one "
                "are dropped",
                (f"sysctl -w {sysctl.spelled(name)}=2",),
            )


def _bridge_netfilter(host: _Host) -> Iterator[Finding]:
    for table in ("iptables", "ip6tables"):
        name = f"bridge/bridge-nf-call-{table}"
        if host.bridges and sysctl.read(name) == "1":
            yield Finding(
                f"setting {sysctl.spelled(name)}",
                f"it is on: what containers of one network send each other passes {table}, whose "
                "rules may drop it",
                (f"sysctl -w {sysctl.spelled(name)}=0",),
            )


def _dropped(host: _Host) -> Iterator[Finding]:
    """Chains whose policy is to drop what no rule lets through."""
    for chain in host.tables.chains:
        if not chain.drops or chain.table == "firewalld":
            continue
        for bridge in host.bridges:
            if chain.is_ipv6 and not any(isinstance(a, IPv6Interface) for a in bridge.addresses):
                continue
            if chain.hook == FORWARD and host.tables.rules_naming(chain, bridge.name) < 2:  # noqa: PLR2004 # in, out
                yield Finding(
                    f"chain {chain.name} of table {chain.family} {chain.table}",
                    f"its policy drops what bridge {bridge.name} forwards: containers reach no "
                    "other host, and no published port is reachable from one",
                    _let_forward(host.tables, chain, bridge.name),
                )
            elif chain.hook == INPUT and host.tables.rules_naming(chain, bridge.name) < 1:
                yield Finding(
                    f"chain {chain.name} of table {chain.family} {chain.table}",
                    f"its policy drops what comes from bridge {bridge.name} to this host: "
                    "containers do not reach services of the host itself (published ports work)",
                    _let_in(host.tables, chain, bridge.name),
                )


def _let_forward(tables: Tables, chain: Chain, bridge: str) -> tuple[str, ...]:
    if tables.is_ufw(chain):
        return (f"ufw route allow in on {bridge}", f"ufw route allow out on {bridge}")
    if chain.program is None:
        rule = f"nft insert rule {chain.family} {chain.table} {chain.name}"
        return tuple(f"{rule} {end} {bridge} accept" for end in ("iifname", "oifname"))
    # docker makes its own chains anew, and leaves this one to its users
    name = "DOCKER-USER" if tables.has_chain(chain, "DOCKER-USER") else chain.name
    return tuple(f"{chain.program} -I {name} {end} {bridge} -j ACCEPT" for end in ("-i", "-o"))


def _let_in(tables: Tables, chain: Chain, bridge: str) -> tuple[str, ...]:
    if tables.is_ufw(chain):
        return (f"ufw allow in on {bridge}",)
    if chain.program is None:
        rule = f"nft insert rule {chain.family} {chain.table} {chain.name}"
        return (f"{rule} iifname {bridge} accept",)
    return (f"{chain.program} -I {chain.name} -i {bridge} -j ACCEPT",)


def _legacy(host: _Host) -> Iterator[Finding]:
    """The same of iptables' old interface in the kernel, which only its own program reads."""
    for names_file, usual in _LEGACY.items():
        names = ""
        with suppress(OSError):
            names = Path("/proc/thread-self/net", names_file).read_text()
        program = shutil.which(usual)
        if "filter" not in names.split() or program is None:
            continue
        if "-P FORWARD DROP" not in lines(_said(program, "-S", "FORWARD")):
            continue
        for bridge in host.bridges:
            wanted = tuple(f"-I FORWARD {end} {bridge.name} -j ACCEPT" for end in ("-i", "-o"))
            if all(_succeeds(program, *rule.replace("-I", "-C").split()) for rule in wanted):
                continue
            yield Finding(
                f"chain FORWARD of {usual}",
                f"its policy drops what bridge {bridge.name} forwards: containers reach no other "
                "host, and no published port is reachable from one",
                tuple(f"{usual} {rule}" for rule in wanted),
            )


def _said(*command: str) -> str:
    return subprocess.run(command, capture_output=True, text=True, check=False).stdout


def _succeeds(*command: str) -> bool:
    return subprocess.run(command, capture_output=True, check=False).returncode == 0


def _firewalld(host: _Host) -> Iterator[Finding]:
    for bridge in host.bridges:
        chains = [c for c in host.tables.chains if c.table == "firewalld"]
        if chains and not any(host.tables.rules_naming(c, bridge.name) for c in chains):
            add = f"--zone=trusted --add-interface={bridge.name}"
            yield Finding(
                "firewalld",
                f"bridge {bridge.name} is in none of its zones: what containers send to other "
                "hosts is rejected",
                (f"firewall-cmd --permanent {add}", f"firewall-cmd {add}"),
            )


_CHECKS: Final[tuple[Callable[[_Host], Iterator[Finding]], ...]] = (
    _libraries,
    _bridge_driver,
    _forwarding,
    _reverse_path,
    _bridge_netfilter,
    _dropped,
    _legacy,
    _firewalld,
)
