"""Containers with a terminal, through a terminal: what no person at a keyboard does without."""

import pytest

from tests.world.screen import CTRL_C, PROMPT

pytestmark = pytest.mark.system


@pytest.mark.native
def test_a_session_with_its_exit_code(agent, screen):
    s = screen("run", "-it", "--rm", "alpine", "sh")
    s.expect(PROMPT)
    s.type("tty; test -t 0 && test -t 1 && test -t 2 && echo all $((40+2))\n")
    s.expect(r"/dev/pts/0\r\n")
    s.expect(r"all 42\r\n")
    s.type("exit 7\n")
    assert s.wait() == 7
    assert s.restored


@pytest.mark.native
def test_the_size_is_right_from_the_start_and_follows(screen):
    s = screen(
        "run",
        "-it",
        "--rm",
        "alpine",
        "sh",
        "-c",
        "trap 'stty size' WINCH; stty size; echo ready; while :; do sleep 0.1; done",
        size=(33, 101),
    )
    s.expect(r"33 101\r\nready\r\n")
    s.resize(44, 122)
    s.expect(r"44 122\r\n")
    s.type(CTRL_C)
    assert s.wait() == 130


@pytest.mark.native
def test_exec_has_its_own_terminal_size_and_exit_code(screen, shell):
    s = screen("exec", "-it", shell, "sh", size=(30, 90))
    s.expect(PROMPT)
    s.type("stty size; tty; echo $TERM\n")
    s.expect(r"30 90\r\n/dev/pts/1\r\nxterm\r\n")
    s.resize(31, 91)
    s.type("sleep 0.3; stty size\n")
    s.expect(r"31 91\r\n")
    s.type("exit 9\n")
    assert s.wait() == 9
    assert s.restored


@pytest.mark.native
def test_all_output_arrives_however_quickly_the_command_ends(agent, screen):
    s = screen("run", "-it", "--rm", "alpine", "sh", "-c", "seq 1 20000 | tr '\\n' ' '; echo END")
    s.expect(r" 19999 20000 END\r\n")
    assert s.wait() == 0


@pytest.mark.native
def test_the_terminal_is_the_users(agent, screen):
    s = screen(
        "run",
        "-it",
        "--rm",
        "-u",
        "nobody",
        "alpine",
        "sh",
        "-c",
        "stat -c '%U %G %a' $(tty); echo x >/dev/tty; cat /dev/null >/dev/stdout; "
        "ls -l /dev/console | cut -c1",
    )
    s.expect(r"nobody (tty|5|adm) 620\r\nx\r\nc\r\n")
    assert s.wait() == 0
