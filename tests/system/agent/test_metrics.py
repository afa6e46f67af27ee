"""What Prometheus finds: the containers' figures, well-formed, and nothing else to do there."""

import contextlib
import http.client
import os
import re
import time
from pathlib import Path

import pytest

from cgagent.cgroups import Host
from tests.world import debian
from tests.world.agent import SLOWNESS, Agent, eventually
from tests.world.naming import cgroup_path
from tests.world.prometheus import complaints

pytestmark = pytest.mark.system

ODD = os.fsdecode(b"odd\x1b[2J\xff")


def get(agent, path="/metrics", method="GET", **headers):
    host, _, port = agent.metrics.rpartition(":")
    connection = http.client.HTTPConnection(host, int(port), timeout=30)
    try:
        connection.request(method, path, headers=headers)
        answer = connection.getresponse()
        return answer.status, answer.headers["content-type"], answer.read().decode()
    finally:
        connection.close()


def value(text, family, **labels):
    """The value of the one line that has these labels; None if there is none."""
    for line in text.splitlines():
        if line.startswith(family + "{") and all(f'{k}="{v}"' in line for k, v in labels.items()):
            return float(line.rpartition(" ")[2])
    return None


def test_a_containers_figures(agent, container):
    limits = {"memory_max_bytes": 64 << 20, "cpus": 0.25, "pids_max": 50}
    one = container("sh", "-c", "while :; do :; done", name="busy", limits=limits)
    eventually(lambda: value(get(agent)[2], "container_cpu_usage_seconds_total", name="busy"))
    text = get(agent)[2]
    assert value(text, "container_spec_memory_limit_bytes", name="busy") == 64 << 20
    assert value(text, "container_spec_cpu_quota", name="busy") == 25000
    assert value(text, "container_memory_usage_bytes", name="busy") > 0
    line = next(x for x in text.splitlines() if 'name="busy"' in x)
    assert one in line
    assert 'image="alpine"' in line
    agent.remove(one)
    assert 'name="busy"' not in get(agent)[2]


def test_groups_above_containers_have_figures_without_a_name(agent, container):
    """As cAdvisor's raw containers: dashboards about the machine ask for id="/"."""
    container("sleep", "1000", name="below")
    lines = eventually(lambda: above(agent, agent.cgroup_parent), "the agent's own group")
    assert 'container_cpu_usage_seconds_total{id="/",cpu="total"}' in get(agent)[2]
    for line in lines + above(agent, "/"):
        assert "name=" not in line
        assert "image=" not in line
    assert not [x for x in lines if x.startswith("cgagent_")]
    names = [one["name"] for one in agent.client.request("GET", "/v1/stats")]
    assert "" not in names


def above(agent, path):
    lines = get(agent)[2].splitlines()
    return [x for x in lines if f'{{id="{path}"' in x and x.startswith("container_memory_rss")]


@pytest.mark.native
def test_what_has_no_file_of_the_kernels(agent, container):
    """The log's size, volumes' sizes, caps of IO, and when limits were changed."""
    disk = next(iter(Path("/sys/block").glob("[sv]d*")), None)
    limits = {}
    if disk is not None:
        major, minor = (disk / "dev").read_text().split(":")
        limits = {"io_max": [{"major": int(major), "minor": int(minor), "wbps": 9_000_000}]}
    mounts = [{"type": "volume", "source": "sized", "destination": "/data"}]
    script = "head -c 50000 /dev/zero | tee /data/zeros | tr '\\0' 'x'; exec sleep 1000"
    one = container("sh", "-c", script, name="sized", limits=limits, mounts=mounts)
    series = "cgagent_container_limits_changed_timestamp_seconds"
    assert value(get(agent)[2], series, name="sized") is None
    before_s = time.time()
    agent.post(one, "update", {"pids_max": 77})
    text = get(agent)[2]
    assert before_s <= value(text, series, name="sized") <= time.time()
    cap = value(text, "cgagent_container_spec_io_write_bps_limit", name="sized")
    assert cap == (9_000_000 if limits else None)
    size = "cgagent_container_log_size_bytes"
    assert eventually(lambda: value(get(agent)[2], size, name="sized"), size) > 40_000
    volume = "cgagent_volume_size_bytes"
    used = eventually(lambda: value(get(agent)[2], volume, volume="sized"), volume, 70)
    assert used >= 50_000
    agent.remove(one)
    agent.client.request("DELETE", "/v1/volumes/sized")


