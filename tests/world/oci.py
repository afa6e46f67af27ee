"""`cgagent oci` on bundles with busybox in them, below a state root of the test's own."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
from pathlib import Path
from typing import Any

from cgagent.cgroups import Host
from cgagent.runtime import spec
from tests.world import images, naming

PROGRAM = str(Path(sys.executable).with_name("cgagent-oci"))
PATH = "PATH=/usr/sbin:/usr/bin:/sbin:/bin"


class Oci:
    """The runtime with one state root; `bundle` makes bundles below `folder`."""

    def __init__(self, folder: Path, slowness: float) -> None:
        self.folder = folder
        self.root = folder / "state"
        self.group = naming.cgroup_path()
        self._timeout_s = 30 * slowness
        self._count = 0

    def __call__(
        self, *words: str, check: bool = True, **options: Any
    ) -> subprocess.CompletedProcess[str]:
        """Run a command line; output of containers that outlive it goes to files."""
        out, err = self.folder / "out", self.folder / "err"
        with out.open("w") as stdout, err.open("w") as stderr:
            done = subprocess.run(
                [PROGRAM, "--root", str(self.root), *words],
                check=False,
                stdin=options.pop("stdin", subprocess.DEVNULL),
                stdout=stdout,
                stderr=stderr,
                timeout=self._timeout_s,
                **options,
            )
        result = subprocess.CompletedProcess(
            done.args, done.returncode, out.read_text(), err.read_text()
        )
        if check:
            assert result.returncode == 0, result.stderr
        return result

    def config(self, *args: str) -> dict[str, Any]:
        """A configuration to be changed: every namespace its own, no limits, no filter."""
        process = spec.Process(args=args, env=(PATH,))
        plan = spec.Plan(process=process, hostname="box", cgroup_path=f"{self.group}/box")
        config = spec.build(plan)
        config["process"]["user"] = {"uid": 0, "gid": 0}
        del config["linux"]["seccomp"]
        return config

    def sh(self, script: str) -> dict[str, Any]:
        return self.config("sh", "-c", script)

    def bundle(self, config: dict[str, Any]) -> Path:
        self._count += 1
        folder = self.folder / f"bundle{self._count}"
        (folder / "rootfs").mkdir(parents=True)
        images.busybox_rootfs(folder / "rootfs")
        for name in ("etc", "tmp", "root"):
            (folder / "rootfs" / name).mkdir(exist_ok=True)
        (folder / "config.json").write_text(json.dumps(config))
        return folder

    def run(self, config: dict[str, Any], *flags: str) -> subprocess.CompletedProcess[str]:
        """In the foreground, whatever comes of it."""
        bundle = self.bundle(config)
        return self("run", "--bundle", str(bundle), *flags, "box", check=False)

    def output(self, config: dict[str, Any]) -> str:
        result = self.run(config)
        assert result.returncode == 0, result.stderr
        return result.stdout

    def refused(self, config: dict[str, Any]) -> str:
        """The error of a container that could not be made; nothing of it may be left."""
        result = self.run(config)
        assert result.returncode == 1, result.stdout
        assert not list(self.root.glob("*"))
        assert not Host.detect().group(f"{self.group}/box").exists()
        return result.stderr

    def terminal(self, bundle: Path, lines: int) -> bytes:
        """The first lines on the terminal of a container that goes on."""
        path = str(self.folder / "console")
        with socket.socket(socket.AF_UNIX) as listener:
            listener.bind(path)
            listener.listen()
            listener.settimeout(self._timeout_s)
            self("run", "-d", "--console-socket", path, "-b", str(bundle), "box")
            connection, _ = listener.accept()
            with connection:
                _, (master,), _, _ = socket.recv_fds(connection, 100, 1)
        text = b""
        try:
            while text.count(b"\n") < lines:
                text += os.read(master, 100)
        finally:
            os.close(master)
        return text

    def state(self, name: str = "box") -> dict[str, Any]:
        found: dict[str, Any] = json.loads(self("state", name).stdout)
        return found

    def close(self) -> None:
        for entry in self.root.glob("*"):
            self("delete", "--force", entry.name)
        group = Host.detect().group(self.group)
        if group.exists():
            group.remove()
