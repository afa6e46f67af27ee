"""The docker command line against the agent."""

from __future__ import annotations

import json
import subprocess
import time

import pytest

from tests.world import dockers
from tests.world.agent import eventually
from tests.world.screen import DETACH, PROMPT, Screen

pytestmark = [pytest.mark.system, pytest.mark.native]


@pytest.fixture
def box(docker):
    """A container that runs, called box."""
    docker("run", "-d", "--name", "box", "alpine", "sleep", "1000")
    return "box"


@pytest.fixture
def in_terminal(host):
    """The docker command line in a terminal."""
    made = []

    def run(*args):
        made.append(Screen([str(dockers.cli()), "--host", host, *args]))
        return made[-1]

    yield run
    for screen in made:
        screen.__exit__(None, None, None)


def test_version_and_info(docker):
    server = json.loads(docker("version", "--format", "{{json .Server}}"))
    assert server["Platform"] == {"Name": "cgagent"}
    info = json.loads(docker("info", "--format", "json"))
    assert (info["OSType"], info["Swarm"]["LocalNodeState"]) == ("linux", "inactive")
    assert not info.get("ServerErrors")


def test_run_and_its_exit_codes(docker):
    assert docker("run", "--rm", "alpine", "echo", "hi") == "hi"
    assert docker("run", "--rm", "-i", "alpine", "cat", stdin="over and out\n") == "over and out"
    docker("run", "--rm", "alpine", "sh", "-c", "exit 3", fails=3)
    assert "executable file not found in $PATH" in docker(
        "run", "--rm", "alpine", "nope", fails=127
    )
    assert "No such image: nobody/nothing:latest" in docker(
        "create", "--pull", "never", "nobody/nothing", fails=1
    )
    assert docker("ps", "-aq") == ""


def test_run_in_a_terminal(in_terminal, docker):
    screen = in_terminal("run", "-it", "--rm", "alpine", "sh")
    screen.expect(PROMPT)
    screen.type("tty; stty size; exit 4\r")
    screen.expect("/dev/pts/0")
    screen.expect("24 80")
    assert screen.wait() == 4
    assert screen.restored
    assert docker("ps", "-aq") == ""


def test_exec_and_detach_in_a_terminal(in_terminal, docker, box):
    screen = in_terminal("exec", "-it", box, "sh")
    screen.expect(PROMPT)
    screen.type("tty; exit 5\r")
    screen.expect("/dev/pts/")
    assert screen.wait() == 5
    docker("run", "-dit", "--name", "shell", "alpine", "sh")
    screen = in_terminal("attach", "shell")
    screen.type("echo a''b\r")
    screen.expect("ab\r\n")
    screen.type(DETACH)
    screen.expect("read escape sequence")
    assert docker("inspect", "--format", "{{.State.Running}}", "shell") == "true"


def test_a_context(host, docker, tmp_path):
    docker("context", "create", "here", "--docker", f"host={host}")
    command = [str(dockers.cli()), "--config", str(tmp_path), "--context", "here"]
    done = subprocess.run(
        [*command, "run", "--rm", "alpine", "echo", "hi"],
        check=True,
        capture_output=True,
        text=True,
    )
    assert done.stdout == "hi\n"


def test_from_create_to_rm(docker):
    docker("run", "-d", "--name", "one", "alpine", "sh", "-c", "echo out; echo err >&2; sleep 1000")
    eventually(lambda: docker("logs", "one") == "out")
    assert docker("ps", "--format", "{{.Names}} {{.Image}} {{.State}}") == "one alpine running"
    assert docker("exec", "one", "cat", "/etc/hostname") == docker("ps", "-q")
    docker("pause", "one")
    assert docker("ps", "--filter", "status=paused", "--format", "{{.Status}}").endswith("(Paused)")
    docker("unpause", "one")
    assert "sleep 1000" in docker("top", "one")
    docker("rename", "one", "two")
    docker("kill", "two")
    state = "{{.State.ExitCode}} {{.State.Running}}"
    assert docker("inspect", "--format", state, "two") == "137 false"
    docker("start", "two")
    docker("restart", "-t", "0", "two")
    docker("stop", "-t", "0", "two")
    docker("rm", "two")
    assert "No such container: two" in docker("rm", "two", fails=1)


