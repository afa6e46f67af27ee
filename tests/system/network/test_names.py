"""Names are answered at 127.0.0.11 inside network namespaces, whoever is killed meanwhile."""

import itertools
import os
import select
import shutil
import signal
import socket
import threading
import time
from collections import deque
from contextlib import ExitStack, suppress
from pathlib import Path

import dns.flags
import dns.message
import dns.query
import dns.rcode
import pytest

from cgagent import bare
from cgagent.errors import ConflictError, UnavailableError
from cgagent.network.names.client import Names
from cgagent.network.names.redirection import ADDRESS, PORT
from cgagent.network.names.values import LinkedName, Member, Place
from tests.world.agent import SLOWNESS
from tests.world.hosts import cable
from tests.world.nameserver import Nameserver, Resolver, address_of, answer

pytestmark = pytest.mark.system

UPSTREAM = "127.0.0.1"
"""In the host's network, where the process asks."""
ANY = "0.0.0.0"  # noqa: S104


def id_of(number):
    return f"{number:064x}"


def member(number, *aliases, network="n1", **more):
    """Container c<NUMBER> at 10.5.0.NUMBER."""
    addresses = more.pop("addresses", (f"10.5.{number // 256}.{number % 256}",))
    names = (f"c{number}", id_of(number)[:12], *aliases)
    place = Place(network=network, names=names, addresses=addresses)
    filled = {"places": (place,), "resolvers": (UPSTREAM,), **more}
    return Member(container=id_of(number), name=f"c{number}", **filled)


@pytest.fixture
def agents(host, tmp_path):
    """Makes an agent's end, whose process is in the host's network; the last one ends it."""
    made = []

    def make():
        made.append(Names(tmp_path, tmp_path / "names.log"))
        return made[-1]

    yield make
    for agent in made:
        agent.close(end=agent is made[-1])
    log = tmp_path / "names.log"
    assert not log.exists() or not log.read_text()


@pytest.fixture
def names(agents, host):
    made = agents()
    with host.inside():
        made.connect([])
    return made


@pytest.fixture
def ask():
    """Asks in a container as libc does."""
    with ExitStack() as stack:
        known = {}

        def addresses(container, name, kind="A"):
            if container not in known:
                known[container] = Resolver(container)
                stack.callback(known[container].close)
            return known[container].addresses(name, kind)

        yield addresses


@pytest.fixture
def upstream(host):
    with Nameserver(host, UPSTREAM) as server:
        yield server


def kill(names):
    """Returns when it has ended."""
    os.kill(names.pid, signal.SIGKILL)
    assert select.select([names], [], [], 10)[0]
    assert names.lost()


def exchange(container, name, kind="A", *, tcp=False, **more):
    """One query by dnspython."""
    query = dns.message.make_query(name, kind, **more)
    with container.inside():
        how = dns.query.tcp if tcp else dns.query.udp
        return how(query, ADDRESS, timeout=10)


def rss_kib(names):
    status = Path(f"/proc/{names.pid}/status").read_text()
    return int(status.partition("VmRSS:")[2].split()[0])


def descriptors(names):
    return len(os.listdir(f"/proc/{names.pid}/fd"))


def test_containers_find_each_other_by_name(make_host, names):
    one, two = make_host(), make_host()
    names.put(member(1, "all"), one.fd)
    names.put(member(2, "all", addresses=("10.5.0.2", "fd05::2")), two.fd)
    busybox = shutil.which("busybox")
    assert "10.5.0.2" in one.run(busybox, "nslookup", "-type=a", "c2", ADDRESS)
    assert one.run("dig", f"@{ADDRESS}", "+short", "C2.", "AAAA") == "fd05::2\n"
    assert one.run("dig", f"@{ADDRESS}", "+short", "+tcp", "c1") == "10.5.0.1\n"
    assert one.run("dig", f"@{ADDRESS}", "+short", "-x", "10.5.0.2") == "c2.\n"
    assert "status: NOERROR" in one.run("dig", f"@{ADDRESS}", "c1", "AAAA")
    both = two.run("dig", f"@{ADDRESS}", "+short", "all").split()
    assert sorted(both) == ["10.5.0.1", "10.5.0.2"]


