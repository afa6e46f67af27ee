"""Patterns of a .dockerignore and of COPY."""

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cgagent.errors import InvalidInputError
from cgagent.pathpatterns import Ignore, glob

RULES = """\
# a comment
*.md
!README.md
**/node_modules
build/
/tmp
a/**/z
docs/*
!docs/keep
.git*
x?[0-9]
\\!odd
"""


@pytest.mark.parametrize(
    ("path", "is_hidden"),
    [
        ("x.md", True),
        ("README.md", False),
        ("d/x.md", False),
        ("node_modules", True),
        ("a/b/node_modules/deep/er", True),
        ("build/x", True),
        ("tmp", True),
        ("sub/tmp", False),
        ("a/z", True),
        ("a/b/c/z", True),
        ("docs/gone", True),
        ("docs/keep", False),
        ("docs/keep/inside", False),
        ("docs", False),
        (".gitignore", True),
        ("xa1", True),
        ("xab", False),
        ("!odd", True),
    ],
)
def test_what_is_left_out(path, is_hidden):
    assert Ignore.parse(RULES).hides(path) is is_hidden


def test_everything_but_one_file():
    ignore = Ignore.parse("*\n!src/main.py\n")
    assert not ignore.hides("src/main.py")
    assert ignore.hides("src/other.py")
    assert ignore.hides("src")


@pytest.mark.parametrize("text", ["a[", "!"])
def test_what_is_refused(text):
    with pytest.raises(InvalidInputError, match="line 1"):
        Ignore.parse(text)


@pytest.mark.parametrize(
    ("pattern", "path", "fits"),
    [
        ("*.py", "a.py", True),
        ("*.py", "d/a.py", False),
        ("a?c", "abc", True),
        ("a?c", "a/c", False),
        ("[a-c]x", "bx", True),
        ("[^a-c]x", "bx", False),
        ("[[]x", "[x", True),
        ("\\*", "*", True),
        ("\\*", "a", False),
    ],
)
def test_globs(pattern, path, fits):
    assert bool(glob(pattern).fullmatch(path)) is fits


@given(st.text(alphabet="ab*?/![]\\.", max_size=12), st.text(alphabet="ab/.", max_size=8))
def test_any_pattern_fits_or_does_not_or_is_refused(pattern, path):
    try:
        Ignore.parse(pattern).hides(path)
        glob(pattern).fullmatch(path)
    except InvalidInputError:
        return


def test_no_pattern_takes_long():
    assert not glob("*a" * 20 + "*b").fullmatch("a" * 250)
    assert glob("*a" * 20 + "*b").fullmatch("a" * 250 + "b")
    assert not Ignore.parse("**/a*a*/" * 20 + "b").hides("aa/" * 80 + "a")
    assert Ignore.parse("**/a*a*/" * 20 + "b").hides("aa/" * 80 + "b")
    assert Ignore.parse("a**b").hides("axx/b")
    with pytest.raises(InvalidInputError, match="too many"):
        Ignore.parse("a*a*a**b")


@given(st.text("a*?/b", max_size=8), st.text("ab/", max_size=8))
def test_what_fits_once_is_not_tried_again(pattern, path):
    plain = re.escape(pattern).replace(r"\*", "[^/]*").replace(r"\?", "[^/]")
    assert bool(glob(pattern).fullmatch(path)) is bool(re.fullmatch(plain, path))


@given(
    st.lists(st.sampled_from(["**", "a", "b", "a*", "*b", "*"]), min_size=1, max_size=5),
    st.text("ab/", max_size=9),
)
def test_any_number_of_directories(parts, path):
    *above, last = parts
    plain = "".join(
        "(?:.*/)?" if part == "**" else part.replace("*", "[^/]*") + "/" for part in above
    )
    plain += ".*" if last == "**" else last.replace("*", "[^/]*")
    above = [path]
    while "/" in above[-1]:
        above.append(above[-1].rpartition("/")[0])
    wanted = any(re.fullmatch(plain, one) for one in above)
    assert Ignore.parse("/".join(parts)).hides(path) is wanted
