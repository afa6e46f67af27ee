import os

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cgagent.errors import InvalidInputError
from cgagent.runtime.container.identity import Identity, look_up

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
        ("", Identity(0, 0, (0,), "/root")),
        ("root", Identity(0, 0, (0,), "/root")),
        ("app", Identity(1000, 1001, (1001, 2000, 2001), "/srv/app")),
        ("1000", Identity(1000, 1001, (1001, 2000, 2001), "/srv/app")),
        ("app:root", Identity(1000, 0, (0,), "/srv/app")),
        ("app:7", Identity(1000, 7, (7,), "/srv/app")),
        ("4242", Identity(4242, 0, (0,), "/")),
        ("4242:extra", Identity(4242, 2000, (2000,), "/")),
        ("nohome", Identity(1002, 1002, (1002,), "/")),
        (":extra", Identity(0, 2000, (2000,), "/root")),
    ],
)
def test_who(lookup, spec, expected):
    assert lookup(spec) == expected


WILD = """\

+::::::
# a comment: with: colons
short:x:1501:1601
shortest:x:1502
empty:x:1503::Nobody:/srv/empty:
 spaced : x : 1504 : 1604 : : /srv/spaced : /bin/sh
crlf:x:1505:1605:::\r
alone:x:1506:1606\r
1507:x:2507:2607:::
same:x:1507:1607:::
wrong:x:1508:x160:::
far:x:1509:99999999999:::
negative:x:-2:-2:::
separated:x:1510:1610:\x1c\x85\u2028\f:/srv/separated:
nouid:x::1511:::
"""
WILD_GROUPS = """\
one:x:2001: short , empty\r
 two : x : 2002 :spaced
three:x:2003\r
2001:x:2004:
nogid:x::short
"""


@pytest.mark.parametrize(
    ("spec", "expected"),
    [
        ("1501", Identity(1501, 1601, (1601, 2001), "/")),
        ("short", Identity(1501, 1601, (1601, 2001), "/")),
        ("1502", Identity(1502, 0, (0,), "/")),
        ("empty", Identity(1503, 0, (0, 2001), "/srv/empty")),
        ("1503", Identity(1503, 0, (0, 2001), "/srv/empty")),
        ("spaced", Identity(1504, 1604, (1604, 2002), "/srv/spaced")),
        ("1504", Identity(1504, 1604, (1604, 2002), "/srv/spaced")),
        ("crlf", Identity(1505, 1605, (1605,), "/")),
        ("alone", Identity(1506, 1606, (1606,), "/")),
        ("1507", Identity(2507, 2607, (2607,), "/")),
        ("same", Identity(1507, 1607, (1607,), "/")),
        ("wrong:two", Identity(1508, 2002, (2002,), "/")),
        ("1510", Identity(1510, 1610, (1610,), "/srv/separated")),
        ("0", Identity(0, 0, (0,), "/")),
        ("0:three", Identity(0, 2003, (2003,), "/")),
        ("0:2001", Identity(0, 2001, (2001,), "/")),
    ],
)
def test_lines_as_images_have_them(tmp_path, spec, expected):
    (tmp_path / "passwd").write_text(WILD, newline="")
    (tmp_path / "group").write_text(WILD_GROUPS, newline="")
    assert look_up(spec, str(tmp_path / "passwd"), str(tmp_path / "group")) == expected


@pytest.mark.parametrize(
    ("spec", "complaint"),
    [
        ("wrong", "user 'wrong': its group 'x160' in the container's /etc/passwd is no id"),
        ("1509", "its group '99999999999'"),
        ("negative", "user 'negative' is not in"),
        ("nouid", "user 'nouid' is not in"),
        ("0:nogid", "group 'nogid'"),
    ],
)
def test_lines_that_say_nothing_usable(tmp_path, spec, complaint):
    (tmp_path / "passwd").write_text(WILD, newline="")
    (tmp_path / "group").write_text(WILD_GROUPS, newline="")
    with pytest.raises(InvalidInputError, match=complaint):
        look_up(spec, str(tmp_path / "passwd"), str(tmp_path / "group"))


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
    assert look_up("5:6", missing, missing) == Identity(5, 6, (6,), "/")
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
    assert look_up("0", str(tmp_path / "passwd"), str(tmp_path / "group")) == Identity(0, 0, (0,))
