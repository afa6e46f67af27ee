"""A real Prometheus scrapes a real agent: what dashboards and alerts make of it."""

import json
import os
import re
import subprocess
import tempfile
import time
from pathlib import Path

import pytest

from tests.world import debian, guest
from tests.world.agent import Agent, eventually
from tests.world.prometheus import RULES, SCRAPE_S, Prometheus

pytestmark = [pytest.mark.system, pytest.mark.native]

DASHBOARDS = Path(__file__).parents[3] / "grafana" / "dashboards"
WATCH_S = float(os.environ.get("CGAGENT_TEST_SCRAPE_S", "20"))
"""How long containers come and go under scrapes; 600 by hand."""

BUSY = """
while :; do
    i=0; while [ $i -lt 20000 ]; do i=$((i+1)); done
    dd if=/dev/zero of=/f bs=64k count=4 conv=fsync 2>/dev/null
done
"""


@pytest.fixture(scope="module")
def world(alpine_docker_archive):
    """An agent with containers in every state, and a Prometheus that has seen a while of it."""
    with (
        tempfile.TemporaryDirectory(dir=guest.STATE_FOLDER) as root,
        Agent(Path(root), "--sample-full-interval", "1") as agent,
    ):
        agent.load(alpine_docker_archive)
        limits = {"memory_max_bytes": 64 << 20, "cpus": 0.2, "pids_max": 50}
        agent.launch("sh", "-c", BUSY, name="busy", limits=limits)
        cold = agent.launch("sleep", "1000", name="cold")
        agent.post(cold, "freeze")
        agent.launch("sh", "-c", "exit 3", name="failed")
        with Prometheus(Path(root), agent.metrics) as prometheus:
            eventually(lambda: prometheus.query('container_threads{name="busy"}'))
            eat = "head -c 100000000 /dev/zero | tail"
            agent.launch("sh", "-c", eat, name="eater", limits={"memory_max_bytes": 32 << 20})
            began_s = time.monotonic()
            while time.monotonic() - began_s < WATCH_S:
                agent.remove(agent.launch("sh", "-c", "echo x; sleep 0.3"))
                time.sleep(0.5)
            eventually(lambda: prometheus.query('container_fs_usage_bytes{name="busy"}'))
            yield agent, prometheus


def expressions():
    for path in sorted(DASHBOARDS.glob("*.json")):
        for panel in json.loads(path.read_text())["panels"]:
            for target in panel.get("targets", ()):
                yield pytest.param(target["expr"], id=f"{path.stem}: {panel['title']}")


@pytest.mark.parametrize("expr", list(expressions()))
def test_every_panel_has_data(world, expr):
    _, prometheus = world
    for name, text in (("$job", ".+"), ("$instance", ".+"), ("$name", ".+")):
        expr = expr.replace(name, text)
    expr = expr.replace("$__rate_interval", "15s")
    assert prometheus.query(expr), expr


COUNTERS = (
    *("cpu_usage_seconds", "cpu_user_seconds", "cpu_system_seconds"),
    *("cpu_cfs_periods", "cpu_cfs_throttled_periods"),
    *("fs_reads_bytes", "fs_writes_bytes", "fs_reads", "fs_writes"),
    *("network_receive_bytes", "network_transmit_bytes"),
    *("network_receive_packets", "network_transmit_packets"),
    *("network_receive_packets_dropped", "network_transmit_packets_dropped"),
    *("network_receive_errors", "network_transmit_errors"),
    "oom_events",
)
GAUGES = (
    *("memory_usage_bytes", "memory_working_set_bytes", "memory_rss", "memory_cache"),
    *("memory_swap", "memory_failcnt", "fs_inodes_free", "fs_inodes_total"),
    *("spec_cpu_quota", "spec_cpu_period", "spec_memory_limit_bytes"),
    *("start_time_seconds", "last_seen"),
)


