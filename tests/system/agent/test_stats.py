"""A container's figures over the API: the recent past, streams, and Docker's form."""

import json
import time

import pytest

from tests.world.agent import SLOWNESS, eventually

pytestmark = pytest.mark.system

BUSY = ("sh", "-c", "while :; do :; done")


def pieces(agent, path):
    """What a stream brings, until it ends."""
    connection = agent.client.connect()
    with connection.socket:
        connection.socket.settimeout(60 * SLOWNESS)
        connection.send("GET", path, None)
        status, headers = connection.head()
        assert status == 200
        yield headers["content-type"].partition(";")[0]
        yield from connection.pieces(headers)


def test_the_recent_past(agent, container):
    one = container(*BUSY, limits={"cpus": 0.3})
    path = f"/v1/containers/{one}/stats?since="
    eventually(lambda: len(agent.client.request("GET", f"{path}0")["rows"]) >= 4)
    past = agent.client.request("GET", f"{path}0")
    times = [row[0] for row in past["rows"]]
    assert times == sorted(times)
    cores = past["columns"].index("cpu_cores")
    assert 0.05 < past["rows"][-1][cores] < 0.6
    later = agent.client.request("GET", f"{path}{times[1] + 0.01}")["rows"]
    assert [row[0] for row in later][: len(times) - 2] == times[2:]


@pytest.mark.native
def test_an_event_for_each_sample_until_it_ends(agent, container):
    one = container("sh", "-c", f"sleep {3 * SLOWNESS}")
    kind, *events = pieces(agent, f"/v1/containers/{one}/stats?stream=true")
    assert kind == "text/event-stream"
    figures = [json.loads(event.partition(b"data: ")[2]) for event in events]
    assert len(figures) >= 2
    assert {f["id"] for f in figures} == {one}
    assert figures[-1]["at_s"] > figures[0]["at_s"]


def test_the_cpu_and_memory_that_docker_would_show(agent, container):
    limits = {"cpus": 0.3, "memory_max_bytes": 64 << 20, "pids_max": 50}
    one = container(*BUSY, name="busy", limits=limits)
    path = f"/v1/containers/{one}/stats?format=docker"
    eventually(lambda: agent.client.request("GET", path)["precpu_stats"].get("online_cpus"))
    time.sleep(2 * SLOWNESS)
    stats = agent.client.request("GET", path)
    assert (stats["id"], stats["name"]) == (one, "/busy")
    assert stats["read"] > stats["preread"] > "2"
    assert 5 < docker_cpu_percent(stats) < 60
    assert stats["cpu_stats"]["throttling_data"]["throttled_periods"] > 0
    memory = stats["memory_stats"]
    assert memory["limit"] == 64 << 20
    assert 0 <= memory["usage"] - memory["stats"]["inactive_file"] < 64 << 20
    assert stats["pids_stats"] == {"current": 1, "limit": 50}
    assert "lo" not in stats["networks"]


def docker_cpu_percent(stats):
    """As docker's client reckons it."""
    now, before = stats["cpu_stats"], stats["precpu_stats"]
    used = now["cpu_usage"]["total_usage"] - before["cpu_usage"]["total_usage"]
    passed = now["system_cpu_usage"] - before["system_cpu_usage"]
    return used / passed * now["online_cpus"] * 100


@pytest.mark.native
def test_docker_s_stream_has_a_line_for_each_sample(agent, container):
    one = container("sh", "-c", f"sleep {3 * SLOWNESS}")
    kind, *rest = pieces(agent, f"/v1/containers/{one}/stats?format=docker&stream=true")
    assert kind == "application/json"
    lines = [json.loads(line) for line in b"".join(rest).splitlines()]
    assert len(lines) >= 2
    assert lines[1]["preread"] == lines[0]["read"]