@pytest.mark.native
def test_a_container_sees_its_networks_and_its_links(make_host, names, ask, upstream):
    one, two, three = (make_host() for _ in range(3))
    links = (LinkedName(alias="friend", target=id_of(3)),)
    names.put(member(1, links=links), one.fd)
    names.put(member(2, network="n2"), two.fd)
    names.put(member(3), three.fd)
    assert ask(one, "friend") == ["10.5.0.3"]
    assert ask(three, "friend") == [address_of("friend.")]
    assert ask(one, "c2") == [address_of("c2.")]
    names.put(member(3, "late"), None)
    assert ask(one, "late") == ["10.5.0.3"]
    names.remove(id_of(3))
    assert exchange(one, "friend").rcode() == dns.rcode.NXDOMAIN
    assert ask(one, "late") == [address_of("late.")]


@pytest.mark.native
def test_what_was_put_is_known_to_the_next_query(make_host, names, ask):
    one = make_host()
    names.put(member(1), one.fd)
    for number in range(4, 500):
        names.put(member(number, "next"), None)
        assert ask(one, f"c{number}") == [f"10.5.{number // 256}.{number % 256}"]
        names.put(member(number), None)
        names.remove(id_of(number - 2))


@pytest.mark.native
def test_the_container_may_have_port_53_itself(make_host, names, ask):
    container = make_host()
    with Nameserver(container, ANY):
        names.put(member(1), container.fd)
        assert ask(container, "c1") == ["10.5.0.1"]
        assert exchange(container, "c1", tcp=True).answer
        own = Resolver(container, "127.0.0.1")
        assert own.addresses("c1") == [address_of("c1.")]
        own.close()


@pytest.mark.native
def test_a_namespace_whose_loopback_interface_is_down(make_host, names, ask):
    container = make_host()
    container.run("ip", "link", "set", "lo", "down")
    names.put(member(1), container.fd)
    container.run("ip", "link", "set", "lo", "up")
    assert ask(container, "c1") == ["10.5.0.1"]


@pytest.mark.native
def test_a_namespace_goes_with_its_container(make_host, host, names, upstream):
    upstream.respond = lambda *_: []
    other = make_host()
    near, _ = cable(host, ("10.9.0.1/24",), other, ("10.9.0.2/24",))
    names.put(member(1), other.fd)
    with other.inside():
        waiting = [socket.create_connection((ADDRESS, 53)) for _ in range(5)]
        asker = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    for sock in waiting:
        query = dns.message.make_query("never.example", "A").to_wire()
        sock.sendall(len(query).to_bytes(2, "big") + query)
    asker.sendto(dns.message.make_query("never.example", "A").to_wire(), (ADDRESS, 53))
    until(lambda: len(upstream.asked) >= 6)
    names.remove(id_of(1))
    for sock in (*waiting, asker):
        sock.close()
    os.close(other.fd)
    try:
        until(lambda: near not in host.run("ip", "-o", "link"))
    finally:
        other.fd = os.open("/dev/null", os.O_RDONLY)  # the fixture closes it


def until(condition):
    deadline = time.monotonic() + 15
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.01)


@pytest.mark.native
def test_the_same_namespace_again(make_host, names, ask):
    container = make_host()
    for number in range(1, 50):
        names.put(member(number), container.fd)
        assert ask(container, f"c{number}") == [f"10.5.0.{number}"]
        names.remove(id_of(number))


@pytest.mark.native
def test_another_namespace_of_the_same_container(make_host, names, ask):
    for _ in range(3):
        container = make_host()
        names.put(member(1), container.fd)
        assert ask(container, "c1") == ["10.5.0.1"]


@pytest.mark.native
def test_a_port_that_is_taken_is_said(make_host, names, ask):
    container = make_host()
    with container.inside(), socket.socket(socket.AF_INET, socket.SOCK_STREAM) as thief:
        thief.bind((ANY, PORT))
        thief.listen()
        with pytest.raises(ConflictError, match=r"is in use in the container's network"):
            names.put(member(1), container.fd)
        names.connect([(member(1), container.fd)])
    names.connect([(member(1), container.fd)])
    assert ask(container, "c1") == ["10.5.0.1"]


