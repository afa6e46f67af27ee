import os

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cgagent.errors import InvalidInputError
from cgagent.runtime.identity import Identity, look_up

USERS = """root:x:0:0:root:/root:/bin/sh
broken line
half:x:notanumber:5:::
app:x:1000:1001:App:/srv/app:/bin/false
nohome:x:1002:1002:::
"""
GROUPS = """root:x:0:
app:x:1001:
extra:x:2000:app,other
more:x:2001:other,app
short
"""


@pytest.fixture
def lookup(tmp_path):
    (tmp_path / "passwd").write_text(USERS)
    (tmp_path / "group").write_text(GROUPS)
    return lambda spec: look_up(spec, str(tmp_path / "passwd"), str(tmp_path / "group"))


@pytest.mark.parametrize(
    ("spec", "expected"),
    [
        ("", Identity(0, 0, (), "/root")),
        ("root", Identity(0, 0, (), "/root")),
        ("app", Identity(1000, 1001, (2000, 2001), "/srv/app")),
        ("1000", Identity(1000, 1001, (2000, 2001), "/srv/app")),
        ("app:root", Identity(1000, 0, (), "/srv/app")),
        ("app:7", Identity(1000, 7, (), "/srv/app")),
        ("4242", Identity(4242, 0, (), "/")),
        ("4242:extra", Identity(4242, 2000, (), "/")),
        ("nohome", Identity(1002, 1002, (), "/")),
        (":extra", Identity(0, 2000, (), "/root")),
    ],
)
def test_who(lookup, spec, expected):
    assert lookup(spec) == expected


@pytest.mark.parametrize(
    ("spec", "complaint"),
    [
        ("nosuch", "user 'nosuch' is not in the container's /etc/passwd; use a uid"),
        ("half", "user 'half'"),
        ("root:nosuch", "group 'nosuch'"),
        (str(2**32 - 1), "is larger than"),
        (f"0:{2**40}", "is larger than"),
    ],
)
def test_nobody(lookup, spec, complaint):
    with pytest.raises(InvalidInputError, match=complaint):
        lookup(spec)


def test_without_files_only_numbers_are_known(tmp_path):
    missing = str(tmp_path / "none")
    assert look_up("5:6", missing, missing) == Identity(5, 6, (), "/")
    with pytest.raises(InvalidInputError):
        look_up("root", missing, missing)


@given(passwd=st.text(max_size=200), spec=st.text(max_size=10))
def test_an_image_may_hold_anything(tmp_path_factory, passwd, spec):
    path = tmp_path_factory.mktemp("etc") / "passwd"
    path.write_text(passwd, errors="replace")
    try:
        found = look_up(spec, str(path), str(path))
    except InvalidInputError:
        return
    assert 0 <= found.uid < 2**32 - 1


def test_a_fifo_for_the_users_file_does_not_make_the_start_wait(tmp_path):
    os.mkfifo(tmp_path / "passwd")
    assert look_up("0", str(tmp_path / "passwd"), str(tmp_path / "group")) == Identity(0, 0)
