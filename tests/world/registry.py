"""Debian's docker-registry on a loopback port, for as long as a test needs one."""

from __future__ import annotations

import json
import os
import shutil
import socket
import subprocess
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

from tests.world import alpine, cache, debian, images

if TYPE_CHECKING:
    from types import TracebackType

_SLOWNESS = float(os.environ.get("CGAGENT_TEST_SLOWNESS", "1"))
REPOSITORY = "library/alpine"
TAGS = ("latest", alpine.VERSION)


class Registry:
    """A registry with storage of its own; entering starts it, leaving ends it.

    `seed` is a storage folder to begin with, such as `alpine_storage()`; it is copied. `more` is
    put into its configuration.
    """

    def __init__(self, seed: Path | None = None, **more: dict[str, Any]) -> None:
        self._more = more
        self._program = debian.unpack("docker-registry") / "usr" / "bin" / "docker-registry"
        self._seed = seed
        self._folder: tempfile.TemporaryDirectory[str] | None = None
        self._process: subprocess.Popen[bytes] | None = None
        self.address = ""
        """``127.0.0.1:PORT`` while it runs."""

    @property
    def storage(self) -> Path:
        if self._folder is None:
            raise RuntimeError("the registry is not running")
        return Path(self._folder.name) / "storage"

    def __enter__(self) -> Self:
        self._folder = tempfile.TemporaryDirectory(prefix="cgagent-registry-")
        try:
            if self._seed is not None:
                shutil.copytree(self._seed, self.storage)
            self._start(Path(self._folder.name))
        except BaseException:
            self._stop()
            raise
        return self

    def __exit__(
        self,
        _kind: type[BaseException] | None,
        _error: BaseException | None,
        _trace: TracebackType | None,
    ) -> None:
        self._stop()

    def _start(self, folder: Path) -> None:
        with socket.create_server(("127.0.0.1", 0)) as probe:
            self.address = f"127.0.0.1:{probe.getsockname()[1]}"
        config: dict[str, Any] = {
            "version": 0.1,
            "log": {"level": "warn", "accesslog": {"disabled": True}},
            "storage": {
                "filesystem": {"rootdirectory": str(self.storage)},
                "delete": {"enabled": True},
            },
            **self._more,
            "http": {"addr": self.address, **self._more.get("http", {})},
        }
        (folder / "config.yml").write_text(json.dumps(config))  # JSON is YAML
        with (folder / "log").open("wb") as log:
            command = [str(self._program), "serve", str(folder / "config.yml")]
            self._process = subprocess.Popen(command, stdout=log, stderr=log)
        deadline = time.monotonic() + 10 * _SLOWNESS
        while not self._answers():
            if self._process.poll() is not None or time.monotonic() > deadline:
                raise RuntimeError(f"docker-registry: {(folder / 'log').read_text()}")
            time.sleep(0.02)

    def _answers(self) -> bool:
        host, _, port = self.address.rpartition(":")
        try:
            with socket.create_connection((host, int(port)), 5 * _SLOWNESS):
                return True
        except OSError:
            return False

    def _stop(self) -> None:
        if self._process is not None:
            self._process.terminate()
            self._process.wait()
        if self._folder is not None:
            self._folder.cleanup()
        self._process = self._folder = None


def alpine_storage() -> Path:
    """Storage that holds ``library/alpine`` under `TAGS`, pushed once by skopeo."""
    return cache.build("registry-storage", _push_alpine)


def _push_alpine(draft: Path) -> None:
    debian.install("skopeo")
    with Registry() as registry:
        source = f"docker-archive:{images.alpine_docker_archive()}"
        for tag in TAGS:
            target = f"docker://{registry.address}/{REPOSITORY}:{tag}"
            push = ["skopeo", "copy", "--quiet", "--dest-tls-verify=false", source, target]
            subprocess.run(push, check=True)
        shutil.copytree(registry.storage, draft)
