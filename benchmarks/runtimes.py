"""OCI runtimes alone, on a bundle made once: the floor an engine stands on."""

from __future__ import annotations

import json
import subprocess
from itertools import count
from pathlib import Path
from typing import Any, ClassVar

from benchmarks.peers import CGROUP_PARENT, CPUS, MEMORY_BYTES, PIDS, SLEEP
from benchmarks.process import command
from tests.world import images

_UNIFIED = Path("/sys/fs/cgroup/unified")


class _Bundle:
    """An OCI runtime alone on a bundle: no image, no log, no state but the runtime's own."""

    name: ClassVar[str]

    def __init__(self, folder: Path) -> None:
        folder.mkdir()
        self.folder = folder
        self.program: tuple[str, ...] = (self.name, "--root", str(folder / "state"))
        self._numbers = count()

    def cli(self, *words: str) -> str:
        return command(*self.program, *words)

    def open(self) -> None:
        images.busybox_rootfs(self.folder / "rootfs")
        self._bundle("true", ["true"])
        self._bundle("sleep", list(SLEEP))

    def close(self) -> None:
        """Nothing runs between its commands."""

    def version(self) -> str:
        return command(self.name, "--version").splitlines()[0]

    def run(self) -> None:
        self.cli("run", "--bundle", str(self.folder / "true"), self._next())

    def start(self) -> str:
        container = self._next()
        # The container inherits standard output: a pipe to us would never close.
        words = ("run", "--detach", "--bundle", str(self.folder / "sleep"), container)
        command("sh", "-c", 'exec "$@" >/dev/null 2>&1', "sh", *self.program, *words)
        return container

    def remove(self, containers: list[str]) -> None:
        for container in containers:
            self.cli("delete", "--force", container)

    def exec(self, container: str) -> None:
        self.cli("exec", container, "true")

    def freeze(self, container: str) -> None:
        self.cli("pause", container)

    def thaw(self, container: str) -> None:
        self.cli("resume", container)

    def _next(self) -> str:
        return f"{self.name}-{next(self._numbers)}"

    def _bundle(self, name: str, arguments: list[str]) -> None:
        bundle = self.folder / name
        bundle.mkdir()
        command("runc", "spec", "--bundle", str(bundle))
        config: dict[str, Any] = json.loads((bundle / "config.json").read_text())
        config["root"]["path"] = str(self.folder / "rootfs")
        config["process"].update(terminal=False, args=arguments)
        # One for each bundle: crun kills whatever is in the cgroup of a container that ends.
        config["linux"]["cgroupsPath"] = f"{CGROUP_PARENT}/{self.name}-{name}"
        config["linux"]["resources"].update(
            memory={"limit": MEMORY_BYTES},
            cpu={"quota": int(CPUS * 100_000), "period": 100_000},
            pids={"limit": PIDS},
        )
        (bundle / "config.json").write_text(json.dumps(config))


class Crun(_Bundle):
    """Debian's crun refuses a cgroup2 hierarchy next to v1 ones when it has controllers.

    There it gets a mount namespace in which that hierarchy is covered; entering it adds an exec.
    """

    name = "crun"

    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        self._holder: subprocess.Popen[bytes] | None = None

    def open(self) -> None:
        controllers = _UNIFIED / "cgroup.controllers"
        if controllers.exists() and controllers.read_text().strip():
            cover = f"mount -t tmpfs none {_UNIFIED} && echo && exec sleep infinity"
            words = ["unshare", "--mount", "--propagation", "private", "sh", "-c", cover]
            self._holder = subprocess.Popen(words, stdout=subprocess.PIPE)
            assert self._holder.stdout is not None  # noqa: S101 - as asked for
            self._holder.stdout.readline()
            self.program = ("nsenter", f"--mount=/proc/{self._holder.pid}/ns/mnt", *self.program)
        super().open()

    def close(self) -> None:
        if self._holder is not None:
            self._holder.terminate()
            self._holder.wait()


class Runc(_Bundle):
    name = "runc"
