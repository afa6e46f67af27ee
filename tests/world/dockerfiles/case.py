"""A Dockerfile with its context, what is expected of its image, and how two images are compared."""

from __future__ import annotations

import base64
import hashlib
import tarfile
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final, TypeAlias

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from pathlib import Path

Entry: TypeAlias = tuple[str, str, int, int, str]
"""Kind, mode, user, group, and a link's target or a digest of a file's content."""

_CONFIG: Final = (
    *("Cmd", "Entrypoint", "Env", "ExposedPorts", "Healthcheck", "Labels", "OnBuild", "Shell"),
    *("StopSignal", "User", "Volumes", "WorkingDir"),
)
_OF_THE_BUILDER: Final = ("io.buildah.version",)
"""Labels that a builder adds of its own accord."""
_OF_THE_RUNTIME: Final = (
    *("dev", "proc", "sys", "run/.containerenv", ".dockerenv"),
    *("etc/hostname", "etc/hosts", "etc/resolv.conf", "etc/mtab"),
)
_KINDS: Final = {
    tarfile.REGTYPE: "file",
    tarfile.LNKTYPE: "file",
    tarfile.DIRTYPE: "directory",
    tarfile.SYMTYPE: "link",
    tarfile.FIFOTYPE: "fifo",
}


ARCHIVE: Final = base64.b64decode(
    "H4sIAAAAAAACA+3NOwoCURAEwIk9hTdwxN95FvcJD0XE1fs7GIm5gliVdNNJ9/PUx7Y49FOLT8myXecz"
    "y3uW3UuvfZm5WcU84wvu02241n38p8uwP7ZxFgAAAAAAAAAAAPyWB0CJbm4AKAAA"
)
"""A compressed tar with one file in a directory that is not in it."""


@dataclass(frozen=True, kw_only=True)
class Case:
    name: str
    text: str
    files: Mapping[str, str | bytes] = field(default_factory=dict)
    """Of the context; a name that ends with ``*`` is executable, ``->`` begins a link."""
    flags: tuple[str, ...] = ()
    expected: Mapping[str, str | tuple[int, int, int, str]] = field(default_factory=dict)
    """Of the image: a file's content, or mode, uid, gid and content; ``->`` begins a link."""
    absent: tuple[str, ...] = ()
    config: Mapping[str, Any] = field(default_factory=dict)
    otherwise: Mapping[str, str] = field(default_factory=dict)
    """What is not as buildah has it, a field of the configuration or a path, and why."""

    def write(self, folder: Path) -> None:
        """The context and the Dockerfile."""
        for name, content in {**self.files, "Dockerfile": self.text}.items():
            path = folder / name.removesuffix("*")
            path.parent.mkdir(parents=True, exist_ok=True)
            if isinstance(content, bytes):
                path.write_bytes(content)
            elif content.startswith("->"):
                path.symlink_to(content.removeprefix("->"))
                continue
            else:
                path.write_text(content)
            path.chmod(0o755 if name.endswith("*") else 0o644)
        for path in folder.rglob("*"):
            if path.is_dir() and not path.is_symlink():
                path.chmod(0o755)


# -- comparing ----------------------------------------------------------------------------------


def settings(config: Mapping[str, Any]) -> dict[str, Any]:
    """An image's configuration, as far as a Dockerfile decides it; nothing is as if left out."""
    labels = config.get("Labels") or {}
    own = {name: text for name, text in labels.items() if name not in _OF_THE_BUILDER}
    found = {name: config.get(name) for name in _CONFIG} | {"Labels": own}
    found["Env"] = sorted(config.get("Env") or ())
    return {name: value for name, value in found.items() if value}


def entries(tar: Iterable[tarfile.TarInfo], source: tarfile.TarFile) -> dict[str, Entry]:
    """The files in the tar of a root, but for what is there of the runtime's."""
    found: dict[str, Entry] = {}
    for one in tar:
        name = one.name.removeprefix("./").strip("/")
        if name in {"", "."} or any(
            name == path or name.startswith(f"{path}/") for path in _OF_THE_RUNTIME
        ):
            continue
        kind = _KINDS.get(one.type, "other")
        about = one.linkname if kind == "link" else ""
        if kind == "file":
            content = source.extractfile(one)
            about = hashlib.sha256(content.read() if content else b"").hexdigest()[:16]
        mode = "" if kind == "link" else f"{one.mode:04o}"
        found[name] = (kind, mode, one.uid, one.gid, about)
    return found


def changes(base: Mapping[str, Entry], made: Mapping[str, Entry]) -> dict[str, str]:
    """What an image has beside its base, in a line each.

    The content of a file that the base has, too, is left out: such as /etc/passwd with one more.
    """
    found = {}
    for path in sorted({*base, *made}):
        before, after = base.get(path), made.get(path)
        if before == after:
            continue
        if after is None:
            found[path] = "gone"
        else:
            kind, mode, uid, gid, about = after
            about = "" if before and before[0] == "file" else about
            found[path] = " ".join(filter(None, (kind, mode, f"{uid}:{gid}", about)))
    return found
