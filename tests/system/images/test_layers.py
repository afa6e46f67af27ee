"""Layers as they come, most of them meant to do harm."""

from __future__ import annotations

import gzip
import os
import stat
import struct
import subprocess
import tarfile
from contextlib import ExitStack

import pytest

from cgagent.errors import InternalError, InvalidInputError, NoSpaceError
from cgagent.images.unpack import apply
from cgagent.images.unpack.tarstream import BadTarError, TarStream
from tests.world import disks

pytestmark = [pytest.mark.system, pytest.mark.native]


@pytest.fixture
def unpack(load, store, make):
    """The directory that a layer of these entries becomes, on top of `below`."""

    def unpacked(*entries, below=()):
        (image,) = load(make.docker_archive(*below, make.layer(*entries)))
        return store.diff(image)

    return unpacked


@pytest.fixture
def refused(load, store, make):
    """The message that a layer of these entries is refused with; nothing of it stays."""

    def message(*entries, raw=None):
        with pytest.raises(InvalidInputError) as raised:
            load(make.docker_archive(raw or make.layer(*entries)))
        assert store.files() == set()
        assert store.images.list() == []
        return raised.value.message

    return message


def kind(make, name, type_, **fields):
    return make.entry(name, type=type_, **fields)


def test_owner_mode_time_and_set_id_bits_are_kept(unpack, make):
    diff = unpack(
        make.entry("d", type=tarfile.DIRTYPE, mode=0o1777, uid=5, gid=6, mtime=1000),
        make.entry("d/su", b"x", mode=0o4755, uid=7, gid=8, mtime=1234567890.5),
    )
    directory, program = (diff / "d").stat(), (diff / "d/su").stat()
    assert (directory.st_mode & 0o7777, directory.st_uid, directory.st_gid) == (0o1777, 5, 6)
    assert directory.st_mtime == 1000
    assert (program.st_mode & 0o7777, program.st_uid, program.st_gid) == (0o4755, 7, 8)
    assert program.st_mtime_ns == 1234567890_500000000


def test_a_file_of_root_in_the_directory_of_a_group_is_roots(unpack, make):
    """A set-group-ID directory gives its group to what is made in it."""
    diff = unpack(
        make.entry("d", type=tarfile.DIRTYPE, mode=0o2775, uid=5, gid=6),
        make.entry("d/file", b"x", uid=0, gid=0),
        make.entry("file", b"x", uid=0, gid=0),
    )
    assert (diff / "d").stat().st_gid == 6
    for name in ("d/file", "file"):
        assert ((diff / name).stat().st_uid, (diff / name).stat().st_gid) == (0, 0)


def test_links_devices_and_fifos_are_kept(unpack, make):
    diff = unpack(
        make.entry("a", b"content"),
        kind(make, "hard", tarfile.LNKTYPE, linkname="a"),
        kind(make, "soft", tarfile.SYMTYPE, linkname="/etc/shadow", mtime=5),
        kind(make, "null", tarfile.CHRTYPE, devmajor=1, devminor=3),
        kind(make, "disk", tarfile.BLKTYPE, devmajor=8, devminor=0),
        kind(make, "pipe", tarfile.FIFOTYPE),
    )
    assert (diff / "a").stat().st_ino == (diff / "hard").stat().st_ino
    assert os.readlink(diff / "soft") == "/etc/shadow"
    assert (diff / "soft").lstat().st_mtime == 5
    assert (diff / "null").stat().st_rdev == os.makedev(1, 3)
    assert stat.S_ISBLK((diff / "disk").stat().st_mode)
    assert stat.S_ISFIFO((diff / "pipe").stat().st_mode)


def test_capabilities_are_kept_and_overlay_attributes_are_not(unpack, make):
    ping = struct.pack("<IIIII", 0x02000001, 1 << 13, 0, 0, 0)
    pax = {
        "SCHILY.xattr.security.capability": ping.decode("latin-1"),
        "SCHILY.xattr.trusted.overlay.redirect": "/etc",
        "SCHILY.xattr.user.overlay.opaque": "y",
    }
    assert ping.isascii()
    diff = unpack(make.entry("ping", b"x", pax_headers=pax))
    assert os.getxattr(diff / "ping", "security.capability") == ping
    assert os.listxattr(diff / "ping") == ["security.capability"]


def test_absolute_names_stay_inside(unpack, tmp_path, make):
    outside = tmp_path / "outside"
    diff = unpack(make.entry(f"/{outside}", b"x"))
    assert not outside.exists()
    assert (diff / str(outside).lstrip("/")).read_bytes() == b"x"


