"""Debian's Chromium without a window, and what drives it: playwright-core and axe-core, from npm.

Everything is in the cache: Chromium's package and the libraries that this machine lacks are only
laid out there, so that the machine gets none of them.
"""

from __future__ import annotations

import os
import shutil
import subprocess
from typing import TYPE_CHECKING, Final

from tests.world import cache, debian

if TYPE_CHECKING:
    from pathlib import Path

_PACKAGES: Final = ("chromium-headless-shell", "fonts-dejavu-core", "fonts-liberation")
"""What is installed on this machine is not among what apt fetches, and is taken from there."""
_MODULES: Final = ("playwright-core@1.65", "axe-core@4.14")
_MACHINE: Final = f"lib/{os.uname().machine}-linux-gnu"
_LIBRARIES: Final = (f"usr/{_MACHINE}", _MACHINE, f"usr/{_MACHINE}/pulseaudio")


def chromium() -> Path:
    """A root with the program, its libraries and a font."""
    return cache.build("chromium", _lay_out)


def _lay_out(root: Path) -> None:
    archives = root / "archives"
    (archives / "partial").mkdir(parents=True)

    def download() -> None:
        command = ["apt-get", "-q", "-y", "--no-install-recommends", "--download-only"]
        places = ["-o", f"Dir::Cache::archives={archives}/", "-o", "APT::Sandbox::User=root"]
        subprocess.run(
            [*command, *places, "-o", debian.LOCK_TIMEOUT, "install", *_PACKAGES],
            check=True,
            stdout=subprocess.DEVNULL,
        )

    debian.with_fresh_lists(download)
    for archive in archives.glob("*.deb"):
        subprocess.run(["dpkg", "-x", archive, root], check=True)
    shutil.rmtree(archives)


def modules() -> Path:
    """The folder whose node_modules holds them."""
    return cache.build("browser-modules", _install)


def _install(folder: Path) -> None:
    if shutil.which("npm") is None:
        debian.install("nodejs", "npm")
    folder.mkdir(exist_ok=True)
    flags = ("--silent", "--no-audit", "--no-fund", "--prefix", str(folder))
    subprocess.run(["npm", "install", *flags, *_MODULES], check=True, cwd=folder)


def environment(home: Path) -> dict[str, str]:
    """What the program needs to find its libraries and its font; `home` is a scratch folder."""
    root = chromium()
    fonts = home / "fonts.conf"
    chosen = {"monospace": "DejaVu Sans Mono", None: "Liberation Sans"}
    rules = (
        "<match>"
        + (f"<test name='family'><string>{name}</string></test>" if name else "")
        + f"<edit name='family' mode='append'><string>{font}</string></edit></match>"
        for name, font in chosen.items()
    )
    fonts.write_text(
        "<?xml version='1.0'?><!DOCTYPE fontconfig SYSTEM 'fonts.dtd'><fontconfig>"
        f"<dir>{root}/usr/share/fonts</dir><dir>/usr/share/fonts</dir>{''.join(rules)}"
        f"<cachedir>{home}/fonts</cachedir></fontconfig>"
    )
    return {
        **os.environ,
        "HOME": str(home),
        "FONTCONFIG_FILE": str(fonts),
        "LD_LIBRARY_PATH": ":".join(f"{root}/{place}" for place in _LIBRARIES),
        "CHROMIUM": f"{root}/usr/lib/chromium/chromium-headless-shell",
        "NODE_PATH": f"{modules()}/node_modules",
    }
