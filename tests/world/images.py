"""Image archives for the tests: alpine, busybox and Debian, as docker-archive and as OCI archive.

The OCI form is written here from a root file system; the docker form is skopeo's conversion of
it, so that each is also read by a tool nobody here wrote.
"""

from __future__ import annotations

import gzip
import hashlib
import json
import platform
import shutil
import subprocess
import tempfile
from pathlib import Path
from typing import Any

from tests.world import alpine, cache, debian

_CREATED = "2026-01-01T00:00:00Z"
_PATH = "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"


def alpine_oci_archive() -> Path:
    """``alpine:latest``, one layer, as an OCI image layout in a tar."""
    return cache.build(
        "alpine.oci.tar", lambda draft: _oci_archive(alpine.rootfs(), "/bin/sh", "latest", draft)
    )


def alpine_docker_archive() -> Path:
    """The same image as ``docker save`` would write it, as alpine:latest and alpine:3.23."""
    names = ("alpine:latest", f"alpine:{alpine.VERSION}")
    return cache.build(
        "alpine.docker.tar", lambda draft: _docker_archive(alpine_oci_archive(), names, draft)
    )


def busybox_oci_archive() -> Path:
    """``busybox:latest``: one static program, 2 MB."""
    return cache.build("busybox.oci.tar", _busybox_oci_archive)


def busybox_docker_archive() -> Path:
    """``busybox:latest`` as ``docker save`` would write it."""
    return cache.build(
        "busybox.docker.tar",
        lambda draft: _docker_archive(busybox_oci_archive(), ("busybox:latest",), draft),
    )


def debian_oci_archive() -> Path:
    """``debian:latest``: this machine's release as debootstrap makes it, with nginx and curl."""
    return cache.build("debian-nginx.oci.tar", _debian_oci_archive)


def _debian_oci_archive(draft: Path) -> None:
    with tempfile.TemporaryDirectory(prefix="cgagent-debootstrap-") as scratch:
        root = Path(scratch) / "root"
        release = platform.freedesktop_os_release()["VERSION_CODENAME"]
        debian.bootstrap(root, release, "nginx", "curl")
        for weight in ("var/lib/apt/lists", "usr/share/doc", "usr/share/locale"):
            shutil.rmtree(root / weight)
        _oci_archive(root, "bash", "latest", draft)


def busybox_rootfs(folder: Path) -> None:
    """Make the tree of Docker's busybox image: every applet a hard link."""
    debian.install("busybox-static")
    for name in ("bin", "dev", "etc", "home", "proc", "root", "sys", "tmp", "usr/sbin", "var/tmp"):
        (folder / name).mkdir(parents=True)
    for name in ("tmp", "var/tmp"):
        (folder / name).chmod(0o1777)
    (folder / "root").chmod(0o700)
    shutil.copy("/bin/busybox", folder / "bin" / "busybox")
    listed = subprocess.run(["/bin/busybox", "--list"], check=True, capture_output=True, text=True)
    for applet in set(listed.stdout.split()) - {"busybox"}:
        (folder / "bin" / applet).hardlink_to(folder / "bin" / "busybox")
    (folder / "etc" / "passwd").write_text(
        "root:x:0:0:root:/root:/bin/sh\nnobody:x:65534:65534:nobody:/home:/bin/false\n"
    )
    (folder / "etc" / "group").write_text("root:x:0:\nnobody:x:65534:\n")


def _busybox_oci_archive(draft: Path) -> None:
    with tempfile.TemporaryDirectory(prefix="cgagent-busybox-") as scratch:
        Path(scratch).chmod(0o755)
        busybox_rootfs(Path(scratch))
        _oci_archive(Path(scratch), "sh", "latest", draft)


def _docker_archive(oci_archive: Path, names: tuple[str, ...], draft: Path) -> None:
    debian.install("skopeo")
    first, *others = names
    more = [word for name in others for word in ("--additional-tag", name)]
    source, target = f"oci-archive:{oci_archive}", f"docker-archive:{draft}:{first}"
    subprocess.run(["skopeo", "copy", "--quiet", *more, source, target], check=True)


def _oci_archive(rootfs: Path, command: str, tag: str, draft: Path) -> None:
    with tempfile.TemporaryDirectory(prefix="cgagent-layout-") as scratch:
        layout = Path(scratch)
        blobs = layout / "blobs" / "sha256"
        blobs.mkdir(parents=True)
        layer = _tar(rootfs)
        config = {
            "created": _CREATED,
            "architecture": "amd64",
            "os": "linux",
            "config": {"Env": [_PATH], "Cmd": [command]},
            "rootfs": {"type": "layers", "diff_ids": [_digest(layer)]},
            "history": [{"created": _CREATED, "created_by": "tests"}],
        }
        kind = "application/vnd.oci.image"
        packed = gzip.compress(layer, mtime=0)
        manifest = {
            "schemaVersion": 2,
            "mediaType": f"{kind}.manifest.v1+json",
            "config": _blob(blobs, f"{kind}.config.v1+json", _json(config)),
            "layers": [_blob(blobs, f"{kind}.layer.v1.tar+gzip", packed)],
        }
        entry = _blob(blobs, f"{kind}.manifest.v1+json", _json(manifest))
        entry["annotations"] = {"org.opencontainers.image.ref.name": tag}
        (layout / "oci-layout").write_bytes(_json({"imageLayoutVersion": "1.0.0"}))
        (layout / "index.json").write_bytes(_json({"schemaVersion": 2, "manifests": [entry]}))
        draft.write_bytes(_tar(layout))


def _tar(folder: Path) -> bytes:
    """A reproducible tar of what is in `folder`, names without a leading ``./``."""
    names = sorted(p.name for p in folder.iterdir())
    options = ("--sort=name", "--numeric-owner", "--mtime=@0", "--format=posix")
    stable = "--pax-option=exthdr.name=%d/PaxHeaders/%f,delete=atime,delete=ctime"
    command = ["tar", "-C", str(folder), *options, stable, "-c", "--", *names]
    return subprocess.run(command, check=True, stdout=subprocess.PIPE).stdout


def _json(value: Any) -> bytes:
    return json.dumps(value, separators=(",", ":")).encode()


def _digest(content: bytes) -> str:
    return f"sha256:{hashlib.sha256(content).hexdigest()}"


def _blob(blobs: Path, media_type: str, content: bytes) -> dict[str, Any]:
    """Store a blob and describe it."""
    digest = _digest(content)
    (blobs / digest.removeprefix("sha256:")).write_bytes(content)
    return {"mediaType": media_type, "digest": digest, "size": len(content)}
