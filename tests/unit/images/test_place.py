"""Entries of a tar that are placed where something is already."""

import io
import os
import tarfile

import pytest

from cgagent.images.unpack.place import Placer
from cgagent.images.unpack.tarstream import BadTarError, TarStream


def place(folder, *entries):
    """Entries are a name, and a link's target, a file's content or None for a directory."""
    raw = io.BytesIO()
    with tarfile.open(fileobj=raw, mode="w", format=tarfile.PAX_FORMAT) as tar:
        for name, what in entries:
            info = tarfile.TarInfo(name)
            if what is None:
                info.type = tarfile.DIRTYPE
            elif what.startswith("->"):
                info.type, info.linkname = tarfile.SYMTYPE, what.removeprefix("->")
            else:
                info.size = len(what)
            tar.addfile(info, io.BytesIO((what or "").encode()))
    raw.seek(0)
    owner = (os.getuid(), os.getgid())
    proc_fd = os.open("/proc/self/fd", os.O_PATH)
    try:
        where = os.fsencode(folder)
        Placer(where, proc_fd, keep_owner=False, replace=True, owner=owner).run(TarStream(raw))
    finally:
        os.close(proc_fd)


def test_directories_that_are_missing_are_made(tmp_path):
    place(tmp_path, ("a/b/c", "text"), ("link", "->a"), ("link/d", "more"))
    assert (tmp_path / "a/b/c").read_text() == "text"
    assert (tmp_path / "a/d").read_text() == "more"


@pytest.mark.parametrize(
    ("entries", "message"),
    [
        ([("link", "->none"), ("link/x", "")], "entry 'link/x': .*link', above it, is no dir"),
        ([("link", "->link"), ("link/x", "")], "entry 'link/x'"),
        ([("file", "text"), ("file/x/y", "")], "entry 'file/x/y'"),
        ([("n" * 256, "text")], "File name too long"),
        ([(f"{'n' * 256}/x", "text")], "File name too long"),
    ],
)
def test_an_entry_that_cannot_be_is_named(tmp_path, entries, message):
    with pytest.raises(BadTarError, match=message):
        place(tmp_path, *entries)
