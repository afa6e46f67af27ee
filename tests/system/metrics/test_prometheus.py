"""A real Prometheus scrapes a real agent: what dashboards and alerts make of it."""

import json
import os
import re
import statistics
import subprocess
import tempfile
import time
import urllib.request
from pathlib import Path

import pytest

from tests.world import debian, popular
from tests.world.agent import Agent, eventually
from tests.world.kernelclock import KernelClock
from tests.world.prometheus import RULES, SCRAPE_S, Prometheus, complaints

DASHBOARDS = Path(__file__).parents[3] / "grafana" / "dashboards"
WATCH_S = float(os.environ.get("CGAGENT_TEST_SCRAPE_S", "20"))
"""How long containers come and go under scrapes; 600 by hand."""
pytestmark = [pytest.mark.system, pytest.mark.native, pytest.mark.timeout(300 + 2 * WATCH_S)]

SAMPLE_S = 1.0
CORES = 0.2
PROJECT = "com.docker.compose.project"

BUSY = """
nc -lk -p 80 &
while :; do
    i=0; while [ $i -lt 20000 ]; do i=$((i+1)); done
    dd if=/dev/zero of=/f bs=64k count=4 conv=fsync 2>/dev/null
done
"""

SEEN = {
    "name": "seen",
    "select": {"name": "busy"},
    "when": {"detector": "pids-above", "above": 1},
    "grade": [{"action": "weight", "cpu": 50}],
}
"""A ruleset that is in force as soon as there is a container of that name."""


@pytest.fixture(scope="module")
def world(state_root, alpine_docker_archive):
    """An agent with containers in every state, and a Prometheus that has seen a while of it."""
    with (
        tempfile.TemporaryDirectory(dir=state_root) as root,
        Agent(
            Path(root), "--sample-full-interval", f"{SAMPLE_S}", "--metric-label", PROJECT
        ) as agent,
    ):
        agent.load(alpine_docker_archive)
        limits = {"memory_max_bytes": 64 << 20, "cpus": CORES, "pids_max": 50}
        team = {"limits": {"memory_max_bytes": 256 << 20}, "budget": "cpu=1h/1d"}
        agent.client.request("POST", "/v1/groups", {"name": "team", **team})
        agent.launch("sleep", "1000", name="member", group="team")
        busy = agent.launch(
            *("sh", "-c", BUSY),
            name="busy",
            limits={**limits, "net_rate_in_bits": 10**7},
            labels={PROJECT: "shop"},
            ports=[{"container_port": 80, "host_port": 8096}],
            reclaim="auto",
            budget="cpu=1h/1d",
        )
        agent.launch("sh", "-c", BUSY, name="reborn", limits=limits)
        agent.client.request("POST", "/v1/policies", {"ruleset": [SEEN]})
        cold = agent.launch("sleep", "1000", name="cold")
        agent.post(cold, "freeze")
        agent.launch("sh", "-c", "exit 3", name="failed")
        with (
            KernelClock(cpu_seconds(agent, busy)) as kernel,
            Prometheus(Path(root), agent.metrics) as prometheus,
        ):
            eventually(lambda: prometheus.query('container_threads{name="busy"}'))
            eat = "head -c 100000000 /dev/zero | tail"
            agent.launch("sh", "-c", eat, name="eater", limits={"memory_max_bytes": 32 << 20})
            begun = come_and_go(agent, time.monotonic() + WATCH_S / 2)
            agent.post("reborn", "restart")
            begun += come_and_go(agent, time.monotonic() + WATCH_S / 2)
            eventually(lambda: prometheus.query('rate(container_fs_io_current{name="busy"}[15s])'))
            print(f"\n{begun} containers came and went in {WATCH_S:.0f} s")
            yield agent, prometheus, kernel


def come_and_go(agent, until_s):
    """One after the other; how many."""
    begun = 0
    while time.monotonic() < until_s:
        agent.remove(agent.launch("sh", "-c", "echo x; sleep 0.3"))
        begun += 1
        time.sleep(0.5)
    return begun


def cpu_seconds(agent, container):
    """A reading of the kernel's own file."""
    usage = agent.cgroup_file(container, "cpuacct", v1="cpuacct.usage", v2="cpu.stat")

    def read():
        text = usage.read_text()
        if usage.name == "cpuacct.usage":
            return int(text) / 1e9
        return int(re.search(r"usage_usec (\d+)", text)[1]) / 1e6

    return read


def expressions():
    for path in sorted(DASHBOARDS.glob("*.json")):
        for panel in json.loads(path.read_text())["panels"]:
            for target in panel.get("targets", ()):
                yield pytest.param(target["expr"], id=f"{path.stem}: {panel['title']}")


@pytest.mark.parametrize("expr", list(expressions()))
def test_every_panel_has_data(world, expr):
    _, prometheus, _ = world
    for name, text in (("$job", ".+"), ("$instance", ".+"), ("$name", ".+")):
        expr = expr.replace(name, text)
    expr = expr.replace("$__rate_interval", "15s")
    assert prometheus.query(expr), expr