def test_a_link_out_of_the_root_leads_nowhere_else(unpack, tmp_path, make):
    outside = tmp_path / "outside"
    outside.mkdir()
    diff = unpack(
        kind(make, "absolute", tarfile.SYMTYPE, linkname=str(outside)),
        kind(make, "relative", tarfile.SYMTYPE, linkname="../../../../../../../.." + str(outside)),
        make.entry("absolute/a", b"x"),
        make.entry("relative/b", b"x"),
    )
    assert list(outside.iterdir()) == []
    inside = diff / str(outside).lstrip("/")
    assert sorted(os.listdir(inside)) == ["a", "b"]


def test_a_link_is_replaced_and_not_written_through(unpack, tmp_path, make):
    (tmp_path / "victim").write_bytes(b"mine")
    diff = unpack(
        kind(make, "f", tarfile.SYMTYPE, linkname=str(tmp_path / "victim")),
        make.entry("f", b"new"),
    )
    assert (tmp_path / "victim").read_bytes() == b"mine"
    assert not (diff / "f").is_symlink()


def test_a_device_is_replaced_and_not_written_to(unpack, make):
    diff = unpack(
        kind(make, "zero", tarfile.CHRTYPE, devmajor=1, devminor=7),  # writing gives ENOSPC
        make.entry("zero", b"x"),
    )
    assert (diff / "zero").read_bytes() == b"x"


@pytest.mark.parametrize("name", ["../x", "a/../../x", "/../x", ".."])
def test_names_that_lead_out_are_refused(refused, make, name):
    assert "leads out of its directory" in refused("ok", make.entry(name, b"x"))


@pytest.mark.parametrize("target", ["/etc/passwd", "../../etc/passwd", "nothing"])
def test_hard_links_to_outside_are_refused(refused, make, target):
    message = refused(kind(make, "h", tarfile.LNKTYPE, linkname=target))
    assert "not in the layer" in message or "leads out" in message


def test_a_hard_link_through_a_link_stays_inside(refused, make):
    message = refused(
        kind(make, "etc", tarfile.SYMTYPE, linkname="/etc"),
        kind(make, "h", tarfile.LNKTYPE, linkname="etc/passwd"),
    )
    assert "not in the layer" in message


@pytest.mark.parametrize("name", [".wh.", ".wh..", ".wh...", "d/.wh.."])
def test_whiteouts_of_no_file_are_refused(refused, make, name):
    assert "a whiteout that names no file" in refused(name)


def test_whiteouts_become_overlay_whiteouts(unpack, make):
    diff = unpack(make.entry("d", type=tarfile.DIRTYPE), ".wh.gone", "d/.wh.gone", ".wh..wh.plnk")
    for path in (diff / "gone", diff / "d/gone"):
        assert stat.S_ISCHR(path.lstat().st_mode)
        assert path.lstat().st_rdev == 0
    assert sorted(os.listdir(diff)) == ["d", "gone"]


@pytest.mark.parametrize("order", [1, -1])
def test_a_directory_replaced_in_one_layer_hides_the_old_one(unpack, make, order):
    new = (make.entry("d", type=tarfile.DIRTYPE, mode=0o755), "d/new")
    diff = unpack(*((".wh.d",), new)[::order][0], *((".wh.d",), new)[::order][1])
    assert os.getxattr(diff / "d", "trusted.overlay.opaque") == b"y"
    assert os.listdir(diff / "d") == ["new"]


@pytest.mark.parametrize("order", [1, -1])
def test_whiteouts_of_what_is_gone_with_its_directory(unpack, make, order):
    entries = [".wh.gone", "gone/.wh.x", "gone/deep/.wh.y", "now-a-file", "now-a-file/.wh.z"]
    diff = unpack(*entries[::order])
    assert sorted(os.listdir(diff)) == ["gone", "now-a-file"]
    assert stat.S_ISCHR((diff / "gone").lstat().st_mode)
    assert (diff / "now-a-file").is_file()


def test_what_the_layers_merge_to(store, load, make):
    directory = {"type": tarfile.DIRTYPE}
    below = make.layer(
        make.entry("./", mode=0o711, **directory),
        make.entry("tmp", mode=0o1777, uid=3, **directory),
        make.entry("old", mode=0o755, **directory),
        "old/x",
        "gone",
        "kept",
    )
    above = make.layer("tmp/new", "old/.wh..wh..opq", "old/y", ".wh.gone")
    (image,) = load(make.docker_archive(below, above))
    root = store.images.prepare(image, "c" * 64)
    options = f"lowerdir={':'.join(root.lowers)},upperdir={root.upper},workdir={root.work}"
    merged = f"{root.upper}/../m"
    script = f"mount -t overlay -o {options} o {merged} && find {merged} -printf '%P %m %U\\n'"
    os.mkdir(merged)
    shown = subprocess.run(
        ["unshare", "--mount", "sh", "-c", script], check=True, capture_output=True, text=True
    ).stdout
    assert set(shown.splitlines()) == {
        " 711 0",
        "tmp 1777 3",  # though the upper layer does not list it
        "tmp/new 644 0",
        "old 755 0",
        "old/y 644 0",
        "kept 644 0",
    }
    store.images.release("c" * 64)
    assert not any(name.startswith("containers-rw") for name in store.files())


