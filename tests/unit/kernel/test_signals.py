"""Names and numbers of signals, as they are found in images, on command lines and in requests."""

import re
import signal
from pathlib import Path

import pytest

import cgagent
from cgagent.errors import InvalidInputError
from cgagent.kernel import signals


@pytest.mark.parametrize(
    ("name", "number"),
    [
        ("TERM", signal.SIGTERM),
        ("SIGTERM", signal.SIGTERM),
        ("sigkill", signal.SIGKILL),
        ("SIGCLD", signal.SIGCHLD),
        ("15", 15),
        ("0015", 15),
        ("37", 37),
        ("64", 64),
        ("SIGRTMIN", 34),
        ("RTMIN+0", 34),
        ("SIGRTMIN+3", 37),
        ("RTMIN+3", 37),
        ("sigrtmin+30", 64),
        ("SIGRTMAX", 64),
        ("SIGRTMAX-1", 63),
        ("rtmax-30", 34),
    ],
)
def test_a_signal(name, number):
    assert signals.parse(name) == number


@pytest.mark.parametrize(
    "name",
    [
        *("", "0", "65", "-1", "SIGNOPE", "SIG", "9.0", "SIGSIGTERM", "²", "٣", " 9", "1" * 5000),
        *("RTMIN+31", "RTMAX-31", "RTMIN-1", "RTMAX+1", "RTMIN+", "RTMIN+-1", "RTMIN+ 1"),
        *("RTMIN+٣", "RTMIN+00003", "SIGRTMIN+x", "SIG15"),
    ],
)
def test_what_is_none(name):
    with pytest.raises(InvalidInputError, match="is not known"):
        signals.parse(name)


def test_there_is_no_other_parser():
    """Another one would know other names."""
    own = Path(signals.__file__)
    lookup = re.compile(r"signal\.Signals\b|getattr\(signal")
    for path in Path(cgagent.__file__).parent.rglob("*.py"):
        assert path == own or not lookup.search(path.read_text()), path
