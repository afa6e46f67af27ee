import os
import socket

import pytest

from cgagent.metrics import connections

HEADING = b"  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid\n"


def line(number, state):
    return b" %4d: 0100007F:1F90 00000000:0000 %b 00000000:00000000 00:00000000\n" % (number, state)


def test_sockets_are_counted_by_state():
    text = HEADING + b"".join(map(line, range(5), (b"0A", b"01", b"01", b"06", b"0C")))
    found = connections.parse(text)
    assert {name: count for name, count in found.items() if count} == {
        "listen": 1,
        "established": 2,
        "timewait": 1,
        "synrecv": 1,
    }
    assert set(found) == set(connections.STATES.values())
    assert set(connections.parse(b"").values()) == {0}


def test_a_shared_namespace_and_a_process_that_is_gone():
    assert connections.by_state(os.getpid()) is None
    assert connections.by_state(2**22 - 1) is None


def test_a_state_that_no_kernel_has_today_is_none_that_is_open():
    assert connections.parse(HEADING + line(0, b"0E"))["close"] == 1


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (b"sockets: used 3\nTCP: inuse 0 orphan 0 tw 0 alloc 5 mem 0\nUDP: inuse 9 mem 0\n", False),
        (b"TCP: inuse 0 orphan 0 tw 1 alloc 5 mem 0\n", True),
        (b"TCP: inuse 0 orphan 0 tw 0 alloc 5 mem 0\nTCP6: inuse 2\n", True),
        (b"", False),
    ],
)
def test_files_are_read_only_where_there_is_a_socket(text, expected):
    assert connections._has_some(text) is expected


def test_a_file_that_is_too_long_is_left_out(monkeypatch, tmp_path):
    monkeypatch.setattr(connections, "_MOST_BYTES", 10)
    (tmp_path / "tcp").write_bytes(bytes(10))
    with pytest.raises(OverflowError):
        connections._read(str(tmp_path / "tcp"))


def test_real_sockets_of_this_machine():
    with socket.create_server(("127.0.0.1", 0)):
        with open("/proc/self/net/tcp", "rb") as file:
            assert connections.parse(file.read())["listen"] >= 1
        with open("/proc/self/net/sockstat", "rb") as file:
            assert connections._has_some(file.read())