@pytest.mark.parametrize("selector", ['image!=""', 'name=~".+"', 'instance=~".+", name=~"busy"'])
def test_what_dashboards_made_for_cadvisor_ask_for(world, selector):
    """Names and labels that Grafana's 193, 14282 and 19792 read of containers."""
    _, prometheus = world
    for name in COUNTERS:
        series = f"container_{name}_total{{{selector}}}"
        assert prometheus.query(f"sum by (name) (rate({series}[15s]))"), series
    for name in GAUGES:
        series = f"container_{name}{{{selector}}}"
        assert prometheus.query(f"sum by (name) ({series})"), series
    assert prometheus.query("sum(machine_cpu_cores) + sum(machine_memory_bytes)")


def test_no_scrape_failed(world):
    _, prometheus = world
    assert prometheus.value("min_over_time(up[1h])") == 1
    (target,) = prometheus.targets()
    assert target["health"] == "up", target["lastError"]


@pytest.mark.parametrize("counter", [*COUNTERS, "memory_failures"])
def test_counters_never_go_back(world, counter):
    _, prometheus = world
    assert prometheus.query(f"resets(container_{counter}_total[1h]) > 0") == []


def test_rates_are_what_the_kernel_counted(world):
    agent, prometheus = world
    busy = agent.detail("busy")["id"]
    usage = agent.cgroup_file(busy, "cpuacct", v1="cpuacct.usage", v2="cpu.stat")

    def kernel_s():
        text = usage.read_text()
        if usage.name == "cpuacct.usage":
            return int(text) / 1e9
        return int(re.search(r"usage_usec (\d+)", text)[1]) / 1e6

    before, began_s = kernel_s(), time.monotonic()
    time.sleep(10)
    counted = (kernel_s() - before) / (time.monotonic() - began_s)
    rate = prometheus.value(
        'rate(container_cpu_usage_seconds_total{name="busy", cpu="total"}[10s])'
    )
    assert rate == pytest.approx(counted, rel=0.25)  # its figures are up to 1 s old


def test_a_container_that_lived_a_moment_is_told_of(world):
    agent, prometheus = world
    brief = agent.launch(
        "sh", "-c", "head -c 20000000 /dev/zero | tail >/dev/null; exit 5", name="brief"
    )
    agent.wait(brief)
    eventually(lambda: prometheus.value('cgagent_container_exit_code{name="brief"}') == 5)
    eventually(lambda: prometheus.query('container_cpu_usage_seconds_total{name="brief"} > 0'))
    peak = f'container_memory_max_usage_bytes{{name="brief"}} > {16 << 20}'
    eventually(lambda: prometheus.query(peak))
    agent.remove(brief)
    eventually(lambda: not prometheus.query('cgagent_container_exit_code{name="brief"}'))


@pytest.mark.parametrize(
    ("alert", "name"),
    [("CgagentContainerOomKilled", "eater"), ("CgagentContainerThrottled", "busy")],
)
def test_alerts_arrive(world, alert, name):
    _, prometheus = world

    def arrived():
        return [
            a["labels"]
            for a in prometheus.alerts
            if a["labels"]["alertname"] == alert and a["labels"]["name"] == name
        ]

    eventually(arrived, f"{alert} of {name} did not come out of Alertmanager", 30)


def test_rules_and_their_tests():
    promtool = debian.unpack("prometheus") / "usr" / "bin" / "promtool"
    for arguments in (("check", "rules", RULES.name), ("test", "rules", "rules.test.yml")):
        ran = subprocess.run(
            [str(promtool), *arguments],
            cwd=RULES.parent,
            capture_output=True,
            text=True,
            check=False,
        )
        assert ran.returncode == 0, ran.stdout + ran.stderr


def test_scrapes_come_as_often_as_asked(world):
    _, prometheus = world
    assert prometheus.value("count_over_time(up[10s])") >= 10 / SCRAPE_S * 0.7