@pytest.mark.native
def test_a_moment_of_life_is_shown_after_its_end(agent, container):
    """What it used and how it ended: the last reading is made before its cgroup goes."""
    fill = "x=$(head -c 12000000 /dev/zero | tr '\\0' x); exit 5"
    brief = container("sh", "-c", fill, name="brief")
    small = {"memory_max_bytes": 16 << 20, "memory_swap_max_bytes": 0}
    eaten = container("sh", "-c", "exec tail /dev/zero", name="eaten", limits=small)
    assert agent.wait(brief) == 5
    agent.wait(eaten)
    eventually(lambda: not {brief, eaten} & agent.cgroups())
    text = get(agent)[2]
    assert value(text, "container_cpu_usage_seconds_total", name="brief") > 0.005
    assert value(text, "container_memory_max_usage_bytes", name="brief") > 12e6
    assert value(text, "cgagent_container_exit_code", name="brief") == 5
    assert value(text, "cgagent_container_oom_killed", name="brief") is None
    eventually(lambda: value(get(agent)[2], "container_threads", name="brief") is None)
    assert value(text, "container_oom_events_total", name="eaten") >= 1
    group = agent.detail(eaten)["cgroup_path"]
    assert value(text, "cgagent_container_oom_killed", name="eaten", limiting_group=group) == 1


def test_frozen_is_shown(agent, container):
    container("sleep", "1000", name="cold")
    agent.post("cold", "freeze")
    text = get(agent)[2]
    states = [x for x in text.splitlines() if 'name="cold"' in x and "frozen" in x]
    assert states, text[:2000]
    assert states[0].endswith(" 1") or states[0].endswith(" 1.0")


def test_prometheus_finds_it_well_formed(agent, container):
    container("sleep", "1000", name="seen")
    container("false", name="failed")
    eventually(lambda: value(get(agent)[2], "container_fs_inodes_total", name="seen"))
    promtool = debian.unpack("prometheus") / "usr" / "bin" / "promtool"
    if not promtool.exists():
        pytest.skip("no promtool")
    assert complaints(promtool, get(agent)[2].encode()) == []


@pytest.mark.native
def test_both_formats(agent):
    assert get(agent)[1].startswith("text/plain; version=")
    asked = "application/openmetrics-text; version=1.0.0"
    _, kind, text = get(agent, Accept=asked)
    assert kind.startswith("application/openmetrics-text")
    assert text.endswith("# EOF\n")


@pytest.mark.native
def test_nothing_else_is_served_there(agent):
    assert get(agent, "/-/healthy")[0] == 200
    for path in ("/", "/v1/info", "/v1/containers", "/docs", "/openapi.json", "/metrics/x"):
        assert get(agent, path)[0] == 404, path
    for method in ("POST", "PUT", "DELETE", "PATCH"):
        assert get(agent, "/metrics", method)[0] == 405, method
        assert get(agent, "/v1/containers", method)[0] == 405, method


@pytest.mark.native
def test_an_upgrade_there_leads_nowhere(agent, container):
    one = container("sleep", "1000")
    path = f"/v1/containers/{one}/exec"
    status, _, _ = get(agent, path, "POST", Connection="Upgrade", Upgrade="tcp")
    assert status == 405


@pytest.mark.native
def test_the_control_socket_has_them_too(agent, container):
    container("sleep", "1000", name="both")
    connection = agent.client.connect()
    with connection.socket:
        connection.send("GET", "/metrics", None)
        status, headers = connection.head()
        text = b"".join(connection.pieces(headers)).decode()
    assert status == 200
    assert 'name="both"' in text


@pytest.mark.native
def test_labels_that_are_chosen_and_groups_of_any_name(data_root, alpine_docker_archive):
    """CAdvisor's --whitelisted_container_labels; and no name of a group breaks a scrape."""
    parent = Host.detect().group(cgroup_path())
    odd = parent.host.group(f"{parent.path}/{ODD}")
    flags = ("--metric-label", "a.team", "--watch", f"{parent.path}/*")
    with contextlib.ExitStack() as stack:
        for group in (parent, odd):
            group.create()
            stack.callback(group.remove, 10 * SLOWNESS)
        agent = stack.enter_context(Agent(data_root, *flags))
        agent.load(alpine_docker_archive)
        labels = {"a.team": 'sh"op', "commit": "1f0c"}
        agent.launch("sleep", "1000", name="one", labels=labels)
        line = eventually(lambda: threads_of(agent, "one"))
        assert 'container_label_a_team="sh\\"op"' in line[0]
        assert "commit" not in line[0]
        eventually(lambda: threads_of(agent, "odd"))
        shown = agent.cli("stats", "--no-stream").stdout
        assert r"odd\x1b[2J\xff" in shown
        assert all(x.isprintable() for x in shown.splitlines())


def threads_of(agent, name):
    lines = get(agent)[2].splitlines()
    return [x for x in lines if x.startswith("container_threads{") and f'name="{name}' in x]


@pytest.mark.native
def test_jobs_are_timed(agent):
    agent.run("true")
    text = get(agent)[2]
    assert re.search(r'^cgagent_job\w*_count\{.*kind="start".*\} [1-9]', text, re.MULTILINE)
