"""Debian's Chromium without a window, and what drives it: playwright-core and axe-core, from npm.

Everything is in the cache: Chromium's package and the libraries that this machine lacks are only
laid out there, so that the machine gets none of them.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from pathlib import Path
from typing import Any, Final, Self

from tests.world import cache, debian

_PACKAGES: Final = ("chromium-headless-shell", "fonts-dejavu-core", "fonts-liberation")
"""What is installed on this machine is not among what apt fetches, and is taken from there."""
_PROGRAM: Final = Path("/usr/lib/chromium/chromium-headless-shell")
_MODULES: Final = ("playwright-core@1.65", "axe-core@4.14")
_MACHINE: Final = f"lib/{os.uname().machine}-linux-gnu"
WIDE: Final = {"width": 1440, "height": 800}
PHONE: Final = {"width": 390, "height": 800}
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
    fonts.write_text(
        "<?xml version='1.0'?><!DOCTYPE fontconfig SYSTEM 'fonts.dtd'><fontconfig>"
        f"<dir>{root}/usr/share/fonts</dir><dir>/usr/share/fonts</dir>"
        f"<cachedir>{home}/fonts</cachedir></fontconfig>"
    )
    return {
        **os.environ,
        "HOME": str(home),
        "FONTCONFIG_FILE": str(fonts),
        "LD_LIBRARY_PATH": ":".join(f"{root}/{place}" for place in _LIBRARIES),
        "CHROMIUM": str(_PROGRAM if _PROGRAM.exists() else f"{root}{_PROGRAM}"),
        "NODE_PATH": f"{modules()}/node_modules",
    }


class Browser:
    """Chromium with one page at a time; for a ``with``. Selectors are playwright's."""

    def __init__(self, home: Path) -> None:
        self._home = home
        self._process: subprocess.Popen[str] | None = None

    def __enter__(self) -> Self:
        self._process = subprocess.Popen(
            ["node", Path(__file__).with_suffix(".mjs")],
            env=environment(self._home),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        return self

    def __exit__(self, *_: object) -> None:
        assert self._process is not None
        self._process.communicate()

    def tell(self, *words: Any) -> Any:
        """A command of browser.mjs with its arguments; what it answers.

        Raises:
            AssertionError: the browser could not do it.
        """
        assert self._process is not None
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(json.dumps(words) + "\n")
        self._process.stdin.flush()
        answer = json.loads(self._process.stdout.readline())
        if "error" in answer:
            raise AssertionError(f"{words}: {answer['error']}")
        return answer["value"]

    def open(self, url: str, **options: Any) -> None:
        """In a context of its own, whose options are playwright's."""
        self.tell("open", {"url": url, **options})

    def go(self, place: str) -> None:
        """To another view of the page."""
        self.tell("evaluate", f"location.hash = {json.dumps(place)}")

    def click(self, selector: str) -> None:
        self.tell("locator", selector, "click")

    def fill(self, selector: str, text: str) -> None:
        self.tell("locator", selector, "fill", text)

    def see(self, selector: str) -> str:
        """Wait until there is such an element in sight; its text."""
        self.tell("locator", f"{selector} >> nth=0", "waitFor")
        text: str = self.tell("locator", f"{selector} >> nth=0", "innerText")
        return text

    def gone(self, selector: str) -> None:
        """Wait until there is none in sight."""
        self.tell("locator", selector, "waitFor", {"state": "hidden"})

    def count(self, selector: str) -> int:
        found: int = self.tell("locator", selector, "count")
        return found
