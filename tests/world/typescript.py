"""Grafana's published types and a TypeScript compiler, from npm, in the cache."""

from __future__ import annotations

import shutil
import subprocess
from typing import TYPE_CHECKING

from tests.world import cache, debian

if TYPE_CHECKING:
    from pathlib import Path

_PACKAGES = ("typescript@^5.9", "@grafana/schema@^11.6")


def unpack() -> Path:
    """The folder whose node_modules holds them."""
    return cache.build("grafana-schema", _install)


def _install(folder: Path) -> None:
    if shutil.which("npm") is None:
        debian.install("nodejs", "npm")
    folder.mkdir(exist_ok=True)
    flags = ("--silent", "--no-audit", "--no-fund", "--prefix", str(folder))
    subprocess.run(["npm", "install", *flags, *_PACKAGES], check=True, cwd=folder)


def complaints(folder: Path, *files: str) -> str:
    """What the compiler says of files below `folder`, which has a link to node_modules."""
    tsc = ["node", "node_modules/typescript/bin/tsc", "--noEmit", "--strict", "--skipLibCheck"]
    how = ["--moduleResolution", "bundler", "--module", "esnext"]
    ran = subprocess.run(
        [*tsc, *how, *files], cwd=folder, capture_output=True, text=True, check=False
    )
    return ran.stdout + ran.stderr