def test_logs_follow_times_and_tails(docker):
    script = "for i in 1 2 3; do echo line $i; done; sleep 0.5; echo last"
    docker("run", "-d", "--name", "talks", "alpine", "sh", "-c", script)
    assert docker("logs", "-f", "talks").splitlines() == ["line 1", "line 2", "line 3", "last"]
    assert docker("logs", "--tail", "1", "talks") == "last"
    stamped = docker("logs", "-t", "--tail", "1", "talks")
    assert stamped.startswith("20")
    assert stamped.endswith("Z last")
    assert docker("logs", "--since", stamped.split()[0], "talks") == "last"
    assert docker("logs", "--until", stamped[:10] + "T00:00:00Z", "talks") == ""


def test_exec_and_its_exit_codes(docker, box):
    docker("exec", box, "sh", "-c", "exit 7", fails=7)
    docker("exec", box, "nope", fails=127)
    assert docker("exec", "-i", box, "cat", stdin="in\n") == "in"
    assert (
        docker(
            "exec", "-e", "A=b", "-w", "/tmp", "-u", "1:2", box, "sh", "-c", "echo $A $PWD; id -u"
        )
        == "b /tmp\n1"
    )
    docker("exec", "-d", box, "touch", "/made")
    eventually(lambda: "made" in docker("exec", box, "ls", "/"))
    docker("stop", "-t", "0", box)
    assert "is not running" in docker("exec", box, "true", fails=1)


def test_limits_are_asked_updated_and_seen(docker):
    flags = ("--memory", "64m", "--cpus", "0.5", "--pids-limit", "50", "--cpu-shares", "512")
    docker("run", "-d", "--name", "small", *flags, "alpine", "sleep", "1000")
    host_config = "{{with .HostConfig}}{{.Memory}} {{.PidsLimit}} {{.CpuShares}}{{end}}"
    assert docker("inspect", "--format", host_config, "small") == f"{64 << 20} 50 512"
    docker("update", "--memory", "96m", "--memory-swap", "96m", "small")
    assert docker("inspect", "--format", "{{.HostConfig.Memory}}", "small") == str(96 << 20)
    figures = json.loads(docker("stats", "--no-stream", "--format", "json", "small"))
    assert figures["MemUsage"].endswith("/ 96MiB")
    assert "no command" not in docker("run", "--rm", "--memory", "1k", "alpine", "true", fails=125)


def test_cp_diff_and_export(docker, box, tmp_path):
    (tmp_path / "here").write_text("from here")
    docker("cp", str(tmp_path / "here"), "box:/there")
    assert docker("exec", box, "cat", "/there") == "from here"
    docker("exec", box, "mkdir", "/folder")
    docker("exec", box, "touch", "/folder/file")
    docker("cp", "box:/folder", str(tmp_path / "copied"))
    assert (tmp_path / "copied" / "file").exists()
    assert "Could not find the file /nope" in docker("cp", "box:/nope", str(tmp_path), fails=1)
    assert {"A /there", "A /folder"} <= set(docker("diff", box).splitlines())
    docker("export", "-o", str(tmp_path / "root.tar"), box)
    listed = subprocess.run(
        ["tar", "-tf", tmp_path / "root.tar"], check=True, capture_output=True, text=True
    ).stdout
    assert "there" in listed.splitlines()
    image = docker("import", str(tmp_path / "root.tar"), "imported:one")
    assert image == docker("inspect", "--format", "{{.Id}}", "imported:one")
    assert docker("run", "--rm", "imported:one", "cat", "/there") == "from here"
    docker("rmi", "imported:one")


def test_listings_and_their_filters(docker, box):
    docker("create", "--name", "idle", "--label", "a=b", "alpine", "true")
    names = ("--format", "{{.Names}}")
    assert docker("ps", *names) == box
    assert set(docker("ps", "-a", *names).splitlines()) == {box, "idle"}
    assert docker("ps", "-a", "--filter", "label=a=b", *names) == "idle"
    assert docker("ps", "-a", "--filter", "status=created", *names) == "idle"
    assert docker("ps", "-a", "--filter", "name=^idl", *names) == "idle"
    assert docker("ps", "-n", "1", *names) == "idle"
    for chosen, found in (
        ("since=box", "idle"),
        ("before=idle", box),
        ("ancestor=alpine", f"idle\n{box}"),
        ("exited=3", ""),
        ("health=none", f"idle\n{box}"),
        ("volume=nowhere", ""),
        ("publish=1-99/tcp", ""),
        ("expose=80", ""),
        ("id=0123456789ab", ""),
    ):
        assert docker("ps", "-a", "--filter", chosen, *names) == found, chosen
    assert "invalid filter 'status=odd'" in docker("ps", "--filter", "status=odd", fails=1)
    assert docker("ps", "--filter", "network=bridge", *names) == box
    assert "invalid filter 'nope'" in docker("ps", "--filter", "nope=1", fails=1)
    assert docker("container", "prune", "-f").splitlines()[0] == "Deleted Containers:"
    assert docker("ps", "-a", *names) == box


