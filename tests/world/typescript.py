"""Grafana's published types and a TypeScript compiler, from npm, in the cache.

`pagetypes` has as much of the types of what the page ships of others as the page needs.
"""

from __future__ import annotations

import shutil
import subprocess
import tempfile
from pathlib import Path

from tests.world import cache, debian

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


def complaints_of_page(page: Path) -> str:
    """What the compiler says of the types in comments of the page, whose ``main.js`` is there."""
    with tempfile.TemporaryDirectory() as made:
        copy = Path(made) / "page"
        shutil.copytree(page, copy, ignore=shutil.ignore_patterns("vendor"))
        shutil.copytree(Path(__file__).parent / "pagetypes", copy / "vendor")
        (copy / "node_modules").symlink_to(unpack() / "node_modules")
        lib = ("--target", "es2022", "--lib", "es2023,dom,dom.iterable", "--noUnusedLocals")
        return complaints(copy, "--allowJs", "--checkJs", *lib, "main.js")
