"""Hostile clients of both listeners: another's request is served, and the memory stays bounded.

The figures are for `python -m benchmarks.door`, which does the same at length.
"""

import subprocess
import urllib.request
from pathlib import Path

import pytest

from tests.world import flood
from tests.world.agent import SLOWNESS, eventually

pytestmark = [pytest.mark.system, pytest.mark.native]

METRICS = ("pipelines", "half-requests", "endless-header", "many-headers", "idle")
MOST_MIB = 150


@pytest.fixture
def attack():
    running = []

    def begin(kind, address, count):
        running.append(subprocess.Popen(flood.command(kind, address, count, 0.6 * SLOWNESS)))

    yield begin
    for process in running:
        process.kill()
        process.wait()


def resident_mib(pid):
    return int(Path(f"/proc/{pid}/statm").read_text().split()[1]) / 256


def scraped(agent):
    try:
        with urllib.request.urlopen(f"http://{agent.metrics}/metrics", timeout=10) as answer:
            return b"cgagent_build_info" in answer.read()
    except OSError:
        return False


@pytest.mark.parametrize("kind", METRICS)
def test_strangers_at_the_metrics_port(agent, container, attack, kind):
    victim = container("sleep", "99")
    before = resident_mib(agent.pid)
    attack(kind, agent.metrics, 100)
    for _ in range(5):
        agent.post(victim, "freeze")
        agent.post(victim, "thaw")
    eventually(lambda: scraped(agent), "no scrape comes through")
    assert resident_mib(agent.pid) < before + MOST_MIB


@pytest.mark.parametrize("kind", ["pipelines", "upgrade-body", "upgrade-rest"])
def test_a_flood_over_the_control_socket(agent, container, attack, kind):
    victim = container("sleep", "99", name="victim")
    before = resident_mib(agent.pid)
    attack(kind, str(agent.socket), 8)
    for _ in range(5):
        agent.post(victim, "freeze")
        agent.post(victim, "thaw")
    assert resident_mib(agent.pid) < before + MOST_MIB
