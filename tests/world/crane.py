"""crane, the registry client of another family than skopeo: it reads back what was pushed."""

from __future__ import annotations

import os
import shutil
import subprocess
import tempfile
from typing import TYPE_CHECKING, Final

from tests.world import cache, debian

if TYPE_CHECKING:
    from pathlib import Path

_VERSION: Final = "v0.15.2"
"""The last one that Debian 12's Go compiles."""
_MODULE: Final = f"github.com/google/go-containerregistry/cmd/crane@{_VERSION}"


def program() -> Path:
    return cache.build(f"crane-{_VERSION}", _compile)


def _compile(draft: Path) -> None:
    if shutil.which("go") is None:
        debian.install("golang-go")
    with tempfile.TemporaryDirectory(prefix="cgagent-go-") as scratch:
        places = {"GOPATH": scratch, "GOCACHE": f"{scratch}/cache", "GOBIN": f"{scratch}/bin"}
        only = {"GOTOOLCHAIN": "local", "GOFLAGS": "-modcacherw"}
        go = ["go", "install", _MODULE]
        subprocess.run(go, check=True, env={**os.environ, **places, **only})
        shutil.move(f"{scratch}/bin/crane", draft)


def validate(name: str) -> None:
    """Fetch an image whole; fails unless digests, sizes and diff ids are what they should be."""
    command = [str(program()), "validate", "--insecure", "--remote", name]
    done = subprocess.run(command, check=False, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
