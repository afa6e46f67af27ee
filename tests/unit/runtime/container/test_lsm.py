"""Where labels are written (CVE-2025-52881), on a host that need not have a module for them."""

import os

import pytest

from cgagent.runtime.container import lsm

APPARMOR = {"apparmorProfile": "box"}


@pytest.fixture
def proc(tmp_path, monkeypatch):
    """What a /proc has of a process, and its descriptor."""
    monkeypatch.setattr(lsm, "has_apparmor", lambda: True)
    (tmp_path / "self").symlink_to("42")
    (tmp_path / "42" / "attr" / "apparmor").mkdir(parents=True)
    fd = os.open(tmp_path, os.O_PATH)
    yield tmp_path / "42" / "attr", fd
    os.close(fd)


def test_a_label_is_written_to_what_was_opened_and_not_to_what_is_there_later(proc):
    folder, fd = proc
    file = folder / "apparmor" / "exec"
    file.touch()
    label = lsm.open_label(APPARMOR, fd)
    file.rename(folder / "opened")
    file.write_text("the container's")
    label.write()
    assert (folder / "opened").read_text() == "exec box"
    assert file.read_text() == "the container's"


def test_no_link_is_followed_on_the_way(proc):
    folder, fd = proc
    (folder / "else").touch()
    (folder / "apparmor" / "exec").symlink_to("../else")
    with pytest.raises(OSError, match="symbolic links"):
        lsm.open_label(APPARMOR, fd)


def test_an_older_kernel_has_one_file_for_all_modules(proc):
    folder, fd = proc
    (folder / "exec").touch()
    label = lsm.open_label(APPARMOR, fd)
    label.write()
    assert (folder / "exec").read_text() == "exec box"
