"""What a fresh volume gets of the image, whatever the image is like."""

import asyncio
import hashlib
import io
import json
import os
import stat
import tarfile

import pytest

from cgagent.engine.volumes import populate
from cgagent.errors import InternalError
from cgagent.images.unpack.trees import remove_tree

pytestmark = [pytest.mark.system, pytest.mark.native]


@pytest.fixture
def fill(tmp_path):
    """Copy a path out of a root that a function has filled."""
    for name in ("lower", "upper", "work", "staging"):
        (tmp_path / name).mkdir()

    def run(make, path="/data"):
        make(tmp_path / "lower")
        options = [f"{kind}dir={tmp_path}/{kind}" for kind in ("lower", "upper", "work")]
        root = {"destination": "/", "type": "overlay", "source": "overlay", "options": options}
        target = tmp_path / "volume"
        made = asyncio.run(populate.run(root, str(tmp_path / "staging"), {path: str(target)}))
        assert os.listdir(tmp_path / "staging") == []
        assert os.listdir(tmp_path / "upper") == []
        return target if made else None

    yield run
    for name in ("lower", "volume"):  # pytest's own clean-up cannot remove a tree that is too deep
        if (tmp_path / name).exists():
            remove_tree(os.fsencode(tmp_path / name))


def test_a_link_leads_nowhere_else(fill):
    def make(root):
        (root / "data").symlink_to("/etc")
        (root / "etc").mkdir()
        (root / "etc" / "mine").write_text("the image's")

    found = fill(make)
    assert os.listdir(found) == ["mine"]


@pytest.mark.parametrize(
    "target", ["../../../../../../../etc", "/proc/1/root/etc", "/proc/self/cwd"]
)
def test_a_way_out_is_none(fill, target):
    assert fill(lambda root: (root / "data").symlink_to(target)) is None


def test_what_is_no_directory_is_left_out(fill):
    assert fill(lambda root: (root / "data").write_text("x")) is None
    assert fill(lambda _: None, "/no/such") is None


def test_all_kinds_of_files(fill):
    def make(root):
        data = root / "data"
        data.mkdir(mode=0o1777)
        data.chmod(0o1777)
        os.chown(data, 7, 8)
        (data / "file").write_bytes(b"x" * 100_000)
        os.chown(data / "file", 1, 2)
        (data / "file").chmod(0o4755)
        os.setxattr(data / "file", "user.mine", b"kept")
        os.utime(data / "file", ns=(1, 2_000_000_005))
        (data / "link").symlink_to("/etc/shadow")
        os.mkfifo(data / "fifo", 0o600)
        os.mknod(data / "node", stat.S_IFCHR | 0o600, os.makedev(1, 3))
        (data / "deep" / "er").mkdir(parents=True)
        (data / "deep" / "er" / "empty").touch(0)

    found = fill(make)
    top = found.stat()
    assert (stat.S_IMODE(top.st_mode), top.st_uid, top.st_gid) == (0o1777, 7, 8)
    file = (found / "file").stat()
    assert (stat.S_IMODE(file.st_mode), file.st_uid, file.st_gid) == (0o4755, 1, 2)
    assert (file.st_size, file.st_mtime_ns) == (100_000, 2_000_000_005)
    assert os.getxattr(found / "file", "user.mine") == b"kept"
    assert os.readlink(found / "link") == "/etc/shadow"
    assert stat.S_ISFIFO((found / "fifo").stat().st_mode)
    assert (found / "node").stat().st_rdev == os.makedev(1, 3)
    assert stat.S_IMODE((found / "deep" / "er" / "empty").stat().st_mode) == 0


def test_too_deep_is_an_error_and_not_a_crash(fill):
    def make(root):
        fd = os.open(root, os.O_RDONLY)
        for name in ("data", *("d" for _ in range(3000))):
            os.mkdir(name, dir_fd=fd)
            inner = os.open(name, os.O_RDONLY, dir_fd=fd)
            os.close(fd)
            fd = inner
        os.close(fd)

    with pytest.raises(InternalError, match=r"nested too deeply|too many open files"):
        fill(make)


def with_volumes(archive, path, paths, name):
    """An archive of ``docker save`` with a configuration changed and another name."""
    with tarfile.open(archive) as old, tarfile.open(path, "w") as new:
        (entry,) = json.load(old.extractfile("manifest.json"))
        config = json.load(old.extractfile(entry["Config"]))
        config.setdefault("config", {})["Volumes"] = {p: {} for p in paths}
        data = json.dumps(config).encode()
        entry.update(Config=f"{hashlib.sha256(data).hexdigest()}.json", RepoTags=[name])
        contents = {entry["Config"]: data, "manifest.json": json.dumps([entry]).encode()}
        for layer in entry["Layers"]:
            contents[layer] = old.extractfile(layer).read()
        for member, content in contents.items():
            info = tarfile.TarInfo(member)
            info.size = len(content)
            new.addfile(info, io.BytesIO(content))


def test_the_volumes_of_an_image(agent, alpine_docker_archive, tmp_path):
    with_volumes(alpine_docker_archive, tmp_path / "a.tar", ["/etc/apk", "/new"], "vols:latest")
    agent.load(tmp_path / "a.tar")
    try:
        script = "ls -d /etc/apk/arch; touch /new/x /etc/apk/y; mount | grep -cE ' /(new|etc/apk) '"
        before = agent.client.request("GET", "/v1/volumes")
        result = agent.run("sh", "-c", script, image="vols")
        assert result.stdout.splitlines() == ["/etc/apk/arch", "2"]
        assert agent.client.request("GET", "/v1/volumes") == before
        result = agent.run("ls", "/etc/apk", image="vols", tmpfs={"/etc/apk": ""})
        assert result.stdout == ""
    finally:
        agent.client.request("DELETE", "/v1/images/vols:latest")