# --- other names -----------------------------------------------------------------------------


@pytest.mark.native
def test_other_names_are_asked_for_from_the_host(make_host, names, upstream):
    container = make_host()
    names.put(member(1), container.fd)
    for tcp in (False, True):
        message = exchange(container, "www.Example.org", tcp=tcp, use_edns=0, payload=1400)
        assert message.answer[0][0].to_text() == address_of("www.example.org.")
        query, protocol, _ = upstream.asked[-1]
        assert protocol == ("tcp" if tcp else "udp")
        assert (query.edns, query.payload) == (0, 1400)
        assert query.question[0].name.to_text() == "www.Example.org."
    for _ in range(50):
        exchange(container, "x.example")
    ids, ports = {q.id for q, _, _ in upstream.asked}, {client[1] for *_, client in upstream.asked}
    assert len(ids) > 40
    assert len(ports) > 40


@pytest.mark.native
def test_a_long_answer_comes_by_tcp(make_host, names, upstream):
    text = [("TXT", f'"{number} {"x" * 200}"') for number in range(250)]

    def respond(query, protocol):
        if protocol == "tcp":
            return [answer(query, *text).to_wire(max_size=0xFFFF)]
        short = dns.message.make_response(query)
        short.flags |= dns.flags.TC
        return [short.to_wire()]

    upstream.respond = respond
    container = make_host()
    names.put(member(1), container.fd)
    assert exchange(container, "long.example", "TXT").flags & dns.flags.TC
    assert container.run("dig", f"@{ADDRESS}", "+short", "long.example", "TXT").count("\n") == 250


@pytest.mark.native
def test_a_name_that_300_containers_have_comes_whole_by_tcp(make_host, names):
    container = make_host()
    names.put(member(1), container.fd)
    for number in range(2, 302):
        names.put(member(number, "web"), None)
    for more in ({}, {"use_edns": True, "payload": 4096}):
        short = exchange(container, "web", **more)
        assert short.flags & dns.flags.TC
        whole = exchange(container, "web", tcp=True, **more)
        assert not whole.flags & dns.flags.TC
        found = {record.address for record in whole.answer[0]}
        assert found == {f"10.5.{n // 256}.{n % 256}" for n in range(2, 302)}


def forged(query, protocol):
    """Answers to something else before the right one, as from one who guesses."""
    wrong = answer(query, ("A", "6.6.6.6"))
    other = dns.message.make_query("other.example", "A")
    other.id = query.id
    wire = bytearray(wrong.to_wire())
    wire[0] ^= 1
    return [
        bytes(wire),
        answer(other, ("A", "6.6.6.6")).to_wire(),
        query.to_wire(),
        wrong.to_wire()[:20],
        b"",
        answer(query).to_wire(),
    ]


@pytest.mark.native
def test_what_is_no_answer_is_passed_over(make_host, names, upstream, ask):
    upstream.respond = forged
    container = make_host()
    names.put(member(1), container.fd)
    assert ask(container, "a.example") == [address_of("a.example.")]


def refusing(rcode):
    def respond(query, _protocol):
        response = dns.message.make_response(query)
        response.set_rcode(rcode)
        return [response.to_wire()]

    return respond


