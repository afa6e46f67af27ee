"""Sessions at a container's terminal: how they begin and end, and who takes part in them."""

import contextlib
import os
import signal
import subprocess
import urllib.request

import pytest

from cgagent.errors import ConflictError
from cgagent.runtime.protocol import STDOUT
from tests.world.agent import eventually, frames
from tests.world.screen import CTRL_C, CTRL_D, CTRL_P, CTRL_Q, CTRL_Z, DETACH, PROMPT

pytestmark = [pytest.mark.system, pytest.mark.native]


def test_input_is_echoed_once(screen):
    s = screen("run", "-it", "--rm", "alpine", "sh", "-c", "stty -echo; echo ready; cat")
    s.expect("ready\r\n")
    s.type("quiet\n")
    s.expect("quiet\r\n")
    assert "quiet" not in s.rest()
    s.type(CTRL_D)
    assert s.wait() == 0


def test_keys_interrupt_stop_and_end(screen):
    s = screen("run", "-it", "--rm", "alpine", "sh")
    s.expect(PROMPT)
    # what prints is the job itself: the terminal is its own by then
    s.type("sh -c 'echo now $((6*7)); exec cat'\n")
    s.expect("now 42\r\n")
    s.type(CTRL_C)
    s.expect(PROMPT)
    s.type("sh -c 'echo now $((6*8)); exec sleep 1000'\n")
    s.expect("now 48\r\n")
    s.type(CTRL_Z)
    s.expect("Stopped")
    s.expect(PROMPT)
    s.type("exit 4\n")
    s.expect("stopped jobs")  # and once more, with emphasis
    s.type("exit 4\n")
    assert s.wait() == 4
    assert s.restored


def test_an_editor_in_run_in_exec_and_in_attach(agent, screen):
    ways = (
        ("run", "-it", "--name", "edited", "alpine", "sh"),
        ("exec", "-it", "edited", "sh"),
        ("attach", "edited"),
    )
    try:
        for number, way in enumerate(ways):
            s = screen(*way)
            s.type("\n")
            s.expect(PROMPT)
            s.type(f"vi /file{number}\n")
            s.expect(r"- /file")
            s.type("i")
            s.expect(r"I /file")
            s.type("hello from vi\x1b")
            s.expect(r"- /file")
            s.type(":wq\n")
            s.expect(PROMPT)
            s.type(f"cat /file{number}\n")
            s.expect(r"\nhello from vi\r\n")
            s.type(DETACH)
            s.wait()
            assert s.restored
        files = [f"/file{number}" for number in range(len(ways))]
        assert agent.exec("edited", "cat", *files).stdout == "hello from vi\n" * len(ways)
    finally:
        agent.remove("edited")


def test_detach_and_attach_show_the_same_session(agent, screen):
    s = screen("run", "-it", "--name", "kept", "alpine", "sh")
    try:
        s.expect(PROMPT)
        s.type("here=42\n")
        s.expect(PROMPT)
        s.type(DETACH)
        s.expect("read escape sequence")
        assert s.wait() == 0
        assert s.restored
        assert agent.state("kept")["status"] == "running"
        again = screen("attach", "--detach-keys", "ctrl-x,x", "kept")
        again.type("echo $here\n")
        again.expect(r"\n42\r\n")
        again.type(CTRL_P + CTRL_Q)  # no longer special
        again.type(b"\x18x")
        again.expect("read escape sequence")
        assert again.wait() == 0
        assert agent.state("kept")["status"] == "running"
    finally:
        agent.remove("kept")


def test_two_clients_see_the_same_and_both_type(screen, shell):
    one, two = screen("attach", shell), screen("attach", shell)
    for s in (one, two):
        s.type("echo ready$((40+2))\n")
        s.expect(r"ready42\r\n")
    one.type("echo first$((1))\n")
    one.expect(r"\nfirst1\r\n")
    two.expect(r"\nfirst1\r\n")
    two.type("echo second$((2))\n")
    one.expect(r"\nsecond2\r\n")
    two.expect(r"\nsecond2\r\n")
    one.type("exit 5\n")
    assert (one.wait(), two.wait()) == (5, 5)


def test_a_command_in_exec_goes_on_when_detached_from(agent, screen, shell):
    s = screen("exec", "-it", shell, "sh", "-c", "echo go; sleep 1; touch /done; sleep 1000")
    s.expect("go\r\n")
    s.type(DETACH)
    assert s.wait() == 0
    eventually(lambda: agent.exec(shell, "ls", "/done").exit_code == 0)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP, signal.SIGINT])
def test_a_signal_to_the_client_ends_it_and_nothing_else(agent, screen, shell, number):
    s = screen("attach", shell)
    s.type("echo $((6*7))\n")
    s.expect("42\r\n")
    assert not s.restored
    s.process.send_signal(number)
    assert s.wait() == 128 + number
    assert s.restored
    assert agent.state(shell)["status"] == "running"


