"""Where the agent is: flags, the environment, contexts."""

import json
import os
import stat
from pathlib import Path

import pytest

from cgagent.cli import agent, main
from cgagent.client import place as addresses
from cgagent.client.places import place_of
from cgagent.errors import CgagentError, InvalidInputError

TOKEN = "cga_secret"


@pytest.fixture
def home(tmp_path, monkeypatch):
    """A user's own; what else the machine says of agents does not count."""
    known = {b"HOME": str(tmp_path).encode(), b"PATH": os.environb[b"PATH"]}
    monkeypatch.setattr(addresses.os, "environ", known)
    return tmp_path


def cgagent(*argv):
    return main._run(list(argv))


def place(*flags):
    parsed = main.global_flags().parse_args([*flags, "ps"])
    return place_of(**{name: getattr(parsed, name) for name in agent._PLACE})


def environment(**values):
    addresses.os.environ.update({k.encode(): v.encode() for k, v in values.items()})


@pytest.mark.parametrize(
    ("flags", "values", "address"),
    [
        ((), {}, "unix:///run/cgagent/cgagent.sock"),
        (("-H", "/no/a"), {"CGAGENT_SOCKET": "/no/b"}, "unix:///no/a"),
        (("-H", "unix:///no/a"), {"CGAGENT_HOST": "tcp://b"}, "unix:///no/a"),
        ((), {"CGAGENT_SOCKET": "unix:///no/b"}, "unix:///no/b"),
        ((), {"CGAGENT_SOCKET": "no/b"}, "unix://no/b"),
        ((), {"CGAGENT_SOCKET": "/b", "CGAGENT_HOST": "tcp://a:1"}, "tcp://a:1"),
        ((), {"CGAGENT_HOST": "ssh://me@there", "CGAGENT_CONTEXT": "none"}, "ssh://me@there"),
        (("-c", "default"), {"CGAGENT_HOST": "tcp://a:1"}, "unix:///run/cgagent/cgagent.sock"),
    ],
)
def test_the_order_is_dockers(home, flags, values, address):
    environment(**values)
    assert place(*flags).address == address


@pytest.mark.parametrize("address", ["ftp://x:1", "unix://", "tcp://", "fd://", "x", ""])
def test_what_is_no_address(home, address):
    with pytest.raises(InvalidInputError, match="must be unix:///PATH or a path"):
        place("-H", address)


@pytest.mark.parametrize(
    ("address", "tls", "host", "port"),
    [
        ("tcp://there", False, "there", 2375),
        ("tcp://there", True, "there", 2376),
        ("tcp://[::1]:4000/", True, "::1", 4000),
    ],
)
def test_ports(address, tls, host, port):
    one = addresses.Place(address)
    one.tls = tls
    assert addresses.host_and_port(one) == (host, port)


def test_an_agent_that_is_nowhere_is_named(home, capsys):
    with pytest.raises(CgagentError, match="no agent listens on /no/a; start one with cgagent"):
        cgagent("-H", "/no/a", "ps")


def test_a_socket_that_is_closed_to_the_user(home, monkeypatch):
    def refuse(*_):
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr("cgagent.client.connection.Socket.connect", refuse)
    with pytest.raises(CgagentError, match="/no/a is closed to this user: permission denied") as e:
        cgagent("-H", "/no/a", "ps")
    assert "usermod -aG cgagent" in e.value.message


def test_tls_of_the_environment_and_of_flags(home):
    environment(CGAGENT_CERT_PATH="/certs", CGAGENT_HOST="tcp://there")
    found = place("--tlscacert", "/mine.pem")
    assert (found.ca, found.cert, found.key) == ("/mine.pem", "/certs/cert.pem", "/certs/key.pem")
    assert found.tls
    assert found.verify


