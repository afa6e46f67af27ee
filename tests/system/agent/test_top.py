"""The live screen, in a terminal."""

import shlex

import pytest

from tests.world.agent import eventually
from tests.world.tmux import Tmux

pytestmark = [pytest.mark.system, pytest.mark.native]


@pytest.fixture
def terminal():
    with Tmux() as made:
        yield made


def names(screen, *wanted):
    """The wanted names in the order in which they are on the screen."""
    found = [line.split()[0] for line in screen.splitlines() if line.strip()]
    return [name for name in found if name in wanted]


def test_sort_filter_freeze_limits_resize_quit(agent, container, terminal):
    container("sh", "-c", "while :; do :; done", name="busy", limits={"cpus": 0.2})
    container("sleep", "1000", name="idle")
    container("sh", "-c", "head -c 30000000 /dev/zero | { sleep 1000; cat; }", name="aside")
    terminal.type(shlex.join(agent.cli_command("top")), "Enter")
    terminal.wait_for("busy")
    eventually(lambda: names(terminal.screen(), "busy", "idle")[:1] == ["busy"])
    assert "CPU%*" in terminal.screen()

    terminal.type("<")
    terminal.wait_for("NAME*")
    by_name = ["aside", "busy", "idle"]
    eventually(lambda: names(terminal.screen(), "aside", "busy", "idle") == by_name)
    terminal.type("r")
    eventually(lambda: names(terminal.screen(), "aside", "busy", "idle")[0] == "idle")
    terminal.type("t")
    terminal.wait_for("by tree")
    terminal.type("t", "/", "bus", "Enter")
    eventually(lambda: names(terminal.screen(), "aside", "busy", "idle") == ["busy"])

    terminal.type("f")
    terminal.wait_for("busy (frozen)")
    assert agent.state("busy")["status"] == "frozen"
    terminal.type("f")
    eventually(lambda: agent.state("busy")["status"] == "running")
    terminal.type("l")
    terminal.wait_for("limits of busy")
    terminal.type("--memory 64m", "Enter")
    terminal.wait_for("limits of busy set")
    assert agent.detail("busy")["limits"]["memory_max_bytes"] == 64 << 20
    terminal.wait_for("64MiB")
    terminal.type("l", "--memory nonsense", "Enter")
    terminal.wait_for("is not a size")

    terminal.resize(100, 10)
    eventually(lambda: len(terminal.screen().splitlines()) == 10)
    terminal.wait_for("q quit")
    terminal.type("q")
    terminal.wait_for("ready>")
    terminal.type("stty -a | grep -c ' echo '", "Enter")
    terminal.wait_for("1\nready>")


def test_ctrl_c_gives_the_terminal_back(agent, container, terminal):
    container("sleep", "1000", name="idle")
    terminal.type(shlex.join(agent.cli_command("top")), "Enter")
    terminal.wait_for("q quit")
    terminal.type("C-c")
    terminal.wait_for("ready>")
    terminal.type("echo typed", "Enter")
    terminal.wait_for("typed\nready>")


def test_without_a_terminal(agent):
    refused = agent.cli("top")
    assert refused.returncode == 1
    assert "needs a terminal; use cgagent stats --no-stream" in refused.stderr
