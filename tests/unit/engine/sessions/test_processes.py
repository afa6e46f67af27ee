import os

import pytest

from cgagent.engine.sessions import processes
from cgagent.errors import InvalidInputError


def test_dockers_columns():
    shown = processes.table([os.getpid()])
    assert shown.titles == ("UID", "PID", "PPID", "C", "STIME", "TTY", "TIME", "CMD")
    (row,) = shown.rows
    assert row[1:3] == (str(os.getpid()), str(os.getppid()))
    assert "pytest" in row[-1]


def test_columns_of_ones_own():
    shown = processes.table([os.getpid()], ["-eo", "pid,comm,%mem"])
    assert shown.titles == ("PID", "COMMAND", "%MEM")
    assert processes.table([os.getpid()], ["-opid"]).rows == ((str(os.getpid()),),)
    assert processes.table([os.getpid()], ["aux"]).titles[:3] == ("USER", "PID", "%CPU")


def test_one_that_has_ended_is_left_out():
    pid = os.fork()
    if not pid:
        os._exit(0)
    os.waitpid(pid, 0)
    assert processes.table([pid]).rows == ()


@pytest.mark.parametrize("options", [["--evil"], ["-o", "pid,nonsense"], ["-o"]])
def test_what_is_not_known(options):
    with pytest.raises(InvalidInputError, match=r"ps (option|column)"):
        processes.table([], options)
