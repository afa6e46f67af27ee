"""The example on the library's page, as a reader would run it."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from tests.world.naming import cgroup_path

pytestmark = pytest.mark.system

ROOT = Path(__file__).parents[3]
PAGE = ROOT / "docs" / "cgroups.md"


@pytest.fixture
def example():
    (code,) = re.findall(r"^```python\n(.*?)^```", PAGE.read_text(), re.DOTALL | re.MULTILINE)
    assert len(code.splitlines()) <= 40
    assert set(re.findall(r"from (cgagent\S*)", code)) == {"cgagent.cgroups"}
    return code


@pytest.mark.parametrize(
    ("command", "expected"),
    [
        (["sh", "-c", "i=0; while [ $i -lt 99999 ]; do i=$((i+1)); done"], "exit status 0"),
        ([sys.executable, "-S", "-c", 'x = b"x" * (96 << 20)'], "exit status -9"),
    ],
)
def test_the_example(fs, example, command, expected):
    path = cgroup_path()
    ran = subprocess.run(
        [sys.executable, "-c", example, path, *command],
        capture_output=True,
        text=True,
        timeout=60 * fs.SLOWNESS,
        cwd=ROOT,
        check=False,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
    )
    assert ran.returncode == 0, ran.stderr
    assert ran.stderr == ""
    assert "rounded or changed by others: ()" in ran.stdout
    assert expected in ran.stdout
    frozen_ns = int(re.search(r"while frozen: (\d+) ns", ran.stdout)[1])
    assert frozen_ns < 0.05e9 * fs.SLOWNESS
    if "-9" in expected:
        assert f"1 killed by the limit of {path}" in ran.stdout
