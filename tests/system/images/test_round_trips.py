"""Images on their way: pulled, run, saved, removed, loaded, pushed elsewhere. Nothing changes."""

import os
import subprocess
import tarfile
from contextlib import ExitStack

import pytest

from tests.world import crane, debian, images
from tests.world.agent import Agent
from tests.world.registry import Registry

pytestmark = [pytest.mark.system, pytest.mark.native]

_MOUNT_POINTS = {"dev", "proc", "sys", "etc", "etc/hosts", "etc/hostname", "etc/resolv.conf"}


@pytest.fixture(scope="module")
def world(state_root):
    """An agent and two registries."""
    debian.install("skopeo", "umoci", "buildah")
    with ExitStack() as stack:
        folder = state_root / "round-trips"
        folder.mkdir()
        stack.callback(folder.rmdir)
        one, other = (stack.enter_context(Registry()) for _ in range(2))
        (folder / "agent").mkdir()
        stack.callback(lambda: subprocess.run(["rm", "-rf", folder / "agent"], check=True))
        yield stack.enter_context(Agent(folder / "agent")), one, other


def layered(make, count):
    """Each layer changes what the one below has made, too."""
    return make.docker_archive(
        *(
            make.layer(
                *(make.entry(f"d{d}", type=tarfile.DIRTYPE, mode=0o755) for d in {n % 5, n % 7}),
                make.entry(f"d{n % 7}/f{n}", f"{n}".encode() * 50, mode=0o4751, uid=n, gid=n + 1),
                make.entry(f"d{n % 7}/all", f"by {n}".encode(), mtime=n),
                make.entry(f"d{n % 5}/.wh.f{n - 7}") if n % 35 == 0 and n else f"only{n}",
            )
            for n in range(count)
        ),
        tags=(f"layers{count}:1",),
    )


@pytest.mark.parametrize(
    "image",
    ["alpine", "busybox", "debian", "20 layers", "127 layers", "by umoci", "by buildah"],
)
def test_an_image_stays_what_it_is(image, world, make, tmp_path):
    agent, one, other = world
    name = image.replace(" ", "-")
    here, there = (f"{registry.address}/{name}:1" for registry in (one, other))
    _to_registry(image, here, make, tmp_path)

    def cli(*words):
        done = agent.cli(*words, timeout=200)
        assert done.returncode == 0, done.stderr
        return done.stdout

    cli("pull", "-q", here)
    container = agent.create("/true", image=here)
    tar = tmp_path / "export.tar"
    cli("export", "-o", str(tar), container)
    agent.remove(container)
    assert _exported(tar, tmp_path / "ours") == _unpacked(here, tmp_path)
    if image in {"alpine", "busybox", "debian"}:
        assert agent.run("echo", "hello", image=here).stdout == "hello\n"
    cli("save", "-o", str(tmp_path / "saved.tar"), here)
    cli("rmi", "-f", here)
    assert cli("load", "-q", "-i", str(tmp_path / "saved.tar")) == f"Loaded image: {here}\n"
    cli("tag", here, there)
    cli("push", "-q", there)
    assert _manifest(there) == _manifest(here)
    crane.validate(there)
    cli("rmi", "-f", here, there)
    cli("pull", "-q", there)
    cli("rmi", "-f", there)
    assert "nothing is wrong" in cli("system", "check")


def _to_registry(image, name, make, folder):
    source = _source(image, make, folder)
    _run("skopeo", "copy", "-q", "--dest-tls-verify=false", source, f"docker://{name}")


def _source(image, make, folder):
    match image:
        case "alpine":
            return f"docker-archive:{images.alpine_docker_archive()}:alpine:latest"
        case "busybox":
            return f"docker-archive:{images.busybox_docker_archive()}"
        case "debian":
            return f"oci-archive:{images.debian_oci_archive()}"
        case "by umoci":
            return f"oci:{_umoci_layout(folder)}:1"
        case "by buildah":
            return f"oci:{_buildah_layout(folder)}:1"
    archive = folder / "docker.tar"
    archive.write_bytes(layered(make, int(image.split()[0])))
    return f"docker-archive:{archive}"