@pytest.mark.native
@pytest.mark.parametrize("tcp", [False, True])
def test_servers_are_asked_in_turn(host, make_host, names, tcp):
    container = make_host()
    resolvers = ("127.0.0.1", "127.0.0.2", "127.0.0.3", "127.0.0.4")
    names.put(member(1, resolvers=resolvers), container.fd)
    assert exchange(container, "a.example", tcp=tcp).rcode() == dns.rcode.SERVFAIL
    with ExitStack() as stack:
        fourth = stack.enter_context(Nameserver(host, "127.0.0.4"))
        assert exchange(container, "a.example", tcp=tcp).rcode() == dns.rcode.SERVFAIL
        third = stack.enter_context(Nameserver(host, "127.0.0.3"))
        assert exchange(container, "a.example", tcp=tcp).answer
        second = stack.enter_context(Nameserver(host, "127.0.0.2", respond=lambda *_: []))
        assert exchange(container, "a.example", tcp=tcp).answer
        second.respond = refusing(dns.rcode.SERVFAIL)
        assert exchange(container, "a.example", tcp=tcp).answer
        third.respond = refusing(dns.rcode.REFUSED)
        assert exchange(container, "a.example", tcp=tcp).rcode() == dns.rcode.REFUSED
        second.respond = refusing(dns.rcode.NXDOMAIN)
        third.asked.clear()
        assert exchange(container, "a.example", tcp=tcp).rcode() == dns.rcode.NXDOMAIN
        assert not third.asked
        assert not fourth.asked


@pytest.mark.native
def test_nothing_leaves_an_internal_network(make_host, names, upstream):
    container = make_host()
    names.put(member(1, forwards=False), container.fd)
    for tcp in (False, True):
        assert exchange(container, "a.example", tcp=tcp).rcode() == dns.rcode.REFUSED
    assert not upstream.asked


@pytest.mark.native
def test_an_ipv6_server(host, make_host, names, ask):
    container = make_host()
    names.put(member(1, resolvers=("::1",)), container.fd)
    with Nameserver(host, "::1"):
        assert ask(container, "a.example") == [address_of("a.example.")]


# --- hostile containers ----------------------------------------------------------------------


@pytest.fixture
def bystander(make_host, names, ask):
    """Another container that is answered meanwhile, and the process stays small."""
    made = make_host()
    names.put(member(200), made.fd)

    def is_fine():
        assert ask(made, "c200") == ["10.5.0.200"]
        assert exchange(made, "c200", tcp=True).answer
        assert rss_kib(names) < 40 << 10

    is_fine()
    before = descriptors(names)
    yield is_fine
    is_fine()
    until(lambda: descriptors(names) <= before + 2)  # those of the hostile container


@pytest.fixture
def hostile(make_host, names):
    container = make_host()
    names.put(member(66), container.fd)
    return container


def connect(container):
    with container.inside():
        return socket.create_connection((ADDRESS, 53), timeout=10)


@pytest.mark.native
def test_thousands_of_idle_connections(hostile, names, bystander):
    there = deque()
    for number in range(2000):
        there.append(connect(hostile))
        with suppress(OSError):
            there[-1].send((b"", b"\0", b"\0\x20abc")[number % 3])
        if len(there) > 500:
            there.popleft().close()
        if number % 500 == 0:
            bystander()
    assert descriptors(names) < 100
    assert exchange(hostile, "c66", tcp=True).answer
    for sock in there:
        sock.close()


@pytest.mark.native
def test_no_descriptor_is_left(host, make_host, agents, ask, monkeypatch):
    """Connections go for others; queries by UDP are answered meanwhile, and the agent is heard."""
    command = bare.command
    limited = ("prlimit", "--nofile=28:28")
    monkeypatch.setattr(bare, "command", lambda *a, **more: [*limited, *command(*a, **more)])
    one, two = make_host(), make_host()
    names = agents()
    with host.inside():
        names.connect([(member(1), one.fd), (member(2), two.fd)])
    socks = [connect(one) for _ in range(20)]
    until(lambda: descriptors(names) == 14)
    assert ask(one, "c2") == ["10.5.0.2"]
    assert exchange(two, "c1", tcp=True).answer
    assert exchange(two, "a.example").rcode() == dns.rcode.SERVFAIL
    three = make_host()
    with host.inside():
        names.put(member(3), three.fd)
    assert ask(three, "c1") == ["10.5.0.1"]
    for sock in socks:
        sock.close()


@pytest.mark.native
def test_lengths_that_are_lies(hostile, bystander):
    for data in (b"\xff\xff", b"\xff\xff" + bytes(1 << 20), b"\x10\x01", b"\0\0" * 3000, b"\0\x0c"):
        with connect(hostile) as sock, suppress(OSError):
            sock.sendall(data)
            sock.shutdown(socket.SHUT_WR)
            while sock.recv(1 << 16):
                pass
    bystander()