def test_the_later_of_two_entries_of_one_name_wins(unpack, make):
    directory = {"type": tarfile.DIRTYPE, "mode": 0o755}
    diff = unpack(
        make.entry("f", b"first"),
        make.entry("f", b"second"),
        make.entry("d", **directory),
        "d/inner",
        make.entry("d", b"now a file"),
        "e",
        make.entry("e", **directory),
        "e/inner",
    )
    assert (diff / "f").read_bytes() == b"second"
    assert (diff / "d").read_bytes() == b"now a file"
    assert os.listdir(diff / "e") == ["inner"]


def test_names_that_are_not_utf8(unpack, make):
    diff = unpack(make.entry("caf\udce9", b"x"))
    assert os.listdir(os.fsencode(diff)) == [b"caf\xe9"]


def test_deep_nesting_is_unpacked_and_removed(unpack, store, make):
    name = "/".join("d" * 1500)
    unpack(make.entry(name, b"x"))
    store.images.remove("made:1", in_use=lambda _: [])
    assert store.files() == set()


@pytest.mark.parametrize(
    ("name", "cause"),
    [("x" * 300, "File name too long"), ("y/" * 2100 + "z", "File name too long")],
)
def test_names_the_kernel_refuses(refused, make, name, cause):
    assert cause in refused(make.entry(name, b""))


def test_a_loop_of_links_is_refused(refused, make):
    message = refused(
        kind(make, "a", tarfile.SYMTYPE, linkname="b"),
        kind(make, "b", tarfile.SYMTYPE, linkname="a"),
        "a/x",
    )
    assert "entry 'a/x'" in message


def test_a_file_in_place_of_a_directory_is_refused(refused, make):
    assert "Not a directory" in refused("a", "a/x")


def test_a_root_that_is_no_directory_is_refused(refused, make):
    assert "the root must be a directory" in refused(
        kind(make, "./", tarfile.SYMTYPE, linkname="x")
    )


def test_a_pax_header_of_megabytes_is_refused(refused, make):
    assert "extended header" in refused(make.entry("a", pax_headers={"comment": "x" * (2 << 20)}))


def test_an_owner_that_no_file_can_have_is_refused(refused, make):
    assert "entry 'a'" in refused(make.entry("a", uid=1 << 40))


@pytest.mark.parametrize("version", ["0.0", "0.1", "1.0"])
def test_sparse_files_keep_their_holes(load, store, make, tmp_path, version):
    made = tmp_path / "made"
    made.mkdir()
    with (made / "holes").open("wb") as file:
        for offset in range(0, 64 << 20, 8 << 20):
            file.seek(offset)
            file.write(b"%d" % offset * 1000)
        file.truncate(100 << 20)
    with (made / "nothing").open("wb") as file:
        file.truncate(5 << 20)
    (made / "plain").write_bytes(b"plain")
    tar = ["tar", "-C", made, "-S", "--format=posix", f"--sparse-version={version}", "-c", "."]
    raw = subprocess.run(tar, check=True, stdout=subprocess.PIPE).stdout
    assert len(raw) < 1 << 20
    (image,) = load(make.docker_archive(raw))
    for path in made.iterdir():
        found = store.diff(image) / path.name
        assert found.read_bytes() == path.read_bytes()
        assert found.stat().st_blocks <= path.stat().st_blocks
    with (store.diff(image) / "holes").open("rb") as file:
        assert os.lseek(file.fileno(), 1 << 20, os.SEEK_DATA) == 8 << 20
        assert os.lseek(file.fileno(), 0, os.SEEK_HOLE) < 1 << 20


def test_sparse_files_of_the_old_format_are_refused_by_name(refused, make, tmp_path):
    with (tmp_path / "holes").open("wb") as file:
        file.truncate(5 << 20)
    tar = ["tar", "-C", tmp_path, "-S", "--format=gnu", "-c", "holes"]
    raw = subprocess.run(tar, check=True, stdout=subprocess.PIPE).stdout
    assert "GNU tar's old format (type S)" in refused(raw=raw)


