"""The commands that everybody types first, by docker and by cgagent, side by side.

`same` holds their output against each other, `otherwise` has what differs on purpose, which
docs/docker.md tells of.
"""

from __future__ import annotations

import json
import re
import subprocess

import pytest

from tests.world import dockers
from tests.world.agent import SLOWNESS, eventually
from tests.world.screen import DETACH, PROMPT, Screen

pytestmark = [pytest.mark.system, pytest.mark.native]

_ID = re.compile(r"(sha256:)?([0-9a-f]{64}|[0-9a-f]{12})\b")
_AGE = re.compile(r"(About an?|Less than a|\d+) (second|minute|hour|day|week|month|year)s?")
_NAME = re.compile(r"\b[a-z]+_[a-z]+\b")


_OF_OLD_VERSIONS = {
    f"[].NetworkSettings.{name}"
    for name in ("EndpointID", "Gateway", "IPAddress", "IPPrefixLen", "MacAddress")
}
"""Docker has taken these away in version 1.52 of the API, which this docker does not speak yet."""


def plain(text):
    """Without what two runs differ in: ids, ages, made names, and the blanks of columns."""
    for expression, word in ((_ID, "ID"), (_AGE, "AGE"), (_NAME, "NAME")):
        text = expression.sub(word, text)
    return [" ".join(line.split()) for line in text.splitlines()]


class Typed:
    """What both command lines print for the same words."""

    def __init__(self, agent, docker):
        self._agent = agent
        self._docker = docker

    def ours(self, *words, stdin=""):
        return self._agent.cli(*words, input=stdin)

    def theirs(self, *words, stdin=""):
        return self._docker(*words, stdin=stdin)

    def same(self, *words, status=0, before=None):
        """`before` makes what they need anew for each. What is said of an error differs."""
        found = []
        for run in (self.ours, self.theirs):
            if before is not None:
                before()
            done = run(*words)
            assert done.returncode == status, (run, words, done.stdout, done.stderr)
            assert done.stderr or not status
            found.append(plain(done.stdout))
        assert found[0] == found[1]
        return found[0]

    def otherwise(self, *words, ours, theirs, before=None):
        for run, wanted in ((self.ours, ours), (self.theirs, theirs)):
            if before is not None:
                before()
            done = run(*words)
            assert done.returncode == 0, (run, words, done.stderr)
            assert re.search(wanted, done.stdout), (run, words, done.stdout)


@pytest.fixture
def typed(agent, host, tmp_path):
    def docker(*words, stdin=""):
        return subprocess.run(
            [str(dockers.cli()), "--config", str(tmp_path), "--host", host, *words],
            check=False,
            input=stdin,
            capture_output=True,
            text=True,
            timeout=60 * SLOWNESS,
        )

    before = {c["id"] for c in agent.containers()}
    yield Typed(agent, docker)
    for one in agent.containers():
        if one["id"] not in before:
            agent.remove(one["id"])


def test_images(typed, tmp_path):
    typed.otherwise("version", ours=r"client: .*\nagent:  ", theirs=r"(?s)Client:.*Server:")
    columns, *found = typed.same("search", "alpine")
    assert columns == "NAME DESCRIPTION STARS OFFICIAL"
    assert found[0].startswith("library/alpine")
    typed.otherwise(
        *("pull", "hello-world"),
        ours=r"^docker.io/library/hello-world:latest\n$",
        theirs=r"Status: (Downloaded newer image|Image is up to date)(?s:.*)\ndocker.io/library/h",
    )
    ours, theirs = (plain(run("images").stdout) for run in (typed.ours, typed.theirs))
    assert ours[0] == theirs[0] == "REPOSITORY TAG IMAGE ID CREATED SIZE"
    assert any(line.startswith("hello-world latest ID") for line in ours)
    assert [line.rpartition(" ")[0] for line in ours] == [t.rpartition(" ")[0] for t in theirs]
    assert (ours[1][-3:], theirs[1][-2:]) == ("MiB", "MB")
    archive = str(tmp_path / "hello.tar")
    assert typed.same("save", "-o", archive, "hello-world") == []
    typed.ours("rmi", "hello-world")  # with the digest that it was pulled by
    untagged = typed.same("rmi", "hello-world", before=lambda: typed.ours("load", "-i", archive))
    assert untagged[0] == "Untagged: hello-world:latest"
    loaded = typed.same("load", "-i", archive)
    assert loaded[-1] == "Loaded image: hello-world:latest"
    typed.ours("rmi", "hello-world")


