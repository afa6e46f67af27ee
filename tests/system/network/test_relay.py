"""Ports at [::1] that the names process relays: bytes, closes, bounds, and who is away."""

import contextlib
import os
import select
import signal
import socket
import threading
from ipaddress import ip_address

import pytest

from cgagent import bare
from cgagent.network.names.client import Names
from cgagent.network.names.values import Member
from cgagent.network.ports import HostPorts
from cgagent.network.relay.messages import Relay
from cgagent.network.relay.streams import CONNECTIONS_EACH
from cgagent.network.values import LOOPBACK6, Publication
from tests.world.agent import SLOWNESS, eventually

pytestmark = pytest.mark.system

PORT, INSIDE = 8080, 9090
LARGE = 8 << 20


def published(protocol):
    return Publication(
        protocol=protocol,
        host=LOOPBACK6,
        host_port=PORT,
        container=ip_address("127.0.0.1"),
        container_port=INSIDE,
        bridge="br0",
    )


def accepted(listener):
    sock = listener.accept()[0]
    sock.settimeout(20 * SLOWNESS)
    return sock


class World:
    """A host with both ports relayed to 127.0.0.1, where a test listens in a container's place."""

    def __init__(self, host, run_dir):
        self.host = host
        self.ports = HostPorts(host.fd)
        self.ports.reserve([published("tcp"), published("udp")])
        self.names = Names(run_dir, run_dir / "names.log")
        self.log = run_dir / "names.log"
        self.connect()

    def connect(self):
        with self.host.inside():
            self.names.connect((), [self.relay("tcp"), self.relay("udp")])

    def relay(self, protocol, address="127.0.0.1"):
        message = Relay(
            container="c", protocol=protocol, host_port=PORT, address=address, port=INSIDE
        )
        return message, self.ports.relayed(published(protocol))

    def made(self, family, kind):
        with self.host.inside():
            sock = socket.socket(family, kind)
        sock.settimeout(20 * SLOWNESS)
        return sock

    def listening(self):
        sock = self.made(socket.AF_INET, socket.SOCK_STREAM)
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        sock.bind(("127.0.0.1", INSIDE))
        sock.listen(1024)
        return sock

    def client(self, kind=socket.SOCK_STREAM):
        sock = self.made(socket.AF_INET6, kind)
        sock.connect(("::1", PORT))
        return sock


@pytest.fixture
def world(host, tmp_path):
    made = World(host, tmp_path)
    yield made
    made.names.close(end=True)
    made.ports.close()
    assert made.log.read_text() == "", "the process complained"


def everything(sock):
    return b"".join(iter(lambda: sock.recv(1 << 16), b""))


def test_bytes_go_both_ways_and_each_end_closes_by_itself(world):
    data = os.urandom(LARGE)
    with world.listening() as listener, world.client() as client:
        inside = accepted(listener)
        sender = threading.Thread(
            target=lambda: (client.sendall(data), client.shutdown(socket.SHUT_WR))
        )
        sender.start()
        assert everything(inside) == data
        sender.join()
        inside.sendall(b"after the client has finished")
        inside.close()
        assert everything(client) == b"after the client has finished"


@pytest.mark.native
def test_who_reads_slowly_holds_up_nobody_else(world):
    with world.listening() as listener, world.client() as slow, world.client() as other:
        both = [accepted(listener), accepted(listener)]
        for inside in both:
            inside.setblocking(False)
            with contextlib.suppress(BlockingIOError):
                while True:
                    inside.send(bytes(1 << 16))
        assert len(other.recv(1 << 16)) > 0
        status = (f"/proc/{world.names.pid}/status",)
        with open(*status, encoding="ascii") as file:
            resident = next(line for line in file if line.startswith("VmRSS"))
        assert int(resident.split()[1]) < 64 * 1024
        for sock in (slow, *both):
            sock.close()


@pytest.mark.native
def test_a_container_that_refuses_resets_the_client(world):
    client = world.made(socket.AF_INET6, socket.SOCK_STREAM)

    def hear():
        client.connect(("::1", PORT))  # may hear of it already
        client.recv(1)

    with client, pytest.raises(ConnectionResetError):
        hear()


@pytest.mark.native
def test_a_client_that_is_gone_for_good_is_noticed_while_the_container_says_nothing(world):
    with world.listening() as listener:
        client = world.client()
        inside = accepted(listener)
        with inside:
            client.shutdown(socket.SHUT_WR)
            assert inside.recv(1) == b""
            client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
            client.close()
            gone = select.poll()
            gone.register(inside, 0)
            assert gone.poll(20_000 * SLOWNESS) == [
                (inside.fileno(), select.POLLERR | select.POLLHUP)
            ]


@pytest.mark.native
def test_connections_beyond_the_bound_wait_until_one_ends(world):
    with contextlib.ExitStack() as stack:
        listener = stack.enter_context(world.listening())
        clients = [stack.enter_context(world.client()) for _ in range(CONNECTIONS_EACH)]
        inside = [stack.enter_context(listener.accept()[0]) for _ in clients]
        late = stack.enter_context(world.client())
        listener.settimeout(0.5)
        with pytest.raises(TimeoutError):
            listener.accept()
        clients[0].close()
        for each in inside:
            each.setblocking(False)
        inside[0].close()
        listener.settimeout(20 * SLOWNESS)
        last = stack.enter_context(listener.accept()[0])
        last.sendall(b"yes")
        assert late.recv(3) == b"yes"