@pytest.mark.native
def test_a_client_that_does_not_read(hostile, bystander, upstream):
    """Its answers stay in the kernel, and its queries, too."""
    query = dns.message.make_query("c66", "A").to_wire()
    packet = (len(query).to_bytes(2, "big") + query) * 1000
    socks = [connect(hostile) for _ in range(10)]
    for sock in socks:
        sock.setblocking(False)
        with suppress(BlockingIOError):
            for _ in range(1000):
                sock.send(packet)
    bystander()
    for sock in socks:
        sock.close()


@pytest.mark.native
def test_queries_one_after_the_other_in_one_connection(hostile, names, upstream):
    asked = [dns.message.make_query(n, "A") for n in ["c66", "a.example", "c200", "c66"] * 50]
    wires = [query.to_wire() for query in asked]
    with connect(hostile) as sock:
        sock.sendall(b"".join(len(wire).to_bytes(2, "big") + wire for wire in wires))
        for query in asked:
            response, _ = dns.query.receive_tcp(sock)
            assert query.is_response(response)
            assert response.answer


@pytest.mark.native
def test_a_flood_that_nobody_answers(hostile, bystander, upstream):
    upstream.respond = lambda *_: []
    with hostile.inside():
        sock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    queries = (dns.message.make_query(f"x{number}.example", "A") for number in range(2000))
    garbage = (bytes(number % 100) for number in range(20_000))
    for number, data in enumerate(itertools.chain((q.to_wire() for q in queries), garbage)):
        sock.sendto(data, (ADDRESS, 53))
        if number % 5000 == 0:
            bystander()
    sock.settimeout(10)
    found = {dns.message.from_wire(sock.recv(512)).rcode() for _ in range(20)}
    assert found <= {dns.rcode.SERVFAIL, dns.rcode.FORMERR}
    sock.close()


# --- deaths ----------------------------------------------------------------------------------


class Watch(threading.Thread):
    """An agent that connects again whenever the process dies."""

    def __init__(self, names, host, members):
        super().__init__()
        self.names, self.host, self.members = names, host, members
        self.stop = False
        self.deaths = 0

    def run(self):
        while not self.stop:
            if select.select([self.names], [], [], 0.05)[0]:
                self.deaths += 1
                with self.host.inside():
                    self.names.connect(self.members)


@pytest.mark.native
def test_no_query_is_lost_when_the_process_is_killed(host, make_host, names, upstream):
    containers = [make_host() for _ in range(4)]
    members = [(member(n + 1), one.fd) for n, one in enumerate(containers)]
    names.connect(members)
    watch = Watch(names, host, members)
    watch.start()
    failures, left, lost = [], itertools.count(), []

    def work(container):
        resolver = Resolver(container)
        try:
            while (number := next(left)) < 10_000 or watch.deaths < 2:
                name = f"c{number % 4 + 1}"
                if resolver.addresses(name) != [f"10.5.0.{number % 4 + 1}"]:
                    failures.append(name)
        except BaseException as e:
            failures.append(e)
            raise
        finally:
            lost.append(resolver.repeated)
            resolver.close()

    workers = [threading.Thread(target=work, args=(one,)) for one in containers]
    for worker in workers:
        worker.start()
    while any(worker.is_alive() for worker in workers):
        time.sleep(0.2)
        if watch.deaths < 10 and not names.lost():  # which waits while it is connected
            time.sleep(0.1)
            with suppress(ProcessLookupError):
                os.kill(names.pid, signal.SIGKILL)
    for thread in workers:
        thread.join()
    watch.stop = True
    watch.join()
    assert not failures
    assert not any(lost)


@pytest.mark.native
def test_who_asks_others_asks_again_when_the_process_is_killed(host, make_host, names, upstream):
    container = make_host()
    members = [(member(1), container.fd)]
    names.connect(members)
    answered = threading.Event()

    def respond(query, _protocol):
        return [answer(query).to_wire()] if answered.is_set() else []

    upstream.respond = respond
    resolver = Resolver(container, timeout_s=1 if SLOWNESS == 1 else 5)
    found = []
    asking = threading.Thread(target=lambda: found.append(resolver.addresses("a.example")))
    asking.start()
    until(lambda: upstream.asked)
    kill(names)
    answered.set()
    with host.inside():
        names.connect(members)
    asking.join()
    resolver.close()
    assert found == [[address_of("a.example.")]]
    assert resolver.repeated <= 1  # killed after it had asked, and before it took the query off


