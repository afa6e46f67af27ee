"""Two pumps with TLS between them, and plain sockets at both ends."""

import contextlib
import os
import socket
import ssl
import threading

import pytest

from cgagent.tlspipe import Pipe, Pump
from tests.world.certificates import Authority

SIZE = 3 << 20


@pytest.fixture(scope="session")
def authority(tmp_path_factory):
    return Authority(tmp_path_factory.mktemp("ca"), "tests")


def server_context(authority, *, asks=False):
    pair = authority.server()
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(pair.cert, pair.key)
    if asks:
        context.load_verify_locations(authority.cert)
        context.verify_mode = ssl.CERT_REQUIRED
    return context


def client_context(authority):
    return ssl.create_default_context(cafile=authority.cert)


class Ends:
    """The plain ends of a connection, and what became of it."""

    def __init__(self, server, client, name="localhost", handshake_s=10.0):
        self.causes = {"server": [], "client": []}
        self.over = {"server": threading.Event(), "client": threading.Event()}
        self.pumps = Pump("server", handshake_s), Pump("client", handshake_s)
        self.plain = {}
        self.shook = {"server": threading.Event(), "client": threading.Event()}
        with socket.create_server(("127.0.0.1", 0)) as listening:
            far = socket.create_connection(listening.getsockname())
            near, _ = listening.accept()
        self.tcp = near, far
        one = Pipe(near, server, self.ready("server"), self.ended("server"))
        two = Pipe.for_server(far, client, name, self.ready("client"), self.ended("client"))
        for pump, pipe in zip(self.pumps, (one, two), strict=True):
            pump.start()
            pump.add(pipe)

    def ready(self, side):
        def made(_pipe):
            ours, theirs = socket.socketpair()
            theirs.settimeout(20)
            self.plain[side] = theirs
            self.shook[side].set()
            return ours

        return made

    def ended(self, side):
        def told(_pipe, why):
            self.causes[side].append(why)
            self.over[side].set()

        return told

    def shaken(self):
        assert all(event.wait(20) for event in self.shook.values())
        return self.plain["server"], self.plain["client"]

    def close(self):
        for pump in self.pumps:
            pump.end()
        for sock in self.plain.values():
            sock.close()


@pytest.fixture
def connect(authority):
    made = []

    def begin(server=None, client=None, **how):
        made.append(
            Ends(server or server_context(authority), client or client_context(authority), **how)
        )
        return made[-1]

    yield begin
    for one in made:
        one.close()


def everything(sock):
    found = b""
    while data := sock.recv(1 << 16):
        found += data
    return found


def test_bytes_go_both_ways_and_an_end_is_for_one_way_alone(connect):
    server, client = connect().shaken()
    sent = os.urandom(SIZE)

    def send():
        client.sendall(sent)
        client.shutdown(socket.SHUT_WR)

    sending = threading.Thread(target=send)
    sending.start()
    assert everything(server) == sent
    sending.join()
    sending = threading.Thread(target=lambda: (server.sendall(sent), server.close()))
    sending.start()  # long after the client has ended its half
    assert everything(client) == sent
    sending.join()


def test_who_does_not_read_holds_no_more_than_buffers(connect):
    ends = connect()
    server, client = ends.shaken()
    client.setblocking(False)
    sent = 0
    quiet = 0
    while quiet < 20:
        try:
            sent += client.send(b"x" * 65536)
            quiet = 0
        except BlockingIOError:
            quiet += 1
            threading.Event().wait(0.05)
    assert sent < 64 << 20
    client.setblocking(True)
    client.shutdown(socket.SHUT_WR)
    assert len(everything(server)) == sent


def test_an_end_that_is_closed_ends_all(connect):
    ends = connect()
    server, client = ends.shaken()
    server.sendall(b"last words")
    server.close()
    assert everything(client) == b"last words"
    client.close()
    assert ends.over["server"].wait(20)
    assert ends.over["client"].wait(20)
    assert ends.causes == {"server": [""], "client": [""]}


def test_a_certificate_of_nobody_known_is_told_to_both(connect, authority, tmp_path):
    stranger = Authority(tmp_path / "other", "others")
    ends = connect(client=client_context(stranger))
    assert ends.over["server"].wait(20)
    assert ends.over["client"].wait(20)
    assert "certificate" in ends.causes["client"][0]
    assert ends.plain == {}


def test_a_client_without_the_certificate_that_is_asked_for(connect, authority):
    ends = connect(server=server_context(authority, asks=True))
    assert ends.over["server"].wait(20)
    assert "did not return a certificate" in ends.causes["server"][0]
    assert "server" not in ends.plain


def test_who_makes_no_handshake_is_hung_up_on(authority):
    over = threading.Event()
    causes = []

    def ended(_pipe, why):
        causes.append(why)
        over.set()

    pump = Pump("server", handshake_s=0.1)
    pump.start()
    near, far = socket.socketpair()
    with contextlib.closing(far):
        pump.add(Pipe(near, server_context(authority), lambda _: None, ended))
        assert over.wait(20)
        assert far.recv(1) == b""
    pump.end()
    assert causes == ["it made no TLS handshake in time"]
