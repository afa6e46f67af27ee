"""A container nests directories deeper than a path in a system call may be long."""

from __future__ import annotations

import io
import os
import tarfile

import pytest

from cgagent.images.unpack.trees import remove_tree

pytestmark = [pytest.mark.system, pytest.mark.native]

_LEVELS = 2500
_NEST = f"""
cd /srv
i=0
while [ $i -lt {_LEVELS} ]; do mkdir d; cd -P d; i=$((i+1)); done
echo found > end
"""
_DEEPEST = "d/" * _LEVELS + "end"


@pytest.fixture(scope="module")
def deep(agent):
    one = agent.launch("sh", "-c", _NEST)
    assert agent.wait(one) == 0
    yield one
    agent.remove(one)
    assert one not in os.listdir(agent.data_root / "containers-rw")


def test_diff(agent, deep):
    shown = agent.cli("diff", deep, timeout=200).stdout.splitlines()
    assert f"A /srv/{_DEEPEST}" in shown
    assert sum(line.startswith("A /srv/d") for line in shown) == _LEVELS + 1


def test_export(agent, deep, tmp_path):
    assert agent.cli("export", "-o", str(tmp_path / "e"), deep, timeout=200).returncode == 0
    with tarfile.open(tmp_path / "e") as tar:
        found = tar.extractfile(f"srv/{_DEEPEST}")
        assert found is not None
        assert found.read() == b"found\n"


def test_cp(agent, deep, tmp_path):
    done = agent.cli("cp", f"{deep}:/srv/d", str(tmp_path / "out"), timeout=200)
    assert done.returncode == 0, done.stderr
    here = os.open(tmp_path / "out", os.O_RDONLY)
    for _ in range(_LEVELS - 1):
        inner = os.open("d", os.O_RDONLY | os.O_DIRECTORY, dir_fd=here)
        os.close(here)
        here = inner
    with open(os.open("end", os.O_RDONLY, dir_fd=here)) as file:
        assert file.read() == "found\n"
    os.close(here)
    remove_tree(os.fsencode(tmp_path / "out"))  # pytest's own way recurses


def test_size(agent, deep):
    assert agent.cli("ps", "-a", "-s", "--filter", f"id={deep}", timeout=200).returncode == 0


def test_commit(agent, deep):
    before = agent.cli("images", "-a", "-q").stdout
    done = agent.cli("commit", deep, "deep:1", timeout=200)
    assert done.returncode == 1
    assert "/srv/d/d/d/d" in done.stderr
    assert "longer than 4095 bytes" in done.stderr
    assert len(done.stderr) < 400
    assert agent.cli("images", "-a", "-q").stdout == before


def test_what_is_copied_in_is_not_cut_off(agent, deep):
    """A path that a call cannot take is told of."""
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as tar:
        tar.addfile(tarfile.TarInfo(f"srv/{_DEEPEST}"))
    done = agent.cli("cp", "-", f"{deep}:/", input=buffer.getvalue().decode("latin-1"))
    assert done.returncode == 1
    assert "longer than 4095 bytes" in done.stderr
    assert len(done.stderr) < 400