@pytest.mark.parametrize(
    ("flags", "is_sent"),
    [
        (("-H", "tcp://there"), False),
        (("-H", "tcp://there", "--tls"), False),
        (("-H", "tcp://there", "--tlsverify"), True),
        (("-H", "tcp://127.0.0.1:99"), True),
    ],
)
def test_a_token_is_for_the_agent_alone(home, flags, is_sent):
    environment(CGAGENT_TOKEN=TOKEN)
    if is_sent:
        assert place(*flags).token == TOKEN
    else:
        with pytest.raises(InvalidInputError, match="give --tlsverify"):
            place(*flags)


# -- contexts -----------------------------------------------------------------------------------


@pytest.fixture
def there(home, capsys):
    """A context with everything."""
    for name in ("ca", "cert", "key", "token"):
        (home / name).write_text(TOKEN if name == "token" else name)
    files = {"tlscacert": "ca", "tlscert": "cert", "tlskey": "key", "token-file": "token"}
    flags = [word for flag, name in files.items() for word in (f"--{flag}", str(home / name))]
    cgagent("context", "create", "there", "-H", "tcp://there:1", *flags, "--description", "far")
    assert capsys.readouterr().out == "there\n"
    return home / ".config/cgagent/contexts/there"


def test_a_context_has_copies_that_are_its_users_alone(home, there):
    for name in ("ca", "cert", "key", "token"):
        (home / name).unlink()
    found = place("--context", "there")
    assert (found.address, found.token, found.verify) == ("tcp://there:1", TOKEN, True)
    assert Path(found.key).read_text() == "key"
    for path in there.iterdir():
        assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert stat.S_IMODE(there.stat().st_mode) == 0o700


def test_use_show_and_default(home, there, capsys):
    cgagent("context", "use", "there")
    cgagent("context", "show")
    assert capsys.readouterr().out == "there\nthere\n"
    assert place().address == "tcp://there:1"
    assert place("-H", "/a").address == "unix:///a"
    cgagent("context", "use", "default")
    assert place().address == "unix:///run/cgagent/cgagent.sock"


def test_the_list_has_a_star(home, there, capsys):
    cgagent("context", "use", "there")
    capsys.readouterr()
    cgagent("context", "ls")
    lines = capsys.readouterr().out.split("\n")
    assert lines[0].split() == ["NAME", "DESCRIPTION", "HOST", "ERROR"]
    assert lines[2].split() == ["there", "*", "far", "tcp://there:1"]


def test_inspect_shows_no_secret(home, there, capsys):
    cgagent("context", "inspect", "there")
    text = capsys.readouterr().out
    assert TOKEN not in text
    (found,) = json.loads(text)
    assert found["Endpoints"] == {"cgagent": {"Host": "tcp://there:1", "SkipTLSVerify": False}}


def test_rm(home, there, capsys):
    cgagent("context", "use", "there")
    assert cgagent("context", "rm", "there") == 1
    assert "is in use" in capsys.readouterr().err
    assert cgagent("context", "rm", "-f", "there") == 0
    assert not there.exists()
    assert place().address == "unix:///run/cgagent/cgagent.sock"


@pytest.mark.parametrize(
    ("argv", "complaint"),
    [
        (("create", "there", "-H", "tcp://x"), "context 'there' exists; remove it first"),
        (("create", "default", "-H", "tcp://x"), "and not 'default'"),
        (("create", "../x", "-H", "tcp://x"), "must be up to 63 letters"),
        (("create", "x", "-H", "nonsense"), "must be unix:///PATH"),
        (("use", "nosuch"), "context 'nosuch' does not exist; see cgagent context ls"),
        (("inspect", "nosuch"), "does not exist"),
    ],
)
def test_mistakes(home, there, argv, complaint):
    with pytest.raises(CgagentError, match=complaint):
        cgagent("context", *argv)
    assert [p.name for p in there.parent.iterdir()] == ["there"]


def test_both_flags_at_once(home):
    with pytest.raises(InvalidInputError, match="give one of them"):
        place("-H", "/a", "--context", "b")