def test_events_with_times_and_filters(docker):
    since = str(time.time())
    flags = ("--rm", "--name", "short", "--label", "mine")
    docker("run", *flags, "alpine", "sh", "-c", "exit 2", fails=2)
    events = docker(
        "events", "--since", since, "--until", str(time.time()), "--filter", "type=container"
    )
    actions = [line.split()[2] for line in events.splitlines()]
    assert [a for a in actions if a in {"create", "start", "die", "destroy"}] == [
        "create",
        "start",
        "die",
        "destroy",
    ]
    assert "exitCode=2" in events
    labelled = docker(
        "events", "--since", since, "--until", str(time.time()), "--filter", "label=other"
    )
    assert labelled == ""


def test_images_from_pull_to_rmi(docker, tmp_path, docker_hub):
    docker("pull", "hello-world")
    assert "hello-world" in docker("images", "--format", "{{.Repository}}").splitlines()
    digest = docker("image", "inspect", "--format", "{{index .RepoDigests 0}}", "hello-world")
    assert digest.startswith("hello-world@sha256:")
    assert docker("history", "-q", "hello-world")
    docker("tag", "hello-world", f"{docker_hub.address}/mine:1")
    docker("push", f"{docker_hub.address}/mine:1")
    docker("save", "-o", str(tmp_path / "saved.tar"), "hello-world")
    docker("rmi", "hello-world", f"{docker_hub.address}/mine:1")
    assert docker("load", "-i", str(tmp_path / "saved.tar")) == "Loaded image: hello-world:latest"
    docker("rmi", "hello-world")
    docker("pull", "-q", f"{docker_hub.address}/mine:1")
    docker("rmi", f"{docker_hub.address}/mine:1")
    assert "not found" in docker("pull", "nobody/nothing", fails=1)
    assert "No such image: hello-world:latest" in docker("rmi", "hello-world", fails=1)
    assert "alpine" in docker("search", "--format", "{{.Name}}", f"{docker_hub.address}/alpine")


def test_commit(docker, box):
    docker("exec", box, "sh", "-c", "echo kept > /kept")
    docker("commit", "-m", "why", "-c", "ENV A=b", "-c", 'CMD ["cat", "/kept"]', box, "made:one")
    assert docker("run", "--rm", "made:one") == "kept"
    assert docker("run", "--rm", "made:one", "sh", "-c", "echo $A") == "b"
    docker("rmi", "made:one")


def test_networks(docker, box):
    docker("network", "create", "--label", "a=b", "--subnet", "10.77.1.0/24", "inner")
    assert docker("network", "ls", "--filter", "label=a=b", "--format", "{{.Name}}") == "inner"
    docker("network", "connect", "--alias", "known", "--ip", "10.77.1.9", "inner", box)
    where = '{{(index .NetworkSettings.Networks "inner").IPAddress}}'
    assert docker("inspect", "--format", where, box) == "10.77.1.9"
    assert "box" in docker("network", "inspect", "--format", "{{json .Containers}}", "inner")
    other = docker("run", "--rm", "--network", "inner", "alpine", "ping", "-c", "1", "known")
    assert "1 packets received" in other
    assert "container in it" in docker("network", "rm", "inner", fails=1)
    docker("network", "disconnect", "inner", box)
    assert "not connected" in docker("network", "disconnect", "inner", box, fails=1)
    docker("network", "rm", "inner")
    assert "network inner not found" in docker("network", "inspect", "inner", fails=1)


def test_published_ports(docker):
    docker(
        "run",
        "-d",
        "--name",
        "web",
        "-p",
        "127.0.0.1::80",
        "alpine",
        "nc",
        "-lk",
        "-p",
        "80",
        "-e",
        "echo",
        "hi",
    )
    place = docker("port", "web", "80")
    assert place.startswith("127.0.0.1:")
    assert f"{place}->80/tcp" in docker("ps", "--format", "{{.Ports}}")


