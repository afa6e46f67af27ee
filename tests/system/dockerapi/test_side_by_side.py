"""The commands a newcomer types, by docker and by cgagent: the same is printed."""

from __future__ import annotations

import re

import pytest

from tests.world.screen import Screen

pytestmark = [pytest.mark.system, pytest.mark.native]

_ID = re.compile(r"[0-9a-f]{64}|[0-9a-f]{12}")
_AGE = re.compile(r"(About an?|Less than a|\d+) (second|minute|hour|day|week|month|year)s?")


def plain(text):
    """Without what two runs differ in: ids, ages and blanks of columns."""
    lines = (" ".join(_AGE.sub("AGE", _ID.sub("ID", line)).split()) for line in text.split("\n"))
    return "\n".join(line for line in lines if line)


@pytest.fixture
def both(docker, agent):
    """What docker and cgagent print for the same words, which has to be the same.

    Of words that fail the exit status has to be the same.
    """

    def run(*args, fails=0):
        ours = agent.cli(*args)
        assert ours.returncode == fails, ours.stderr
        theirs = docker(*args, fails=fails)
        if not fails:
            assert plain(ours.stdout) == plain(theirs)
        return theirs

    return run


def test_images(both, docker, tmp_path, docker_hub):
    assert "alpine" in both("search", "--format", "{{.Name}}", f"{docker_hub.address}/alpine")
    both("pull", "-q", "hello-world")
    both("pull", "-q", "-a", "hello-world")
    form = "{{.Repository}} {{.Tag}} {{.ID}}"
    assert "hello-world latest" in both("images", "--format", form)
    docker("save", "-o", str(tmp_path / "hello.tar"), "hello-world")
    loaded = both("load", "-i", str(tmp_path / "hello.tar"))
    assert loaded == "Loaded image: hello-world:latest"
    assert both("image", "inspect", "-f", "{{.Id}} {{.Os}}", "hello-world")
    docker("rmi", "hello-world")
    both("rmi", "hello-world", fails=1)


def test_containers(both, docker):
    assert both("run", "--rm", "alpine", "echo", "hello") == "hello"
    docker(
        "run",
        "-d",
        "--name",
        "box",
        "--cpus",
        "0.5",
        "alpine",
        "sh",
        "-c",
        "echo said; exec sleep 1000",
    )
    assert "box" in both("ps", "-a")
    assert both("ps", "-q")
    assert both("logs", "box") == "said"
    assert both("exec", "box", "echo", "inside") == "inside"
    assert both("exec", "box", "cat", "/etc/alpine-release")
    for field in (
        "{{.State.Status}} {{.Path}}",
        "{{.Config.Image}} {{.State.ExitCode}}",
        "{{.HostConfig.ShmSize}}",
        "{{.Name}} {{json .State.Running}} {{json .Config.Cmd}} {{json .HostConfig.RestartPolicy}}",
        "{{.HostConfig.NanoCpus}} {{.HostConfig.CpuQuota}} {{.HostConfig.CpuPeriod}}",
    ):
        both("inspect", "-f", field, "box")
    both("inspect", "-f", "{{.NetworkSettings.Networks.bridge.IPAddress}}", "box")
    both("port", "box")
    both("inspect", "nobody", fails=1)
    docker("stop", "-t", "0", "box")
    assert both("ps", "-a", "--format", "{{.Names}} {{.State}}") == "box exited"
    both("rm", "nobody", fails=1)


