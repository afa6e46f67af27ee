"""The commands of an installed wheel: quick to start, also through a link as of tool installers."""

from __future__ import annotations

import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

from tests.world import hosts

pytestmark = [pytest.mark.system, pytest.mark.native]

PROJECT = Path(__file__).parents[2]


def run(*words):
    done = subprocess.run(words, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.fixture(scope="module")
def installed(tmp_path_factory):
    """The programs of an environment that has the wheel and none of its dependencies."""
    folder = tmp_path_factory.mktemp("wheel")
    pip = (sys.executable, "-m", "pip", "--quiet", "--disable-pip-version-check")
    with hosts.in_the_machines_network():
        run(*pip, "wheel", "--no-deps", "--wheel-dir", folder, PROJECT)
    (wheel,) = folder.glob("*.whl")
    with zipfile.ZipFile(wheel) as archive:
        files = set(archive.namelist())
    static = PROJECT / "cgagent" / "api" / "web" / "static"
    page = {str(f.relative_to(PROJECT)) for f in static.rglob("*") if f.is_file()}
    assert page <= files
    run(sys.executable, "-m", "venv", "--without-pip", folder / "environment")
    programs = folder / "environment" / "bin"
    run(*pip, "--python", programs / "python", "install", "--no-deps", wheel)
    return programs


def test_the_commands_start_without_the_site_module(installed, tmp_path):
    link = tmp_path / "called-otherwise"
    link.symlink_to(installed / "cgagent")
    for program in (installed / "cgagent", link):
        assert run(program, "--version") == "cgagent 0.1.0\n"
    assert run(installed / "cgagent-oci", "--version").startswith("cgagent-oci version 0.1.0\n")
    traced = subprocess.run(
        ["sh", "-x", installed / "cgagent", "--version"], capture_output=True, text=True, check=True
    )
    assert f"exec {installed}/python3." in traced.stderr
    assert " -IS " in traced.stderr
