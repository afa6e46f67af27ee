r"""A line ends at ``\n``: names and values may hold all else that `str.splitlines` cuts at."""

import ast
import re
from pathlib import Path

import pytest

import cgagent
from cgagent.cgroups import Host
from cgagent.cgroups.membership import Membership
from cgagent.cli import create_values

NAMED = re.compile(rb"\b(?:split|read)lines\b")
PACKAGE = Path(cgagent.__file__).parent
ODD = ["a\fb", "a\x1cb", "a\x85b", "a\u2028b", "a\rb", "a\udcffb"]
"""The last is a byte that is not UTF-8."""


def test_nobody_calls_splitlines():
    r"""Use ``split("\n")``, or `cgagent.cgroups.files.lines` for the kernel's files."""
    named = (path for path in PACKAGE.rglob("*.py") if NAMED.search(path.read_bytes()))
    called = [
        f"{path}:{node.lineno}"
        for path in named
        for node in ast.walk(ast.parse(path.read_bytes()))
        if isinstance(node, ast.Attribute) and node.attr in {"splitlines", "readlines"}
    ]
    assert called == []


@pytest.mark.parametrize("name", ODD)
def test_a_host_with_an_odd_name_is_understood(monkeypatch, tmp_path, name):
    files = {
        "proc/self/mountinfo": (
            f"24 1 0:22 / /mnt/{name} rw - tmpfs none rw\n"
            f"35 24 0:30 / /{name} rw shared:9 - cgroup2 cgroup2 rw\n"
        ),
        "proc/self/cgroup": f"0::/{name}\n",
        f"{name}/cgroup.controllers": "memory\n",
    }
    for path, text in files.items():
        file = tmp_path / path
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(text.encode("utf-8", "surrogateescape"))
    host = Host.detect(str(tmp_path))
    place = host.placements["memory"]
    assert (place.mount, place.own_path) == (f"{tmp_path}/{name}", f"/{name}")
    # and a process that is in such a group
    monkeypatch.setattr("cgagent.cgroups.files.read", lambda _: f"0::/in {name}\n")
    assert Membership.of(host, 1).directories == (f"{tmp_path}/{name}/in {name}",)


@pytest.mark.parametrize("name", ODD[:-1])
def test_a_value_of_an_env_file_is_whole(tmp_path, name):
    file = tmp_path / "env"
    file.write_bytes(f"A={name}\r\nB=1\n".encode())
    assert create_values.lines([str(file)], "env") == [f"A={name}", "B=1"]
