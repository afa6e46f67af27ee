"""Modes as COPY --chmod has them, beside chmod(1)."""

import os
import stat
import subprocess

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cgagent.images.build import modes

_CLAUSE = st.from_regex(r"[ugoa]{0,3}([-+=]([rwxXst]{0,4}|[ugo])){1,2}", fullmatch=True)


def by_chmod(tmp_path, text, mode, *, is_directory):
    path = tmp_path / "it"
    path.mkdir() if is_directory else path.touch()
    path.chmod(mode)
    subprocess.run(["chmod", text, path], check=True, umask=0o022)
    found = stat.S_IMODE(os.lstat(path).st_mode)
    path.rmdir() if is_directory else path.unlink()
    return found


@pytest.mark.parametrize("is_directory", [False, True])
@pytest.mark.parametrize("before", [0o644, 0o710])
@pytest.mark.parametrize(
    "text",
    [
        *("u+x", "go-w", "a=r", "u=rwX,go=rX", "+x", "+w", "=r", "g=u", "o=g,g-r", "ug+s", "+t"),
        *("a-rwx", "u=rw,g=r,o=", "u=rwx,u-w", "go=u-w", "ug=rw+X", "o+t", "u-r+x"),
    ],
)
def test_as_chmod(tmp_path, text, before, is_directory):
    kind = stat.S_IFDIR if is_directory else stat.S_IFREG
    found = modes.change(text)(kind | before)
    assert oct(found) == oct(by_chmod(tmp_path, text, before, is_directory=is_directory))


@given(st.lists(_CLAUSE, min_size=1, max_size=3), st.integers(0, 0o7777))
def test_whatever_is_asked_permissions_come_of_it(clauses, before):
    found = modes.change(",".join(clauses))(stat.S_IFREG | before)
    assert 0 <= found <= 0o7777
    assert modes.change(found)(0) == found


@pytest.mark.parametrize("text", ["", "x", "u", "u+z", "u+x,", "u+x go-w", "755x", "++8", "u=ug"])
def test_what_is_none(text):
    with pytest.raises(ValueError, match="neither octal digits"):
        modes.change(text)


def test_numbers():
    assert modes.octal("0755") == 0o755
    with pytest.raises(ValueError, match="octal digits"):
        modes.octal("789")
