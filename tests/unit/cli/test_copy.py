"""Where ``cp`` puts what, and what a stream out of a container may do here."""

import bz2
import gzip
import io
import lzma
import os
import stat
import tarfile

import pytest

from cgagent.cli import compressed
from cgagent.cli.copy import End, There, target
from cgagent.cli.placing import place
from cgagent.errors import ConflictError, InvalidInputError, NotFoundError

FILE, FOLDER = There("/s", is_directory=False), There("/s", is_directory=True)
OLD_FILE, OLD_FOLDER = There("/real/d", is_directory=False), There("/real/d", is_directory=True)


@pytest.mark.parametrize(
    ("text", "end"),
    [
        ("c:/x", End("c", "/x")),
        ("c:x:y", End("c", "x:y")),
        ("./c:x", End(None, "./c:x")),
        ("/c:x", End(None, "/c:x")),
        ("-", End(None, "-")),
        ("plain", End(None, "plain")),
    ],
)
def test_ends(text, end):
    assert End.parse(text) == end


@pytest.mark.parametrize("text", [":/x", "c:"])
def test_half_an_end(text):
    with pytest.raises(InvalidInputError):
        End.parse(text)


@pytest.mark.parametrize(
    ("source", "found", "destination", "there", "result"),
    [
        ("/a/s", FILE, "/new", None, ("/", "new")),
        ("/a/s", FILE, "new", None, (".", "new")),
        ("/a/s", FILE, "/l", OLD_FILE, ("/real", "d")),
        ("/a/s", FILE, "/l", OLD_FOLDER, ("/real/d", "s")),
        ("/a/s", FILE, "/l/", OLD_FOLDER, ("/real/d", "s")),
        ("/a/s", FOLDER, "/new/", None, ("/", "new")),
        ("/a/s", FOLDER, "/l", OLD_FOLDER, ("/real/d", "s")),
        ("/a/s/", FOLDER, "/l", OLD_FOLDER, ("/real/d", "s")),
        ("/a/s/.", FOLDER, "/l", OLD_FOLDER, ("/real/d", ".")),
        (".", FOLDER, "/l", OLD_FOLDER, ("/real/d", ".")),
        ("/a/s/.", FOLDER, "/new", None, ("/", "new")),
    ],
)
def test_targets(source, found, destination, there, result):
    assert target(End(None, source), found, End("c", destination), there) == result


@pytest.mark.parametrize(
    ("found", "destination", "there"),
    [(FILE, "/new/", None), (FOLDER, "/l", OLD_FILE), (FILE, "/l/", OLD_FILE)],
)
def test_what_does_not_go_together(found, destination, there):
    with pytest.raises(InvalidInputError):
        target(End(None, "/s"), found, End("c", destination), there)


def stream(*entries):
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as tar:
        for name, kind, more in entries:
            info = tarfile.TarInfo(name)
            info.type, info.mode = kind, 0o6755
            if kind == tarfile.REGTYPE:
                info.size = len(more)
                tar.addfile(info, io.BytesIO(more))
            else:
                info.linkname = more
                tar.addfile(info)
    data = buffer.getvalue()
    return (data[i : i + 700] for i in range(0, len(data), 700))


def test_a_tree_is_placed_without_set_id_bits(tmp_path):
    entries = (
        ("top", tarfile.DIRTYPE, ""),
        ("top/f", tarfile.REGTYPE, b"x" * 2000),
        ("top/same", tarfile.LNKTYPE, "top/f"),
        ("top/l", tarfile.SYMTYPE, "/etc/passwd"),
    )
    place(str(tmp_path), stream(*entries), keep_owner=False)
    status = (tmp_path / "top" / "f").stat()
    assert (status.st_size, status.st_nlink, stat.S_IMODE(status.st_mode)) == (2000, 2, 0o755)
    assert os.readlink(tmp_path / "top" / "l") == "/etc/passwd"


@pytest.mark.parametrize("kind", [tarfile.CHRTYPE, tarfile.BLKTYPE])
def test_a_device_is_for_nobody_else(tmp_path, kind):
    """Its numbers are the container's choice: the disk of this host, perhaps."""
    place(str(tmp_path), stream(("node", kind, "")), keep_owner=False)
    assert stat.S_IMODE((tmp_path / "node").stat().st_mode) == 0o600


@pytest.mark.parametrize(
    "entries",
    [
        [("../x", tarfile.REGTYPE, b"")],
        [("l", tarfile.SYMTYPE, "{outside}"), ("l/x", tarfile.REGTYPE, b"evil")],
        [("l", tarfile.SYMTYPE, ".."), ("l/outside/x", tarfile.REGTYPE, b"evil")],
        [("l", tarfile.SYMTYPE, "{outside}"), ("l/d", tarfile.DIRTYPE, "")],
        [("h", tarfile.LNKTYPE, "../outside/secret")],
        [("l", tarfile.SYMTYPE, "{outside}"), ("h", tarfile.LNKTYPE, "l/secret")],
    ],
)
def test_nothing_is_written_elsewhere(tmp_path, entries):
    outside, inside = tmp_path / "outside", tmp_path / "inside"
    outside.mkdir()
    inside.mkdir()
    (outside / "secret").write_text("secret")
    filled = [(n, k, m.format(outside=outside) if isinstance(m, str) else m) for n, k, m in entries]
    with pytest.raises(InvalidInputError):
        place(str(inside), stream(*filled), keep_owner=False)
    assert os.listdir(outside) == ["secret"]
    assert not (inside / "h").exists()


def test_a_file_over_a_link_replaces_the_link(tmp_path):
    (tmp_path / "victim").write_text("old")
    (tmp_path / "to").mkdir()
    (tmp_path / "to" / "f").symlink_to(tmp_path / "victim")
    place(str(tmp_path / "to"), stream(("f", tarfile.REGTYPE, b"new")), keep_owner=False)
    assert (tmp_path / "victim").read_text() == "old"
    assert (tmp_path / "to" / "f").read_text() == "new"


def test_a_directory_is_not_replaced_by_a_file(tmp_path):
    (tmp_path / "f").mkdir()
    with pytest.raises(ConflictError, match="a directory is there"):
        place(str(tmp_path), stream(("f", tarfile.REGTYPE, b"")), keep_owner=False)


def test_no_directory_to_place_into(tmp_path):
    with pytest.raises(NotFoundError, match="create it first"):
        place(str(tmp_path / "no"), stream(("f", tarfile.REGTYPE, b"")), keep_owner=False)


@pytest.mark.parametrize("compress", [bytes, gzip.compress, bz2.compress, lzma.compress])
def test_a_stream_on_standard_input_may_be_compressed(monkeypatch, compress):
    content = bytes(range(256)) * 100
    raw = io.BytesIO(compress(content) + (compress(b"more") if compress is not bytes else b"more"))
    monkeypatch.setattr("cgagent.standard.read", lambda _, size: raw.read(min(size, 1000)))
    assert b"".join(compressed.pieces()) == content + b"more"
    if compress is not bytes:
        raw = io.BytesIO(compress(content)[:-4])
        with pytest.raises(InvalidInputError, match="cut off"):
            list(compressed.pieces())


def test_what_ends_with_two_dots_has_the_name_of_what_it_is():
    there = There("/dst", is_directory=True)
    found = There("/etc/apk", is_directory=True)
    for path in ("..", "/etc/apk/keys/..", "../"):
        assert target(End("c", path), found, End(None, "/dst"), there) == ("/dst", "apk")
    root = There("/", is_directory=True)
    assert target(End("c", "/etc/.."), root, End(None, "/dst"), there) == ("/dst", ".")
