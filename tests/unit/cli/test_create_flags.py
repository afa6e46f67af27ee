import pytest
from hypothesis import given
from hypothesis import strategies as st

from cgagent.api.native.creation import CreateBody
from cgagent.cli import create_flags, create_values
from cgagent.cli.flags import Flags
from cgagent.errors import CgagentError, InvalidInputError


def parse(*flags):
    parser = Flags(pytest.fail, prog="x", add_help=False)
    create_flags.add_flags(parser)
    args = parser.parse_args([*flags, "alpine", "sh", "-c", "true"])
    return create_flags.request(args, foreground=False)


def test_nothing_asked_says_little():
    body = parse()
    assert body["command"] == ["sh", "-c", "true"]
    assert not set(body) & {"cap_add", "mounts", "pid", "oom_score_adj", "stop_timeout_s"}
    CreateBody(**body)


def test_an_entrypoint_is_one_word():
    assert parse("--entrypoint", "sh -c")["entrypoint"] == ["sh -c"]


def test_every_flag_becomes_something_the_agent_takes():
    body = parse(
        *("--cap-add", "A", "--cap-drop", "B", "--device-cgroup-rule", "c 1:1 r"),
        *("--group-add", "g", "--add-host", "a:1.1.1.1", "--dns", "1.1.1.1"),
        *("--dns-search", "d", "--dns-opt", "o", "--dns-option", "p", "--privileged"),
        *("--mount", "type=tmpfs,dst=/t", "--tmpfs", "/s:size=1m", "--device", "/dev/null"),
        *("--ulimit", "nofile=1", "--sysctl", "net.x=1", "--security-opt", "no-new-privileges"),
        *("--name", "n", "--domainname", "d", "--pid", "host", "--ipc", "none", "--uts", "host"),
        *("--cgroupns", "host", "--userns", "host", "--stop-signal", "INT", "--shm-size", "1m"),
        *("--oom-score-adj", "0", "--stop-timeout", "0", "-v", "name:/v", "--entrypoint", ""),
    )
    config = CreateBody(**body).request().config
    assert config.cap_add == ("A",)
    assert config.oom_score_adj == 0
    assert config.stop_timeout_s == 0
    assert config.entrypoint == ()
    assert config.dns_options == ("o", "p")
    assert config.shm_size_bytes == 1 << 20
    assert [m.destination for m in config.specs()] == ["/v", "/t", "/s"]
    assert config.ipc == "none"


@pytest.mark.parametrize(
    ("flag", "bind"),
    [
        ("/v", "/v"),
        ("name:/v:ro", "name:/v:ro"),
        ("./x:/v", "/here/x:/v"),
        ("../x:/v:ro", "/x:/v:ro"),
        (".:/v", "/here:/v"),
        ("~/x:/v", "/home/me/x:/v"),
    ],
)
def test_sources_from_here(monkeypatch, flag, bind):
    monkeypatch.setattr("os.getcwd", lambda: "/here")
    monkeypatch.setenv("HOME", "/home/me")
    assert parse("-v", flag)["binds"] == [bind]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (
            "type=bind,source=/a,target=/b,readonly",
            {"type": "bind", "source": "/a", "destination": "/b", "read_only": True},
        ),
        (
            "src=v,dst=/b,ro=false,volume-nocopy=true,volume-label=a=b,volume-driver=local",
            {"type": "volume", "source": "v", "destination": "/b", "read_only": False}
            | {"no_copy": True, "labels": {"a": "b"}},
        ),
        (
            "type=bind,src=/a,dst=/b,bind-propagation=rslave,bind-recursive=disabled",
            {"type": "bind", "source": "/a", "destination": "/b", "propagation": "rslave"}
            | {"recursive": False},
        ),
        (
            "type=bind,src=/a,dst=/b,bind-nonrecursive",
            {"type": "bind", "source": "/a", "destination": "/b", "recursive": False},
        ),
        (
            "type=tmpfs,dst=/t,tmpfs-size=1m,tmpfs-mode=1770",
            {"type": "tmpfs", "destination": "/t", "tmpfs_options": ["size=1048576", "mode=1770"]},
        ),
        ('dst=/t,"src=a,b"', {"type": "volume", "destination": "/t", "source": "a,b"}),
    ],
)
def test_mount(text, expected):
    assert create_values.mounts([text]) == [expected]


PARTS = (
    *("type=bind", "type=tmpfs", "dst=/x", "src=/", "src=", "ro", "ro=x", "dst", "x=y", ""),
    *("volume-nocopy", "tmpfs-size=x", "bind-recursive=x", "volume-opt=a=b", '"', "\n"),
)


@given(st.lists(st.sampled_from(PARTS)).map(",".join))
def test_any_mount_is_one_or_an_error(text):
    try:
        (found,) = create_values.mounts([text])
    except CgagentError:
        return
    assert found["type"] in {"bind", "volume", "tmpfs"}
    CreateBody(image="i", mounts=[found])


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("/dev/a", ("/dev/a", "/dev/a", "rwm")),
        ("/dev/a:/dev/b", ("/dev/a", "/dev/b", "rwm")),
        ("/dev/a:/dev/b:r", ("/dev/a", "/dev/b", "r")),
        ("/dev/a:rw", ("/dev/a", "/dev/a", "rw")),
    ],
)
def test_device(text, expected):
    (found,) = create_values.devices([text])
    assert tuple(found.values()) == expected


def test_ulimits_and_sysctls():
    assert create_values.ulimits(["core=1", "nofile=1:2", "core=-1:-1"]) == [
        {"name": "core", "soft": -1, "hard": -1},
        {"name": "nofile", "soft": 1, "hard": 2},
    ]
    assert create_values.sysctls(["a=b=c", "d="]) == {"a": "b=c", "d": ""}
    for wrong in ("", "core", "core=", "core=x", "core=1:", "=1", "core=1_0", "core=1:2:3"):
        with pytest.raises(InvalidInputError, match="invalid ulimit argument"):
            create_values.ulimits([wrong])


def test_files_of_lines(tmp_path, monkeypatch):
    monkeypatch.setenv("FROM_HERE", "yes")
    (tmp_path / "f").write_text("\ufeffA=1 \n  # no\n\nFROM_HERE\nNOT_SET_HERE\nB=\n")
    assert create_values.lines([str(tmp_path / "f")], "env") == ["A=1 ", "FROM_HERE=yes", "B="]
    (tmp_path / "g").write_text("A=1\nB C=1\n")
    with pytest.raises(InvalidInputError, match=r"--env-file .*g line 2: 'B C' is not a name"):
        create_values.lines([str(tmp_path / "g")], "env")
    (tmp_path / "h").write_bytes(b"\xff=1\n")
    with pytest.raises(InvalidInputError, match="not UTF-8"):
        create_values.lines([str(tmp_path / "h")], "env")
