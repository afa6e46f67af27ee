"""``make demo-monitoring``: agent, workload and Prometheus, and where to look."""

import os
import re
import subprocess
from pathlib import Path

import pytest

from tests.world import debian
from tests.world.agent import free_port
from tests.world.naming import cgroup_path

pytestmark = [pytest.mark.system, pytest.mark.native]

DEMO = Path(__file__).parents[3] / "deploy" / "demo-monitoring"


def test_it_shows_figures_and_says_where_to_look(data_root):
    prometheus = debian.unpack("prometheus") / "usr" / "bin"
    metrics, port = f"127.0.0.1:{free_port()}", str(free_port())
    settings = {
        "CGAGENT_DATA_ROOT": str(data_root / "root"),
        "CGAGENT_SOCKET": str(data_root / "cgagent.sock"),
        "CGAGENT_CGROUP_PARENT": cgroup_path(),
        "CGAGENT_METRICS_LISTEN": metrics,
        "DEMO_PROMETHEUS_PORT": port,
        "PATH": f"{prometheus}:{os.environ['PATH']}",
    }
    ran = subprocess.run(
        [str(DEMO), "--once"],
        env={**os.environ, **settings},
        capture_output=True,
        text=True,
        timeout=200,
        check=False,
    )
    assert ran.returncode == 0, ran.stdout + ran.stderr
    assert re.search(r"^demo-busy +0\.[0-9]*[1-9]", ran.stdout, re.MULTILINE), ran.stdout
    assert f"http://127.0.0.1:{port}/graph" in ran.stdout
    assert f"http://{metrics}/metrics" in ran.stdout