def _umoci_layout(folder):
    """Alpine with files of its own, a hard link, a hole in the file and extended attributes."""
    layout, bundle = folder / "layout", folder / "bundle"
    _run("skopeo", "copy", "-q", f"oci-archive:{images.alpine_oci_archive()}", f"oci:{layout}:1")
    _run("umoci", "unpack", "--image", f"{layout}:1", bundle)
    root = bundle / "rootfs"
    (root / "new").write_text("new")
    (root / "new").chmod(0o2755)
    os.link(root / "new", root / "linked")
    os.setxattr(root / "new", "user.comment", b"\0\xff")
    (root / "etc/hostname").unlink(missing_ok=True)
    _run("rm", "-r", root / "etc/apk")
    _run("umoci", "repack", "--image", f"{layout}:1", bundle)
    return layout


def _buildah_layout(folder):
    """Two layers: files copied, hard links and a name that is no ASCII; one of them replaced."""
    layout, files = folder / "layout", folder / "files"
    files.mkdir()
    (files / "ünï").write_text("one")
    os.link(files / "ünï", files / "linked")
    (files / "setuid").touch(0o4711)
    (folder / "replaced").write_text("two")
    places = ("--root", folder / "storage", "--runroot", folder / "run")
    buildah = ("buildah", "--storage-driver", "vfs", *places)
    try:
        made = _run(*buildah, "from", "scratch").strip()
        _run(*buildah, "copy", "--chown", "7:8", made, files, "/data/")
        _run(*buildah, "commit", "-q", made, "below")
        made = _run(*buildah, "from", "--pull-never", "localhost/below").strip()
        _run(*buildah, "copy", made, folder / "replaced", "/data/linked")
        _run(*buildah, "config", "--cmd", "/true", "--env", "A=b", "--label", "c=d", made)
        _run(*buildah, "commit", "-q", made, f"oci:{layout}:1")
    finally:
        _run(*buildah, "rm", "--all")
        _run(*buildah, "rmi", "--all")
    return layout


def _run(*words):
    done = subprocess.run(words, check=False, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return done.stdout


def _manifest(name):
    return _run("skopeo", "inspect", "--raw", "--tls-verify=false", f"docker://{name}")


def _unpacked(name, folder):
    layout, bundle = folder / "oracle", folder / "oracle-bundle"
    _run("skopeo", "copy", "-q", "--src-tls-verify=false", f"docker://{name}", f"oci:{layout}:1")
    _run("umoci", "unpack", "--image", f"{layout}:1", bundle)
    return _tree(bundle / "rootfs")


def _exported(tar, folder):
    folder.mkdir()
    _run("tar", "--xattrs", "--xattrs-include=*", "--numeric-owner", "-xpf", tar, "-C", folder)
    return _tree(folder)


def _tree(root):
    """By path: everything about a file that an image can say, but where a container has mounts."""
    found, groups = {}, {}
    for directory, names, files in os.walk(root):
        for entry in [*names, *files]:
            path = os.path.join(directory, entry)
            shown = os.path.relpath(path, root)
            if shown in _MOUNT_POINTS:
                continue
            status = os.lstat(path)
            first = groups.setdefault((status.st_dev, status.st_ino), shown)
            content = None
            if os.path.islink(path):
                content = os.readlink(path)
            elif os.path.isfile(path):
                with open(path, "rb") as file:
                    content = file.read()
            attributes = {
                name: os.getxattr(path, name, follow_symlinks=False)
                for name in os.listxattr(path, follow_symlinks=False)
            }
            found[shown] = (
                *(status.st_mode, status.st_uid, status.st_gid, status.st_rdev),
                *(status.st_mtime_ns // 10**9, min(first, shown), content, attributes),
            )
    return found