@pytest.mark.parametrize(
    ("board", "expr"),
    [
        pytest.param(board, expr, id=f"{board}: {expr.split('{')[0]}")
        for board, expr in popular.expressions("busy", "shop")
    ],
)
def test_dashboards_made_for_cadvisor_have_data(world, board, expr):
    _, prometheus, _ = world
    assert prometheus.query(expr), f"{board}: {expr}"


def test_dashboards_made_for_cadvisor_count_what_runs(world):
    """So 193's "Running containers": what has ended is no longer seen."""
    _, prometheus, _ = world
    running = {"busy", "reborn", "cold", "member"}
    seen = {s["metric"]["name"] for s in prometheus.query('container_last_seen{image!=""}')}
    assert running <= seen
    assert not {"failed", "eater"} & seen


def test_no_scrape_failed(world):
    agent, prometheus, _ = world
    assert prometheus.value("min_over_time(up[1h])") == 1, agent.log.read_text()[-3000:]
    (target,) = prometheus.targets()
    assert target["health"] == "up", target["lastError"]
    (longest,) = prometheus.query("max_over_time(scrape_duration_seconds[1h])")
    (count,) = prometheus.query("count_over_time(up[1h])")
    print(f"\n{count['value'][1]} scrapes, the longest {float(longest['value'][1]):.3f} s")


def test_what_is_scraped_at_the_end_is_well_formed(world):
    agent, _, _ = world
    with urllib.request.urlopen(f"http://{agent.metrics}/metrics", timeout=30) as answer:
        text = answer.read()
    assert text.count(b"\n") > 300
    assert complaints(debian.unpack("prometheus") / "usr" / "bin" / "promtool", text) == []


def test_counters_go_back_at_restarts_alone(world):
    _, prometheus, _ = world
    counters = [name for name in prometheus.names() if name.endswith("_total")]
    assert len(counters) > 50
    back = {
        (counter, series["metric"].get("name"))
        for counter in (*counters, "container_memory_failcnt")
        for series in prometheus.query(f"resets({counter}[1h]) > 0")
    }
    assert ("container_cpu_usage_seconds_total", "reborn") in back
    assert {name for _, name in back} == {"reborn"}, back


def test_rates_are_what_the_kernel_counted_within_a_sample(world):
    """Each sample is what the kernel had a sample before at most: so is the rate over them."""
    _, prometheus, kernel = world
    series = 'container_cpu_usage_seconds_total{name="busy", cpu="total"}'
    window_s = int(time.time() - kernel.began_s) - 1
    (found,) = prometheus.query(f"{series}[{window_s}s]")
    samples = [(float(at_s), float(value)) for at_s, value in found["values"]]
    behind_s = [at_s - kernel.reached_s(value) for at_s, value in samples if value]
    assert len(behind_s) >= WATCH_S / SCRAPE_S * 0.9
    assert statistics.median(behind_s) <= SAMPLE_S
    assert max(behind_s) <= SAMPLE_S + SCRAPE_S  # a scrape may take so long
    assert min(behind_s) >= -SCRAPE_S

    (from_s, first), (to_s, last) = samples[0], samples[-1]
    counted = kernel.at(to_s) - kernel.at(from_s)
    assert last - first == pytest.approx(counted, abs=CORES * 1.5 * SAMPLE_S)
    rate = prometheus.value(f"rate({series}[{int(to_s - from_s)}s] @ {to_s})")
    assert rate * (to_s - from_s) == pytest.approx(counted, abs=CORES * 1.5 * SAMPLE_S)
    print(
        f"\n{len(behind_s)} samples, behind the kernel by {min(behind_s):.2f} to "
        f"{max(behind_s):.2f} s, median {statistics.median(behind_s):.2f} s; "
        f"rate {rate:.4f} cores, by the kernel {counted / (to_s - from_s):.4f}"
    )


def test_a_container_that_lived_a_moment_is_told_of(world):
    agent, prometheus, _ = world
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
    _, prometheus, _ = world

    def arrived():
        return [
            a["labels"]
            for a in prometheus.alerts
            if a["labels"]["alertname"] == alert and a["labels"]["name"] == name
        ]

    eventually(arrived, f"{alert} of {name} did not come out of Alertmanager", 30)


def test_rules_and_their_tests():
    for arguments in (("check", "rules", RULES.name), ("test", "rules", "rules.test.yml")):
        promtool(*arguments)


def test_the_examples_are_valid():
    promtool("check", "config", "prometheus.yml")
    run("prometheus-alertmanager", "amtool", "check-config", "alertmanager.yml")


def promtool(*arguments, stdin=None):
    """What it printed; it must have had no complaint."""
    return run("prometheus", "promtool", *arguments, stdin=stdin)


def run(package, tool, *arguments, stdin=None):
    """One of a package's programs, where the examples are."""
    path = debian.unpack(package) / "usr" / "bin" / tool
    ran = subprocess.run(
        [str(path), *arguments], cwd=RULES.parent, input=stdin, capture_output=True, check=False
    )
    said = (ran.stdout + ran.stderr).decode()
    assert ran.returncode == 0, said
    return said


def test_scrapes_come_as_often_as_asked(world):
    _, prometheus, _ = world
    assert prometheus.value("count_over_time(up[10s])") >= 10 / SCRAPE_S * 0.7