@pytest.mark.native
def test_a_dead_process_is_said(make_host, names, ask):
    container = make_host()
    names.put(member(1), container.fd)
    assert not select.select([names], [], [], 0)[0]
    assert not names.lost()
    kill(names)
    with pytest.raises(UnavailableError, match="connect again"):
        names.put(member(2), None)
    names.remove(id_of(2))
    names.connect([(member(1), container.fd)])
    assert ask(container, "c1") == ["10.5.0.1"]


@pytest.mark.native
def test_one_that_hangs_is_replaced(make_host, names, ask):
    container = make_host()
    names.put(member(1), container.fd)
    stuck = names.pid
    os.kill(stuck, signal.SIGSTOP)
    full = (names.put(member(1, str(number)), None) for number in itertools.count())
    with pytest.raises(UnavailableError):
        list(full)
    assert select.select([names], [], [], 0)[0]
    names.connect([(member(1), container.fd)])
    assert names.pid != stuck
    assert ask(container, "c1") == ["10.5.0.1"]


@pytest.mark.native
def test_another_agent_takes_over(host, make_host, agents, ask):
    containers = [make_host() for _ in range(20)]
    members = [(member(n + 1), one.fd) for n, one in enumerate(containers)]
    first = agents()
    with host.inside():
        first.connect(members)
    pid = first.pid
    lost, wrong, stop = [], [], threading.Event()

    def work():
        resolver = Resolver(containers[-1])
        while not stop.is_set():
            wrong.extend(set(resolver.addresses("c20")) ^ {"10.5.0.20"})
        lost.append(resolver.repeated)
        resolver.close()

    worker = threading.Thread(target=work)
    worker.start()
    there = [first]
    for number in range(20):
        gone = 0
        if number % 2:  # else the old ones are still there, and have copies
            for old in there:
                old.close(end=False)
            gone, there = 5, []
        last = agents()
        there.append(last)
        last.connect(members[gone:])
        assert last.pid == pid
        last.connect(members)
    for number, one in enumerate(containers):
        assert ask(one, f"c{number + 1}") == [f"10.5.0.{number + 1}"]
    stop.set()
    worker.join()
    assert lost == [0]
    assert not wrong


def test_the_sockets_outlive_the_agent_that_made_them(host, make_host, agents, ask):
    """The next agent has them from the process, and gives them to the process after that."""
    container = make_host()
    first = agents()
    with host.inside():
        first.connect([(member(1), container.fd)])
    first.close(end=False)
    second = agents()
    second.connect([(member(1), container.fd)])
    kill(second)
    resolver = Resolver(container)
    found = []
    asking = threading.Thread(target=lambda: found.append(resolver.addresses("c1")))
    asking.start()
    second.connect([(member(1), container.fd)])
    asking.join()
    resolver.close()
    assert found == [["10.5.0.1"]]
    assert not resolver.repeated


@pytest.mark.native
def test_it_ends_without_agent_and_containers(agents, host, make_host):
    with_container, without = agents(), agents()
    container = make_host()
    with host.inside():
        with_container.connect([(member(1), container.fd)])
    pidfd = os.pidfd_open(with_container.pid)
    with_container.close(end=False)
    assert not select.select([pidfd], [], [], 0.2)[0]
    without.connect([])
    without.close(end=False)
    assert select.select([pidfd], [], [], 10)[0]
    os.close(pidfd)


@pytest.mark.native
def test_it_has_no_privileges(names):
    status = Path(f"/proc/{names.pid}/status").read_text()
    assert "Uid:\t65534\t65534\t65534\t65534" in status
    assert "CapEff:\t0000000000000000" in status
    assert "CapPrm:\t0000000000000000" in status
