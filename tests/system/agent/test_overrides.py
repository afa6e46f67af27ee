"""Limits that a policy sets over the user's: told apart, in the kernel, and gone when lifted."""

import pytest

from cgagent.errors import InvalidInputError, NotFoundError

pytestmark = pytest.mark.system


def put(agent, container, owner, limits, reason="the node is short of it", **query):
    asked = "".join(f"?{name}={value}" for name, value in query.items())
    path = f"/v1/containers/{container}/overrides/{owner}{asked}"
    return agent.client.request("PUT", path, {"reason": reason, "limits": limits})


def lift(agent, container, owner):
    agent.client.request("DELETE", f"/v1/containers/{container}/overrides/{owner}")


def held(agent, container):
    found = agent.detail(container)["limits_held"]
    return {name: found.get(name) for name in ("pids_max", "memory_max_bytes")}


def test_the_users_limit_stays_and_is_back_when_the_override_is_lifted(agent, container):
    one = container("sleep", "1000", limits={"pids_max": 50})
    detail = put(agent, one, "reclaim", {"pids_max": 20, "memory_max_bytes": 64 << 20})
    assert detail["limits"] == {"pids_max": 50}
    (override,) = detail["overrides"]
    assert (override["owner"], override["reason"]) == ("reclaim", "the node is short of it")
    assert override["since_ns"] > 0
    assert detail["drift"] == []
    assert held(agent, one) == {"pids_max": 20, "memory_max_bytes": 64 << 20}
    agent.post(one, "update", {"pids_max": 40})
    assert agent.detail(one)["limits"] == {"pids_max": 40}
    assert held(agent, one)["pids_max"] == 20
    lift(agent, one, "reclaim")
    detail = agent.detail(one)
    assert (detail["overrides"], detail["drift"]) == ([], [])
    assert held(agent, one) == {"pids_max": 40, "memory_max_bytes": "max"}


@pytest.mark.native
def test_it_holds_over_a_restart_of_the_container_and_of_the_agent(own_agent):
    agent = own_agent
    one = agent.launch("sleep", "1000")
    put(agent, one, "quiet", {"pids_max": 20})
    agent.post(one, "restart?timeout_s=0")
    assert held(agent, one)["pids_max"] == 20
    agent.kill9()
    agent.start()
    assert agent.detail(one)["overrides"][0]["owner"] == "quiet"
    agent.post(one, "stop?timeout_s=0")
    lift(agent, one, "quiet")
    agent.post(one, "start")
    assert held(agent, one)["pids_max"] == "max"


@pytest.mark.native
def test_events_and_inspect_name_owner_and_reason(agent, container):
    one = container("sleep", "1000")
    put(agent, one, "quiet", {"pids_max": 20}, "too many forks")
    lift(agent, one, "quiet")
    events = agent.client.lines("GET", "/v1/events")
    told = [e["attributes"] for e in events if (e["id"], e["action"]) == (one, "update")]
    assert [(t["owner"], t["reason"]) for t in told] == [
        ("quiet", "too many forks"),
        ("quiet", "lifted"),
    ]


@pytest.mark.native
def test_what_cannot_be(agent, container):
    one = container("sleep", "1000", limits={"pids_max": 50})
    for owner, limits in (("a", {}), ("a", {"memory_swappiness": 5}), ("a%20b", {"pids_max": 5})):
        with pytest.raises(InvalidInputError):
            put(agent, one, owner, limits)
    with pytest.raises(NotFoundError, match="there is no override of nobody"):
        lift(agent, one, "nobody")
    assert agent.detail(one)["overrides"] == []
    assert held(agent, one)["pids_max"] == 50
