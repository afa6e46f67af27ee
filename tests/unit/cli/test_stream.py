"""What the status at the end of a session says."""

import pytest

from cgagent.cli.stream import exit_code
from cgagent.errors import CommandNotFoundError, InternalError


def test_an_exit_code():
    assert exit_code({"exit_code": 3}) == 3


def test_an_error():
    with pytest.raises(CommandNotFoundError, match="not there"):
        exit_code({"error": {"kind": "command_not_found", "message": "not there"}})


@pytest.mark.parametrize("status", [{}, {"detached": True}])
def test_neither_is_an_error_and_no_silent_125(status):
    with pytest.raises(InternalError, match="without an exit code"):
        exit_code(status)
