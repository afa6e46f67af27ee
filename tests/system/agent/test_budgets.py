"""Start-up boosts, budgets and automatic sizes on a real kernel."""

from urllib.request import urlopen

import pytest

from tests.world.agent import eventually

pytestmark = pytest.mark.system

MIB = 1 << 20
SLOW = {"cpu_quota_us": 20_000, "cpu_period_us": 100_000}
BUSY = ("sh", "-c", "while :; do :; done")
SHOWS = "cat /sys/fs/cgroup/memory.max /sys/fs/cgroup/memory/memory.limit_in_bytes 2>/dev/null;"


def held(agent, container, *names):
    found = agent.detail(container)["limits_held"]
    return tuple(found[name] for name in names)


def owners(agent, container):
    return [one["owner"] for one in agent.detail(container)["overrides"]]


def budget(agent, container):
    return agent.detail(container)["budgets"][0]


def decided(agent, container, policy):
    """Actions with their outcomes, the oldest first."""
    found = agent.client.request("GET", f"/v1/decisions?policy={policy}&container={container}")
    return [(one["action"], one["outcome"]) for one in found[::-1]]


def test_a_boost_is_there_for_the_first_instruction_and_gone_in_time(agent, container):
    limits = {"memory_max_bytes": 64 * MIB, **SLOW}
    one = container(
        "sh", "-c", f"{SHOWS} exec sleep 1000", limits=limits, boost="cpus=1,memory=96m,for=2s"
    )
    assert str(96 * MIB) in eventually(lambda: agent.log_text(one))
    eventually(lambda: owners(agent, one) == [])
    assert held(agent, one, "memory_max_bytes", "cpu_quota_us") == (64 * MIB, 20_000)
    assert agent.detail(one)["drift"] == []
    assert decided(agent, one, "boost") == [("boost", "done"), ("boost", "undone")]
    agent.post(one, "update", {"boost": "memory=96m,for=1h"})
    agent.post(one, "restart?timeout_s=0")
    assert owners(agent, one) == ["boost"]
    assert held(agent, one, "memory_max_bytes", "cpu_quota_us") == (96 * MIB, 20_000)
    agent.post(one, "update", {"memory_max_bytes": 48 * MIB})
    assert owners(agent, one) == []
    assert held(agent, one, "memory_max_bytes") == (48 * MIB,)


@pytest.mark.native
def test_a_budget_throttles_what_has_spent_it_until_its_user_says_otherwise(own_agent):
    agent = own_agent
    one = agent.launch(*BUSY, budget="cpu=0.5s/1h:throttle=0.1")
    eventually(lambda: owners(agent, one) == ["budget"])
    assert held(agent, one, "cpu_quota_us", "cpu_period_us") == (10_000, 100_000)
    for _ in range(2):
        agent.kill9()
        agent.start()
        assert budget(agent, one)["state"] == "done"
        assert owners(agent, one) == ["budget"]
    stats = eventually(lambda: agent.client.request("GET", f"/v1/containers/{one}/stats"))
    eventually(lambda: budget(agent, one)["used"] >= stats["usage"]["cpu"]["usage_ns"])
    used = budget(agent, one)["used"]
    total = agent.client.request("GET", f"/v1/containers/{one}/stats")["usage"]["cpu"]["usage_ns"]
    assert used <= total + 10**9, "nothing is counted twice"
    with urlopen(f"http://{agent.metrics}/metrics") as answer:
        text = answer.read().decode()
    assert "cgagent_container_budget_used_ratio{" in text
    assert decided(agent, one, "budget") == [("throttle", "done")]
    agent.post(one, "update", {"cpu_quota_us": 30_000})
    eventually(lambda: budget(agent, one)["state"] == "given up")
    assert owners(agent, one) == []
    agent.post(one, "restart?timeout_s=0")
    assert budget(agent, one)["used"] >= used
    agent.post(one, "update", {"budget": "off"})
    assert agent.detail(one)["budgets"] == []


@pytest.mark.native
def test_a_budget_freezes_until_the_window_ends(agent, container):
    one = container(*BUSY, budget="cpu=0.3s/3s:freeze", name="by-window")
    eventually(lambda: agent.state(one)["status"] == "frozen")
    eventually(lambda: agent.state(one)["status"] == "running")
    eventually(lambda: agent.state(one)["status"] == "frozen")
    told = [("freeze", "done"), ("freeze", "undone"), ("freeze", "done")]
    eventually(lambda: decided(agent, one, "budget")[:3] == told)
    done = agent.cli("update", "--budget", "off", "by-window")
    assert done.returncode == 0, done.stderr
    eventually(lambda: agent.state(one)["status"] == "running")
    assert agent.cli("inspect", "by-window", "--format", "{{.Budgets}}").stdout.strip() == "[]"
    failed = agent.cli("update", "--budget", "cpu=1h", "by-window")
    assert failed.returncode == 1
    assert "write cpu=1h/24h" in failed.stderr


def test_after_an_oom_kill_it_is_started_again_with_more(agent, container):
    fill = 'BEGIN { s = sprintf("%60000000s", "x"); system("sleep 1000") }'
    one = container(
        *("awk", fill),
        limits={"memory_max_bytes": 16 * MIB, "memory_swap_max_bytes": 0},
        auto_size="memory=16m..200m",
        restart={"name": "on-failure"},
    )
    size = 112 * MIB  # 16 MiB and 100 MB, up to the next MiB
    detail = eventually(
        lambda: (
            (d := agent.detail(one))["restart_count"] and d["state"]["status"] == "running" and d
        )
    )
    assert detail["overrides"][0]["limits"] == {"memory_max_bytes": size}
    assert (detail["restart_count"], detail["sizes"][0]["size"]) == (1, size)
    assert "OOM killer" in detail["overrides"][0]["reason"]
    assert decided(agent, one, "auto-size")[-1] == ("size", "done")
    agent.post(one, "stop?timeout_s=0")  # what is in use does not fit into less
    agent.post(one, "update", {"auto_size": "off"})
    assert owners(agent, one) == []
