"""A command in a container in two steps, as docker's API has them: created, then started once."""

import pytest

from cgagent.errors import CommandNotFoundError, ConflictError, NotFoundError
from tests.world.agent import Agent, eventually

pytestmark = [pytest.mark.system, pytest.mark.native]


def create(agent, container, *command, **body):
    path = f"/v1/containers/{container}/exec?start=false"
    return agent.client.request("POST", path, {"command": list(command), **body})["id"]


def shown(agent, exec_id):
    return agent.client.request("GET", f"/v1/exec/{exec_id}")


def test_it_runs_when_it_is_started_and_not_before(agent, container):
    one = container("sleep", "1000")
    run = create(agent, one, "sh", "-c", "touch /here; exit 3", user="1:1", working_dir="/tmp")
    before = shown(agent, run)
    assert (before["status"], before["pid"], before["exit_code"]) == ("created", None, None)
    assert (before["user"], before["working_dir"], before["container_id"]) == ("1:1", "/tmp", one)
    assert agent.exec(one, "ls", "/here").exit_code == 1
    path = f"/v1/exec/{run}/start"
    assert agent.client.request("POST", path)["pid"] > 0
    eventually(lambda: shown(agent, run)["status"] == "exited", "its end")
    with pytest.raises(ConflictError, match="was started before; create another one"):
        agent.client.request("POST", path)
    told = [
        e["action"].partition(":")[0]
        for e in agent.client.lines("GET", "/v1/events")
        if e["attributes"].get("execID") == run
    ]
    assert told == ["exec_create", "exec_start", "exec_die"]


def test_a_client_is_connected_by_the_start(agent, container):
    one = container("sleep", "1000")
    run = create(agent, one, "cat")
    connection = agent.client.upgrade(f"/v1/exec/{run}/start")
    done = Agent.stay(connection, b"hello")
    assert (done.stdout, done.exit_code) == ("hello", 0)
    assert shown(agent, run)["exit_code"] == 0


def test_a_start_that_fails_is_the_end_of_it(agent, container):
    one = container("sleep", "1000")
    run = create(agent, one, "no-such-command")
    path = f"/v1/exec/{run}/start"
    with pytest.raises(CommandNotFoundError):
        agent.client.request("POST", path)
    assert shown(agent, run)["status"] == "exited"
    with pytest.raises(ConflictError, match="was started before"):
        agent.client.request("POST", path)


def test_what_is_not_there_or_has_ended_meanwhile(agent, container):
    with pytest.raises(NotFoundError, match="create it first"):
        agent.client.request("POST", f"/v1/exec/{'0' * 64}/start")
    one = container("sleep", "1000")
    run = create(agent, one, "true")
    agent.post(one, "stop?timeout_s=0")
    with pytest.raises(ConflictError, match="is not running"):
        agent.client.request("POST", f"/v1/exec/{run}/start")
    assert shown(agent, run)["status"] == "created"
