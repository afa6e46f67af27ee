"""``run --userns auto``: root inside is nobody outside, and files stay what they are."""

import os

import pytest

from cgagent.errors import InvalidInputError, UnsupportedError
from tests.world.agent import eventually

pytestmark = pytest.mark.system


def outside(agent, container):
    """The host's id of the container's root, as the kernel has it."""
    with open(f"/proc/{agent.state(container)['pid']}/uid_map", encoding="ascii") as f:
        inside, first, count = map(int, f.read().split())
    assert (inside, count) == (0, 65536)
    return first


def test_root_is_another_user_in_each_and_owns_its_files(agent, container):
    script = "touch /made && rm -r /etc/apk && mkdir /etc/apk && chown 5 /made && echo made"
    script += "; exec sleep 1000"
    one, two = (container("sh", "-c", script, userns="auto") for _ in range(2))
    for each in (one, two):
        eventually(lambda x=each: agent.log_text(x) == "made\n")
    assert 0 < outside(agent, one) != outside(agent, two) > 0
    seen = "stat -c %u:%g / /bin/busybox /etc/hosts /made /etc/apk /proc/self/status; id -u"
    done = agent.exec(one, "sh", "-c", f"{seen}; echo x >/dev/stderr; touch /by-exec; exit 3")
    assert done.stdout.split() == ["0:0", "0:0", "0:0", "5:0", "0:0", "0:0", "0"]
    assert (done.stderr, done.exit_code) == ("x\n", 3)
    upper = agent.data_root / "containers-rw" / one / "upper"
    assert [(upper / n).stat().st_uid for n in ("made", "by-exec", "etc/apk")] == [5, 0, 0]
    assert agent.run("id", "-u", userns="host").stdout == "0\n"
    agent.post(one, "kill")
    agent.wait(one)
    agent.post(one, "start")
    assert agent.exec(one, "stat", "-c", "%u", "/by-exec").stdout == "0\n"


@pytest.mark.native
def test_files_go_in_and_out_of_it(agent, container, cp, tmp_path):
    box = container("sleep", "1000", userns="auto", binds=["its-volume:/v"])
    (tmp_path / "file").write_text("text")
    cp(tmp_path / "file", f"{box}:/v/copied")
    assert agent.exec(box, "stat", "-c", "%u", "/v/copied").stdout == "0\n"
    cp(f"{box}:/v/copied", tmp_path / "back")
    assert (tmp_path / "back").read_text() == "text"
    copied = agent.data_root / "volumes" / "its-volume" / "_data" / "copied"
    assert copied.stat().st_uid == 0  # another container, of whatever ids, sees it as its root's
    assert agent.run("stat", "-c", "%u", "/v/copied", binds=["its-volume:/v"]).stdout == "0\n"
    agent.remove(box)
    agent.client.request("DELETE", "/v1/volumes/its-volume")


@pytest.mark.native
def test_what_belongs_to_the_host_cannot_be_touched(agent, container):
    """Not even with every capability, which are those of the namespace."""
    box = container("sleep", "1000", userns="auto", privileged=True)
    script = "mount -t tmpfs t /mnt && echo mounted; cat /dev/kmsg; echo 1 >/proc/sys/vm/swappiness"
    script += "; mount -t cgroup -o memory c /media && echo x >/media/release_agent; dmesg -n 8"
    done = agent.exec(box, "sh", "-c", script, privileged=True)
    assert done.stdout == "mounted\n"
    assert done.exit_code != 0
    pid = agent.state(box)["pid"]
    assert os.stat(f"/proc/{pid}").st_uid == outside(agent, box)


@pytest.mark.native
@pytest.mark.parametrize(
    ("options", "error", "complaint"),
    [
        ({"userns": "private"}, UnsupportedError, "use host or auto"),
        ({"userns": "auto", "pid": "host"}, InvalidInputError, "its pid namespace must be its own"),
        (
            {"userns": "auto", "networks": [{"network": "host"}]},
            InvalidInputError,
            "its network namespace",
        ),
        ({"userns": "auto", "runtime": "runc"}, UnsupportedError, "needs --runtime native"),
    ],
)
def test_what_does_not_go_together(agent, nothing_made, options, error, complaint):
    with pytest.raises(error, match=complaint):
        agent.create("true", **options)
