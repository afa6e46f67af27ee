"""Links in a root that somebody hostile filled lead nowhere outside it."""

import os
from pathlib import Path

import pytest

from cgagent.kernel import beneath


@pytest.fixture
def root(tmp_path):
    (tmp_path / "root" / "inside").mkdir(parents=True)
    (tmp_path / "outside").mkdir()
    (tmp_path / "outside" / "secret").write_text("outside")
    fd = os.open(tmp_path / "root", os.O_PATH | os.O_DIRECTORY)
    yield fd
    os.close(fd)


def place(fd):
    """Where a descriptor leads."""
    try:
        return Path(os.readlink(f"/proc/self/fd/{fd}"))
    finally:
        os.close(fd)


@pytest.mark.parametrize(
    "target",
    ["/inside", "inside", "../inside", "../../../../inside", "/../inside", "/proc/../inside/."],
)
def test_links_are_followed_as_the_container_would(root, tmp_path, target):
    (tmp_path / "root" / "link").symlink_to(target)
    (tmp_path / "root" / "proc").mkdir()
    expected = tmp_path / "root" / "inside"
    assert place(beneath.open_in_root(root, "/link", os.O_PATH)) == expected
    assert place(beneath.ensure_directory(root, "/link")) == expected
    assert place(beneath.ensure_directory(root, "/link/new/deep")) == expected / "new" / "deep"


def test_what_is_outside_cannot_be_named(root, tmp_path):
    outside = tmp_path / "outside"
    (tmp_path / "root" / "absolute").symlink_to(outside)
    (tmp_path / "root" / "relative").symlink_to("../outside")
    (tmp_path / "root" / "file").symlink_to(outside / "secret")
    for path in ("/absolute/secret", "/relative/secret", "/file", "/../outside/secret"):
        with pytest.raises(FileNotFoundError):
            beneath.open_in_root(root, path, os.O_PATH)


def test_a_dangling_link_is_not_made_into_what_it_points_to(root, tmp_path):
    (tmp_path / "root" / "link").symlink_to(tmp_path / "outside" / "made")
    with pytest.raises(NotADirectoryError):
        beneath.ensure_directory(root, "/link")
    with pytest.raises(FileNotFoundError):
        beneath.ensure_file(root, "/link")
    assert os.listdir(tmp_path / "outside") == ["secret"]
    assert (
        os.listdir(tmp_path / "root") == ["inside", "link"]
        or len(os.listdir(tmp_path / "root")) == 2
    )


def test_directories_and_files_are_made_with_their_parents(root, tmp_path):
    os.close(beneath.ensure_directory(root, "/a/b/c", 0o700))
    os.close(beneath.ensure_file(root, "/d/e/file"))
    os.close(beneath.ensure_file(root, "/d/e/file"))  # there already
    assert (tmp_path / "root" / "a" / "b" / "c").is_dir()
    assert (tmp_path / "root" / "d" / "e" / "file").read_bytes() == b""
    assert (tmp_path / "root" / "a").stat().st_mode & 0o777 == 0o700 & ~_umask()


def _umask():
    mask = os.umask(0)
    os.umask(mask)
    return mask


def test_something_else_in_the_way(root, tmp_path):
    (tmp_path / "root" / "plain").write_text("x")
    with pytest.raises(NotADirectoryError):
        beneath.ensure_directory(root, "/plain")
    with pytest.raises(NotADirectoryError):
        beneath.ensure_directory(root, "/plain/below")
    with pytest.raises(IsADirectoryError):
        beneath.ensure_file(root, "/inside")


def test_magic_links_of_proc_are_not_followed():
    fd = os.open("/", os.O_PATH | os.O_DIRECTORY)
    try:
        with pytest.raises(OSError, match="symbolic link"):
            beneath.open_in_root(fd, "/proc/self/cwd", os.O_PATH | os.O_DIRECTORY)
    finally:
        os.close(fd)


def test_the_root_itself(root, tmp_path):
    assert place(beneath.ensure_directory(root, "/")) == tmp_path / "root"


def test_descriptors_are_close_on_exec(root):
    fd = beneath.open_in_root(root, "/inside", os.O_PATH)
    assert not os.get_inheritable(fd)
    os.close(fd)