@pytest.mark.parametrize(
    ("records", "message"),
    [
        ({"GNU.sparse.map": "0,5,3,5", "GNU.sparse.size": "10"}, "not in order"),
        ({"GNU.sparse.map": "0,5,8,5", "GNU.sparse.size": "10"}, "beyond its end"),
        ({"GNU.sparse.map": "0,5", "GNU.sparse.size": "10"}, "does not fit its content"),
        ({"GNU.sparse.map": "0,5,8", "GNU.sparse.size": "10"}, "not as many lengths"),
        ({"GNU.sparse.map": "0,x", "GNU.sparse.size": "10"}, "is damaged"),
        ({"GNU.sparse.map": "0,10"}, "without its size"),
        ({"GNU.sparse.map": "0,10", "GNU.sparse.size": str(1 << 62)}, "File too large"),
        ({"GNU.sparse.major": "1", "GNU.sparse.minor": "0"}, "is cut off"),
        ({"GNU.sparse.major": "2", "GNU.sparse.minor": "0"}, "not known"),
    ],
)
def test_maps_of_sparse_files_that_are_wrong(refused, make, records, message):
    assert message in refused(make.entry("a", b"0123456789", pax_headers=records))


def test_an_unknown_type_is_refused(refused, make):
    assert "entry type" in refused(kind(make, "a", b"V"))


def test_a_wrong_diff_id_is_refused(load, store, make):
    good, other = make.layer("a"), make.layer("b")
    raw = make.docker_archive(good, rootfs={"type": "layers", "diff_ids": [make.sha256(other)]})
    with pytest.raises(InvalidInputError, match="its content has the digest"):
        load(raw)
    assert store.files() == set()


@pytest.mark.parametrize("cut", [300, 600, 20_000])
def test_a_truncated_layer_is_refused(load, store, make, cut):
    whole = make.layer(make.entry("a", os.urandom(100_000)))
    with pytest.raises(InvalidInputError, match="cut off"):
        load(make.docker_archive(whole[:cut]))
    with pytest.raises(InvalidInputError, match="cut off"):
        load(make.docker_archive(gzip.compress(whole)[:cut]))
    assert store.files() == set()


def test_too_many_entries_are_refused(tmp_path, make, monkeypatch):
    monkeypatch.setattr(apply, "MAX_ENTRIES", 3)
    archive = tmp_path / "l.tar"
    archive.write_bytes(make.layer(*"abcd"))
    (tmp_path / "root").mkdir()
    process = os.fork()
    if process == 0:
        status = 1
        with archive.open("rb") as source:
            try:
                os.chroot(tmp_path / "root")
                os.chdir("/")
                apply.Unpacker().run(TarStream(source))
            except BadTarError as e:
                status = 42 if str(e) == "more than 3 entries" else 2
            finally:
                os._exit(status)
    assert os.waitstatus_to_exitcode(os.waitpid(process, 0)[1]) == 42


def test_a_full_disk_is_said_and_nothing_is_left(open_store, tmp_path, make):
    root = tmp_path / "small"
    root.mkdir()
    archive = tmp_path / "a.tar"
    archive.write_bytes(make.docker_archive(make.layer(make.entry("a", bytes(20 << 20)))))
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=8m", "tmpfs", root], check=True)
    try:
        store = open_store(root)
        full = f"the file system of {root}/.* has [01] of 8 MiB left"
        with pytest.raises(NoSpaceError, match=full):
            store.load(archive)
        assert store.files() == set()
        assert store.load(_small(tmp_path, make))
    finally:
        subprocess.run(["umount", "--lazy", root], check=True)


@pytest.mark.parametrize("kind", ["tmpfs", "ext4"])
def test_a_disk_without_inodes_is_told_from_one_without_bytes(open_store, tmp_path, make, kind):
    archive = tmp_path / "a.tar"
    archive.write_bytes(make.docker_archive(make.layer(*(f"f{n}" for n in range(500)))))
    with ExitStack() as stack:
        if kind == "ext4":
            root = stack.enter_context(disks.mounted(tmp_path, "ext4", make=("-N", "128")))
        else:
            root = stack.enter_context(disks.tmpfs(tmp_path / "small", "nr_inodes=120"))
        store = open_store(root / "data")
        before = store.files()
        with pytest.raises(NoSpaceError, match=r"has 0 of 1[0-9][0-9] inodes left; free space"):
            store.load(archive)
        assert store.files() == before
        assert store.load(_small(tmp_path, make))
        store.database.close()


def _small(tmp_path, make):
    archive = tmp_path / "small.tar"
    archive.write_bytes(make.docker_archive(make.layer("a")))
    return archive


def test_a_dead_child_is_said(store, load, make, monkeypatch):
    dead = ["sh", "-c", "kill -9 $$"]
    monkeypatch.setattr("cgagent.bare.command", lambda *_: dead)
    with pytest.raises(InternalError, match="died with status -9"):
        load(make.docker_archive(make.layer("a")))
    assert store.files() == set()
