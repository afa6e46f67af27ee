"""A host with bridges and containers' namespaces, a neighbour, and servers that say who asked."""

from __future__ import annotations

import select
import socket
import subprocess
import threading
import time
from contextlib import suppress
from ipaddress import ip_interface
from typing import TYPE_CHECKING

from tests.world.hosts import Host, cable

if TYPE_CHECKING:
    from collections.abc import Iterable

    from cgagent.network.values import Bridge

KINDS = {"tcp": socket.SOCK_STREAM, "udp": socket.SOCK_DGRAM}
_TRIES = 3
_START_S = 60
REFUSED = "refused"


def family(address: str) -> socket.AddressFamily:
    return socket.AF_INET6 if ":" in address else socket.AF_INET


class Server:
    """Answers on TCP and UDP, IPv4 and IPv6, with its name and the address of who asks."""

    def __init__(self, host: Host, name: str, *addresses: tuple[str, int]) -> None:
        self._name = name
        self.askers: set[str] = set()
        self._end, self._stop = socket.socketpair()
        self._socks = []
        with host.inside():
            for protocol, kind in KINDS.items():
                for address, port in addresses:
                    sock = socket.socket(family(address), kind)
                    sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
                    if ":" in address:
                        sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
                    sock.bind((address, port))
                    if protocol == "tcp":
                        sock.listen()
                    self._socks.append(sock)
        self._thread = threading.Thread(target=self._serve)
        self._thread.start()

    def _serve(self) -> None:
        while True:
            ready, _, _ = select.select([self._end, *self._socks], [], [])
            for sock in ready:
                if sock is self._end:
                    return
                self._answer(sock)

    def _answer(self, sock: socket.socket) -> None:
        if sock.type == socket.SOCK_DGRAM:
            _, asker = sock.recvfrom(100)
            self.askers.add(asker[0])
            sock.sendto(f"{self._name} {asker[0]}".encode(), asker)
        else:
            connection, asker = sock.accept()
            self.askers.add(asker[0])
            with connection, suppress(OSError):  # the other end may be gone
                connection.send(f"{self._name} {asker[0]}".encode())

    def close(self) -> None:
        self._stop.close()
        self._thread.join()
        for sock in (*self._socks, self._end):
            sock.close()


def ask(host: Host, protocol: str, address: str, port: int, patience_s: float) -> str | None:
    """What a server says, or REFUSED; None: nobody answers."""
    with host.inside(), socket.socket(family(address), KINDS[protocol]) as sock:
        tries = _TRIES if protocol == "udp" else 1  # the kernel sends a lost segment again itself
        sock.settimeout(patience_s / tries)
        try:
            sock.connect((address, port))
            for _ in range(tries):
                if protocol == "udp":
                    sock.send(b"?")
                with suppress(TimeoutError):
                    return sock.recv(100).decode() or None
        except ConnectionRefusedError:
            return REFUSED
        except OSError:
            return None
    return None


def await_server(host: Host, address: str) -> None:
    """Wait until the server at port 80 answers: addresses may take a second to be usable."""
    deadline = time.monotonic() + _START_S
    while ask(host, "tcp", address, 80, 1) in {None, REFUSED}:
        assert time.monotonic() < deadline, f"{address} does not answer"


def bridge_netfilter(host: Host, *, on: bool) -> None:
    """Whether what passes from one port of a bridge to another passes iptables and our rules."""
    subprocess.run(["modprobe", "br_netfilter"], check=False, capture_output=True)  # or built in
    for table in ("iptables", "ip6tables"):
        host.run("sysctl", "-qw", f"net.bridge.bridge-nf-call-{table}={int(on)}")


def make_bridge(host: Host, bridge: Bridge) -> None:
    host.run("ip", "link", "add", bridge.name, "type", "bridge")
    for address in bridge.addresses:
        nodad = ("nodad",) if address.version == 6 else ()
        host.run("ip", "address", "add", str(address), "dev", bridge.name, *nodad)
    host.run("ip", "link", "set", bridge.name, "up")


def container(host: Host, bridge: Bridge, number: int) -> Host:
    """On the bridge, with the addresses that have this number in its subnets."""
    made = Host()
    addresses = [
        ip_interface(f"{a.network[number]}/{a.network.prefixlen}") for a in bridge.addresses
    ]
    near, _ = cable(host, (), made, tuple(map(str, addresses)))
    host.run("ip", "link", "set", near, "master", bridge.name)
    isolated = "on" if bridge.isolated else "off"
    host.run("bridge", "link", "set", "dev", near, "hairpin", "on", "isolated", isolated)
    for gateway in bridge.addresses:
        made.run("ip", f"-{gateway.version}", "route", "add", "default", "via", str(gateway.ip))
    return made


def misroute_loopback(host: Host, via: str) -> None:
    """Make a host send packets for 127.0.0.1 to another one."""
    line = host.run("ip", "-4", "route", "get", via).split()
    device, source = line[line.index("dev") + 1], line[line.index("src") + 1]
    host.run("sysctl", "-qw", f"net.ipv4.conf.{device}.route_localnet=1")
    host.run("ip", "-4", "address", "flush", "dev", "lo")
    host.run(*("ip", "route", "replace", "127.0.0.1/32", "via", via, "dev", device, "src", source))


def close(things: Iterable[Host | Server]) -> None:
    for thing in things:
        thing.close()