def test_containers(typed, agent):
    def none():
        typed.ours("rm", "-f", "box")

    assert typed.same("run", "--rm", "alpine", "echo", "hello") == ["hello"]
    assert typed.same("run", "alpine", "sh", "-c", "echo no >&2; exit 3", status=3) == []
    started = typed.same(
        "run", "-d", "--name", "box", "alpine", "sh", "-c", "echo said; sleep 1000", before=none
    )
    assert started == ["ID"]
    columns, *shown = typed.same("ps", "-a")
    assert columns == "CONTAINER ID IMAGE COMMAND CREATED STATUS PORTS NAMES"
    assert "box" in shown[0]
    eventually(lambda: typed.ours("logs", "box").stdout == "said\n")
    assert typed.same("exec", "box", "echo", "inside") == ["inside"]
    ours, theirs = (json.loads(run("inspect", "box").stdout) for run in (typed.ours, typed.theirs))
    assert set(_missing(theirs, ours)) == _OF_OLD_VERSIONS
    typed.same("inspect", "nobody", status=1)
    typed.same("rm", "box", status=1)
    assert typed.same("rm", "-f", "box", before=lambda: agent_has(agent, typed)) == ["box"]
    typed.same("rm", "box", status=1)


def agent_has(agent, typed):
    if "box" not in {c["name"] for c in agent.containers()}:
        typed.ours("create", "--name", "box", "alpine")


def _missing(theirs, ours, where=""):
    """Fields that docker shows of the same container and cgagent does not, or in another type."""
    if isinstance(theirs, list) and isinstance(ours, list):
        pairs = zip(theirs, ours, strict=False)
        return [one for pair in pairs for one in _missing(*pair, f"{where}[]")]
    if isinstance(theirs, dict) and isinstance(ours, dict):
        return [
            one
            for key, value in theirs.items()
            if value  # docker's command line shows each field that it knows of
            for one in (
                _missing(value, ours[key], f"{where}.{key}") if key in ours else [f"{where}.{key}"]
            )
        ]
    return [] if type(theirs) is type(ours) else [where]


@pytest.fixture
def screens(agent, host):
    """The same words in a terminal each, first ours, then docker's."""
    made = []

    def run(*words):
        for command in (agent.cli_command(*words), [str(dockers.cli()), "--host", host, *words]):
            made.append(Screen(command, (24, 80)))
            yield made[-1]

    yield run
    for screen in made:
        screen.__exit__(None, None, None)


def test_terminals(typed, screens):
    for screen in screens("run", "-it", "--rm", "alpine", "sh"):
        screen.expect(PROMPT)
        screen.type("stty size; exit 4\r")
        screen.expect("24 80")
        assert screen.wait() == 4
    typed.ours("run", "-dit", "--name", "shell", "alpine", "sh")
    for screen in screens("attach", "shell"):
        screen.type("echo a''b\r")
        screen.expect("ab\r\n")
        screen.type(DETACH)
        screen.expect("read escape sequence")
    for screen in screens("exec", "-it", "shell", "sh"):
        screen.expect(PROMPT)
        screen.type("tty; exit 5\r")
        screen.expect("/dev/pts/")
        assert screen.wait() == 5


def test_following_a_log(typed, screens):
    typed.ours("run", "-d", "--name", "box", "alpine", "sh", "-c", "echo one; sleep 2; echo two")
    for screen in screens("logs", "-f", "box"):
        screen.expect("one")
        screen.expect("two")
        assert screen.wait() == 0
    assert typed.same("logs", "-f", "box") == ["one", "two"]
