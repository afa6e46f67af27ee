"""Whether this machine can run what an image was built for."""

from __future__ import annotations

import platform
from pathlib import Path
from typing import TYPE_CHECKING, Final

from cgagent.errors import NoSuchImageError, UnsupportedError
from cgagent.images.manifest import Platform

if TYPE_CHECKING:
    from cgagent.images.image import Image

_OWN: Final = {
    "x86_64": ("amd64", "386"),
    "aarch64": ("arm64", "arm"),
    "armv7l": ("arm",),
    "armv6l": ("arm",),
    "i686": ("386",),
}
_QEMU: Final = {"amd64": "x86_64", "arm64": "aarch64", "386": "i386"}
_BINFMT: Final = Path("/proc/sys/fs/binfmt_misc")


def require_platform(image: Image, name: str, text: str) -> None:
    """Whether the image, called `name`, is for the platform in `text`; most do not say a variant.

    Raises:
        NoSuchImageError: it is for another one; it can be pulled for this.
        UnsupportedError: the platform is no Linux.
        InvalidInputError: the text is no platform.
    """
    wanted = Platform.parse(text)
    if wanted.os != "linux":
        raise UnsupportedError(f"--platform {text}: only linux/ARCH can be run here")
    if image.architecture not in ("", wanted.architecture):
        raise NoSuchImageError(
            f"image {name} is here for linux/{image.architecture}, not for {wanted}; "
            f"'cgagent pull --platform {wanted} {name}' fetches it"
        )


def require_runnable(image: Image) -> None:
    """Raises UnsupportedError: neither the machine nor an emulator runs the image's programs."""
    machine = platform.machine()
    own = _OWN.get(machine, (machine,))
    if image.architecture and image.architecture not in own and not _emulated(image.architecture):
        raise UnsupportedError(
            f"image {image.tags[0] if image.tags else image.id[:19]} is made for "
            f"linux/{image.architecture}, and this machine is linux/{own[0]}: pull it with "
            f"--platform linux/{own[0]}, or register an emulator with binfmt_misc"
        )


def _emulated(architecture: str) -> bool:
    """Does an interpreter registered with binfmt_misc say in its name that it is for this?"""
    name = f"qemu-{_QEMU.get(architecture, architecture)}"
    try:
        return (_BINFMT / name).read_text().startswith("enabled")
    except OSError:
        return False