@pytest.fixture
def few_descriptors(monkeypatch):
    command = bare.command
    limited = ("prlimit", "--nofile=128:128")
    monkeypatch.setattr(bare, "command", lambda *a, **more: [*limited, *command(*a, **more)])


@pytest.mark.native
def test_many_connections_leave_descriptors_for_what_the_agent_sends(
    few_descriptors, world, make_host
):
    """The sockets of further containers; and the connections wait, as they do beyond the bound."""
    first = world.names.pid
    with contextlib.ExitStack() as stack:
        listener = stack.enter_context(world.listening())
        for _ in range(100):
            stack.enter_context(world.client())
        stack.enter_context(accepted(listener))
        for number in range(10):
            world.names.put(Member(container=f"c{number}", name="one"), make_host().fd)
        world.names.close(end=False)
        found = world.names.inherited()
        for sock in found.values():
            sock.close()
        assert found.keys() == {("tcp", PORT), ("udp", PORT)}
        assert world.names.pid == first


def test_datagrams_and_their_answers(world):
    server = world.made(socket.AF_INET, socket.SOCK_DGRAM)
    server.bind(("127.0.0.1", INSIDE))
    with server, world.client(socket.SOCK_DGRAM) as one, world.client(socket.SOCK_DGRAM) as other:
        for client, data in ((one, b"1"), (other, b"2"), (one, b"3" * 9000)):
            client.send(data)
            got, asker = server.recvfrom(1 << 16)
            assert got == data
            server.sendto(data + b"!", asker)
            assert client.recv(1 << 16) == data + b"!"


@pytest.mark.native
def test_many_clients_of_udp_are_forgotten_oldest_first(world):
    server = world.made(socket.AF_INET, socket.SOCK_DGRAM)
    server.bind(("127.0.0.1", INSIDE))
    with server, contextlib.ExitStack() as stack:
        for _ in range(400):
            client = stack.enter_context(world.client(socket.SOCK_DGRAM))
            client.send(b"?")
            _, asker = server.recvfrom(10)
            server.sendto(b"!", asker)
            assert client.recv(10) == b"!"
        assert len(os.listdir(f"/proc/{world.names.pid}/fd")) < 300


@pytest.mark.native
def test_a_port_that_is_taken_back_ends_its_connections(world):
    with world.listening() as listener, world.client() as client:
        inside = accepted(listener)
        world.names.unrelay("tcp", PORT)
        with contextlib.suppress(ConnectionResetError):
            assert client.recv(1) == b""
        inside.close()
        found = world.names.inherited()
        assert found.keys() == {("udp", PORT)}
        for sock in found.values():
            sock.close()


@pytest.mark.native
def test_a_port_is_reserved_again_at_once(world):
    """Where the container closed first, and while the process has not heard of its release."""
    both = [published("tcp"), published("udp")]
    for _ in range(3):
        with world.listening() as listener, world.client() as client:
            accepted(listener).close()
            assert client.recv(1) == b""
        os.kill(world.names.pid, signal.SIGSTOP)
        try:
            world.names.unrelay("tcp", PORT)
            world.names.unrelay("udp", PORT)
            world.ports.release(both)
            world.ports.reserve(both)
            world.names.relay(*world.relay("tcp"))
            world.names.relay(*world.relay("udp"))
        finally:
            os.kill(world.names.pid, signal.SIGCONT)


@pytest.mark.native
@pytest.mark.parametrize("kind", [socket.SOCK_STREAM, socket.SOCK_DGRAM])
def test_nobody_else_has_a_port_meanwhile(world, kind):
    with world.made(socket.AF_INET6, kind) as sock:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        with pytest.raises(OSError, match="in use"):
            sock.bind(("::1", PORT))


@pytest.mark.native
def test_connections_wait_for_a_successor(world):
    with world.listening() as listener:
        os.kill(world.names.pid, signal.SIGKILL)
        eventually(world.names.lost)
        with world.client() as client:
            world.connect()
            with accepted(listener) as inside:
                inside.sendall(b"hello")
            assert everything(client) == b"hello"


def test_an_agent_that_takes_over_breaks_no_connection(world):
    with (
        world.listening() as listener,
        world.client() as client,
        accepted(listener) as inside,
    ):
        world.names.close(end=False)
        found = world.names.inherited()
        assert found.keys() == {("tcp", PORT), ("udp", PORT)}
        world.ports.close()
        world.ports.inherit(found)
        world.ports.reserve([published("tcp"), published("udp")])
        world.ports.let_go_of_inherited()
        world.connect()
        inside.sendall(b"still")
        assert client.recv(5) == b"still"
        with world.client() as another, accepted(listener) as new:
            new.sendall(b"new")
            assert another.recv(3) == b"new"
