"""The library in a process that has a thousand descriptors open, as an agent has."""

import os
import subprocess
import sys

import pytest

pytestmark = [pytest.mark.system, pytest.mark.native]

PROGRAM = """
import os, resource, sys
from cgagent.network import lowfds
from cgagent.network.nftables import Nftables

resource.setrlimit(resource.RLIMIT_NOFILE, (4096, 4096))
if sys.argv[1] == "kept":
    lowfds.keep()
many = [os.open("/dev/null", os.O_RDONLY) for _ in range(1500)]
try:
    nft = Nftables()
except Exception as e:
    sys.exit(f"refused: {e}")
nft.run("add table inet cgagent-test-low")
nft.run("delete table inet cgagent-test-low")
print("done", max(many) > 1024)
"""


@pytest.mark.parametrize(
    ("kept", "said"), [("kept", "done True"), ("not", "no descriptor below 1024")]
)
def test_many_descriptors_do_not_end_the_process(kept, said):
    ran = subprocess.run(
        [sys.executable, "-c", PROGRAM, kept],
        check=False,
        capture_output=True,
        text=True,
        env={**os.environ, "PYTHONPATH": os.getcwd()},
    )
    assert said in ran.stdout + ran.stderr
    assert ran.returncode in {0, 1}, "it was not ended by a signal"