OF_ONE = (  # those of docker's documentation, and what people write
    "{{range .NetworkSettings.Networks}}{{.IPAddress}}{{end}}",
    "{{range .NetworkSettings.Networks}}{{.MacAddress}} {{println .Gateway}}{{end}}",
    "{{range $p, $conf := .NetworkSettings.Ports}} {{$p}} -> {{(index $conf 0).HostPort}} {{end}}",
    '{{(index (index .NetworkSettings.Ports "80/tcp") 0).HostPort}}',
    "{{.Config.Image}} {{.LogPath}}",
    "{{json .Mounts}} {{json .Config.Labels}} {{json .NetworkSettings.Ports}}",
    '{{join .Args " , "}} {{split .Config.Image ":"}} {{title .Name}} {{upper .Name}}',
    "{{range .Mounts}}{{.Type}} {{.Destination}} {{.RW}} {{end}}{{len .Mounts}}",
    '{{index .Config.Labels "com.example.a"}} {{.Config.Labels}} {{index .Config.Labels "none"}}',
    "{{.Config.Cmd}} {{.Config.Env}} {{.Args}} {{.Config.Entrypoint}}",
    "{{if .State.Running}}up{{else}}down{{end}} {{with .State}}{{.Status}}{{end}}",
    '{{printf "%s is %s (%d)" .Name .State.Status .State.ExitCode}}',
    '{{slice .Id 0 12}} {{eq .State.Status "running"}} {{.HostConfig.NetworkMode}}',
    "{{range $k, $v := .Config.Labels}}{{$k}}={{$v}} {{end}}",
    "{{.HostConfig.Binds}} {{.HostConfig.Memory}} {{json .HostConfig.PortBindings}}",
)
OF_LISTS = (
    ("ps", "{{.ID}}: {{.Command}}"),
    ("ps", r"table {{.ID}}\t{{.Names}}\t{{.Ports}}"),
    ("ps", r'table {{.Names}}\t{{.Label "com.example.a"}}\t{{.Image}}\t{{.Networks}}'),
    ("ps", "{{.Names}} {{truncate .ID 4}} {{pad .State 1 1}} {{.Mounts}} {{.LocalVolumes}}"),
    ("ps", '{{if eq .State "running"}}{{.Names}} runs{{end}}'),
    ("images", "{{.ID}}: {{.Repository}}"),
    ("images", r"table {{.ID}}\t{{.Repository}}\t{{.Tag}}"),
    ("volume ls", "{{.Name}}: {{.Driver}} {{.Mountpoint}} {{.Scope}}"),
    ("volume ls", "table"),
    ("network ls", r"table {{.Name}}\t{{.Driver}}\t{{.Scope}}\t{{.Internal}}"),
)


def test_templates(both, docker):
    """One container, so that nothing depends on an order; networks are sorted by both."""
    asked = ("--label", "com.example.a=b", "--label", "c=d", "-p", "8098:80", "-v", "kept:/srv")
    docker("run", "-d", "--name", "web", *asked, "alpine:latest", "sleep", "1000")
    try:
        for template in OF_ONE:
            both("inspect", "-f", template, "web")
        for command, template in OF_LISTS:
            both(*command.split(), "--format", template)
        both("inspect", "-f", "{{.Nothing}}", "web", fails=1)
    finally:
        docker("rm", "-f", "web")
        docker("volume", "rm", "kept")


def test_terminals(docker, agent, host):
    """A shell in a terminal, by both at once."""
    docker("run", "-dit", "--name", "shell", "alpine", "sh")
    theirs = Screen(["docker", "--host", host, "attach", "shell"], (24, 80))
    ours = Screen(agent.cli_command("attach", "shell"), (24, 80))
    with theirs, ours:
        for screen in (theirs, ours):  # is attached
            screen.type("echo h''ere\r")
            screen.expect("here\r\n")
        theirs.type("echo a''b\r")
        for screen in (theirs, ours):
            screen.expect("ab\r\n")
    inside = Screen(agent.cli_command("exec", "-it", "shell", "tty"), (24, 80))
    with inside:
        inside.expect("/dev/pts/")
        assert inside.wait() == 0


def test_ports_of_both_families(both, docker):
    docker("network", "create", "--ipv6", "six")
    try:
        web = ("--name", "web", "--network", "six", "-p", "8099:80")
        docker("run", "-d", *web, "alpine", "sleep", "1000")
        shown = both("ps", "--filter", "name=web", "--format", "{{.Ports}}")
        assert shown == "0.0.0.0:8099->80/tcp, [::]:8099->80/tcp"
    finally:
        docker("rm", "-f", "web", fails=None)
        docker("network", "rm", "six")
