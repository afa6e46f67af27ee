"""The project `shop` under one version of Docker's Compose."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
from collections import defaultdict
from pathlib import Path
from typing import Final, Self

from tests.world.agent import SLOWNESS

_SHOP: Final = Path(__file__).parent / "shop"
_LONGEST_S: Final = 60 * SLOWNESS


class Compose:
    """Call it with a verb and its words. Leaving takes the project down, with all that it made.

    `environ` is what the project's file has in its places, and may be changed.
    """

    def __init__(self, program: Path, host: str, scratch: Path, **environ: str) -> None:
        self.folder = Path(shutil.copytree(_SHOP, scratch / "shop"))
        self.environ = environ
        self._host = host
        self._program = program

    def __call__(self, *words: str, fails: int = 0, stdin: str = "") -> str:
        """What it prints, without what it says of its progress."""
        return self._run(*words, fails=fails, stdin=stdin).stdout.strip()

    def did(self, *words: str) -> dict[str, list[str]]:
        """Its words of each container, network, volume: ``{"db-1": ["Starting", "Started"]}``."""
        said: dict[str, list[str]] = defaultdict(list)
        for line in self._run(*words).stderr.splitlines():
            if "shop" in line:
                _, name, word, *_ = line.split()
                said[name.removeprefix("shop")[1:]].append(word)
        return said

    def _run(
        self, *words: str, fails: int = 0, stdin: str = ""
    ) -> subprocess.CompletedProcess[str]:
        done = subprocess.run(
            [self._program, *words],
            check=False,
            cwd=self.folder,
            env=self._environment(),
            input=stdin,
            capture_output=True,
            text=True,
            timeout=_LONGEST_S,
        )
        assert done.returncode == fails, (words, done.returncode, done.stdout, done.stderr)
        return done

    def popen(self, *words: str) -> subprocess.Popen[str]:
        """It goes on, with all that it says in one stream."""
        return subprocess.Popen(
            [self._program, *words],
            cwd=self.folder,
            env=self._environment(),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )

    def _environment(self) -> dict[str, str]:
        home = {"HOME": str(self.folder), "DOCKER_CONFIG": str(self.folder)}
        return {**os.environ, **home, **self.environ, "DOCKER_HOST": self._host}

    def ids(self) -> dict[str, str]:
        """The ids of its containers, of ended ones too, by service and number."""
        listed = self("ps", "--all", "--no-trunc", "--format", "{{.Name}} {{.ID}}").splitlines()
        return dict(line.removeprefix("shop-").split() for line in listed)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self("--profile", "*", "down", "--volumes", "--timeout", "0", "--remove-orphans")


def interrupt(running: subprocess.Popen[str]) -> str:
    """Ctrl-C; what it said until its end."""
    running.send_signal(signal.SIGINT)
    said, _ = running.communicate(timeout=_LONGEST_S)
    return said