def test_volumes_and_mounts(docker, tmp_path):
    docker("volume", "create", "--label", "a=b", "data")
    (tmp_path / "file").write_text("mine")
    docker(
        *("run", "--rm", "-v", "data:/data", "-v", f"{tmp_path}:/host:ro", "--tmpfs", "/t"),
        *("alpine", "cp", "/host/file", "/data/"),
    )
    mount = ("--mount", "type=volume,source=data,target=/d,readonly")
    assert docker("run", "--rm", *mount, "alpine", "cat", "/d/file") == "mine"
    docker(
        *("create", "--name", "has", "-v", "data:/data", "-v", "/own", "--tmpfs", "/t"),
        *("alpine", "true"),
    )
    listed = "{{range .Mounts}}{{.Destination}} {{end}}"
    assert set(docker("inspect", "-f", listed, "has").split()) == {"/data", "/own"}
    assert docker("run", "--rm", "--volumes-from", "has", "alpine", "cat", "/data/file") == "mine"
    assert "in use" in docker("volume", "rm", "data", fails=1)
    docker("rm", "-v", "has")
    assert docker("volume", "ls", "--filter", "dangling=true", "-q") == "data"
    docker("volume", "rm", "data")
    assert "no such volume" in docker("volume", "inspect", "data", fails=1)
    assert "Images" in docker("system", "df")


def test_the_environment_of_an_inspection_is_what_was_asked_for(docker):
    """Programs that replace a container make the new one of it."""
    docker("create", "-t", "--name", "plain", "-e", "A=b", "alpine", "true")
    docker("create", "-t", "--name", "own", "-e", "HOSTNAME=x", "-e", "TERM=y", "alpine", "true")

    def environment(name):
        return json.loads(docker("inspect", "-f", "{{json .Config.Env}}", name))

    path = "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
    assert sorted(environment("plain")) == ["A=b", path]
    assert sorted(environment("own")) == ["HOSTNAME=x", path, "TERM=y"]


def test_a_group_of_ones_own_is_among_the_others(docker, box):
    """Else what the group is denied is granted to who leaves it by a setgid program."""
    flags = ("--user", "1000:1000", "--group-add", "27")
    show = ("grep", "Groups", "/proc/self/status")
    assert docker("run", "--rm", *flags, "alpine", *show).split() == ["Groups:", "27", "1000"]
    assert docker("exec", "--user", "1000:1000", box, *show).split() == ["Groups:", "1000"]


def test_prunes(docker):
    docker("create", "--name", "unused", "alpine", "true")
    docker("network", "create", "unused")
    pruned = docker("system", "prune", "-f")
    assert "Deleted Containers:" in pruned
    assert "Deleted Networks:\nunused" in pruned
    assert docker("image", "prune", "-f") == "Total reclaimed space: 0B"
    assert docker("volume", "prune", "-f") == "Total reclaimed space: 0B"


def test_build(docker, tmp_path):
    def build(text, *flags, fails=0, stdin=""):
        (tmp_path / "Dockerfile").write_text(text)
        (tmp_path / "f").write_text("f\n")
        legacy = {"DOCKER_BUILDKIT": "0"}
        return docker("build", *flags, str(tmp_path), fails=fails, environ=legacy, stdin=stdin)

    text = "FROM alpine\nCOPY f /f\nRUN cat /f > /g; echo said\nCMD cat /g\n"
    shown = build(text, "-t", "classic:1", "--label", "a=b").split("\n")
    assert "Step 3/5 : RUN cat /f > /g; echo said" in shown
    assert "said" in shown
    assert shown[-1] == "Successfully tagged classic:1"
    assert docker("run", "--rm", "classic:1") == "f"
    assert " ---> Using cache" in build(text)
    image = build(text, "-q", "--label", "a=b")
    assert image == docker("images", "-q", "--no-trunc", "classic:1")
    assert "returned a non-zero code: 3" in build("FROM alpine\nRUN exit 3\n", fails=3)
    assert "line 1: unknown instruction: NONE" in build("NONE\n", fails=1)
    assert "f" in build("", "-f", "-", stdin="FROM alpine\nCOPY f /\nRUN cat /f\n").split("\n")
    assert docker("ps", "-aq") == ""
    docker("rmi", "classic:1")
    docker("image", "prune", "-f")
    docker("builder", "prune", "-f")
    assert docker("system", "df", "--format", "{{.Type}} {{.TotalCount}}").endswith("Cache 0")


def test_what_is_not_there_is_told(docker):
    assert "not a swarm manager" in docker("node", "ls", fails=1)
    assert "no log driver named 'nope'" in docker(
        "run", "--log-driver", "nope", "alpine", fails=125
    )
    assert 'plugin "nope" not found' in docker("volume", "create", "-d", "nope", fails=1)