def test_an_error_leaves_the_terminal_as_it_was(screen):
    s = screen("run", "-it", "--rm", "alpine", "no-such-command")
    assert s.wait() == 127
    assert "executable file not found" in s.rest()
    assert s.restored


def test_the_session_goes_on_without_the_agent(own_agent, screen):
    s = screen("run", "-it", "alpine", "sh", of=own_agent)
    s.expect(PROMPT)
    own_agent.kill9()
    s.type("echo $((6*7))\n")
    s.expect("42\r\n")
    s.resize(50, 100)  # nobody to tell it to
    s.type("exit 3\n")
    assert s.wait() == 3
    assert s.restored


def test_a_terminal_without_input(agent, screen):
    s = screen("run", "-t", "--rm", "alpine", "sh", "-c", "stty size; test -t 0; exit 4")
    s.expect(r"24 80\r")
    assert s.wait() == 4


def test_detached_with_a_terminal_and_its_log(agent, container):
    done = agent.cli("run", "-d", "-t", "--name", "tty", "alpine", "sh", "-c", "tty; echo e >&2")
    try:
        assert done.returncode == 0
        assert agent.wait("tty") == 0
        assert agent.log_text("tty") == "/dev/pts/0\r\ne\r\n"
        assert {entry["stream"] for entry in agent.logs("tty")} == {"stdout"}
    finally:
        agent.remove("tty")


def test_input_that_is_no_terminal_is_refused(agent, nothing_made):
    done = agent.cli("run", "-it", "--rm", "alpine", "true")
    assert done.returncode == 125
    assert done.stderr == (
        "cgagent: the input is not a terminal; leave --tty out, or --interactive with it\n"
    )


def test_resize_of_what_has_no_terminal(agent, container):
    one = container("sleep", "1000")
    done = subprocess.run(
        [
            "curl",
            "-s",
            "--unix-socket",
            str(agent.socket),
            "-X",
            "POST",
            f"http://x/v1/containers/{one}/resize?h=1&w=1",
        ],
        capture_output=True,
        text=True,
        check=True,
    )
    assert "has no terminal" in done.stdout


def test_no_descriptor_more_than_the_terminal(agent, shell):
    folder = f"/proc/{agent.state(shell)['pid']}/fd"

    def links():
        """None while one is closed that was listed."""
        with contextlib.suppress(FileNotFoundError):
            return {n: os.readlink(f"{folder}/{n}") for n in os.listdir(folder)}

    def has_only_the_terminal():  # as soon as the shell has read its startup files
        found = links() or {}
        return {"0", "1", "2"} <= set(found) and set(found.values()) <= {"/dev/pts/0", "/dev/tty"}

    eventually(has_only_the_terminal)


def waiting_client(agent, container):
    return agent.client.upgrade(f"/v1/containers/{container}/attach?stdin=false", None)


def test_a_client_attached_before_the_start_stays_when_what_it_waits_for_is_made_anew(
    agent, container
):
    other = container("sleep", "1000", ipc="shareable")
    one = container("echo", "here", start=False, ipc=f"container:{other}")
    connection = waiting_client(agent, one)
    agent.post(other, "restart?timeout_s=0")  # whose ipc namespace is another one now
    agent.post(one, "start")
    assert agent.stay(connection, b"").stdout == "here\n"


def test_a_client_attached_to_what_is_removed_before_its_start_is_told(agent):
    one = agent.create("true")
    connection = waiting_client(agent, one)
    agent.remove(one)
    with pytest.raises(ConflictError, match="was removed before it was started"):
        agent.stay(connection, b"")


def test_exec_into_a_directory_that_is_not_there_makes_none(agent, container):
    one = container("sleep", "1000")
    done = agent.cli("exec", "-w", "/typo", one, "pwd")
    assert (done.returncode, done.stdout) == (127, "")
    assert "working directory '/typo': no such file or directory" in done.stderr
    assert agent.exec(one, "ls", "-d", "/typo").exit_code == 1


def test_a_client_that_does_not_read_is_cut_off_and_told_of(agent, container):
    one = container("sh", "-c", "sleep 1; seq 1 1000000", start=False)
    unread, read = (waiting_client(agent, one) for _ in range(2))
    before = clients_cut_off(agent)
    agent.post(one, "start")
    output = b"".join(data for stream, data in frames(read) if stream == STDOUT)
    assert output.endswith(b"\n1000000\n")
    assert clients_cut_off(agent) == before + 1
    events = agent.client.lines("GET", "/v1/events")
    told = [e["id"] for e in events if e["action"] == "client_cut_off"]
    assert told == [one]
    for client in (unread, read):
        client.socket.close()


def clients_cut_off(agent):
    with urllib.request.urlopen(f"http://{agent.metrics}/metrics") as answer:
        lines = answer.read().decode().split("\n")
    (line,) = [line for line in lines if line.startswith("cgagent_attached_clients_cut_off_total")]
    return float(line.split()[1])
