"""Docker's published contract: each call is answered, and in the version that is asked for."""

from __future__ import annotations

import http.client
import json
import socket
import time

import pytest

from cgagent.api.docker.app import ROUTES
from cgagent.api.docker.routing import Table
from tests.world.agent import SLOWNESS, eventually
from tests.world.swagger import Contract

pytestmark = [pytest.mark.system, pytest.mark.native]


def ask(host, method, target, body=None):
    connection = http.client.HTTPConnection("docker", timeout=20 * SLOWNESS)
    connection.sock = socket.socket(socket.AF_UNIX)
    connection.sock.settimeout(20 * SLOWNESS)
    connection.sock.connect(host.removeprefix("unix://"))
    with connection.sock:
        headers = {"Content-Type": "application/json"}
        connection.request(method, target, None if body is None else json.dumps(body), headers)
        answer = connection.getresponse()
        whole = answer.read()
    assert answer.status < 300, (method, target, whole)
    return json.loads(whole) if whole else None


@pytest.fixture
def box(host, docker):
    docker("run", "-d", "--name", "box", "--restart", "on-failure:1", "alpine", "sleep", "1000")
    return "box"


def test_every_call_has_a_route():
    table = Table(ROUTES)
    missing = {
        (method, template)
        for method, template in Contract().calls()
        if table.find(method, template.replace("{", "").replace("}", "")) is None
    }
    assert not missing


def test_an_inspection_in_the_versions(host, box):
    old, new = (ask(host, "GET", f"/{v}/containers/{box}/json") for v in ("v1.51", "v1.52"))
    assert old["NetworkSettings"]["IPAddress"].startswith("10.201.")
    assert "IPAddress" not in new["NetworkSettings"]
    where = new["NetworkSettings"]["Networks"]["bridge"]["IPAddress"]
    assert where == old["NetworkSettings"]["IPAddress"]
    old, new = (ask(host, "GET", f"/{v}/images/alpine/json") for v in ("v1.43", "v1.52"))
    assert old["VirtualSize"] == new["Size"]
    assert old["Config"]["Volumes"] == {}
    assert "Volumes" not in new["Config"]
    old, new = (ask(host, "GET", f"/{v}/system/df") for v in ("v1.51", "v1.53"))
    assert old["Containers"][0]["Names"] == ["/box"]
    assert new["ContainerUsage"]["TotalCount"] == 1
    assert "Containers" not in new


def test_events_in_the_versions(host, docker, box):
    since = time.time()
    docker("exec", box, "kill", "-9", "1", fails=None)
    docker("kill", box)

    def events(version):
        times = f"since={since:.6f}&until={time.time():.6f}"
        connection = http.client.HTTPConnection("docker")
        connection.sock = socket.socket(socket.AF_UNIX)
        connection.sock.connect(host.removeprefix("unix://"))
        with connection.sock:
            connection.request("GET", f"/{version}/events?{times}")
            return [json.loads(line) for line in connection.getresponse().read().splitlines()]

    died = eventually(lambda: [e for e in events("v1.51") if e["Action"] == "die"])[0]
    assert (died["status"], died["id"], died["from"]) == ("die", died["Actor"]["ID"], "alpine")
    died = next(e for e in events("v1.57") if e["Action"] == "die")
    assert not {"status", "id", "from"} & died.keys()


def test_the_end_that_a_restart_follows_says_so(host, docker):
    since = time.time()
    docker("run", "-d", "--name", "again", "--restart", "on-failure:1", "alpine", "false")
    eventually(lambda: docker("inspect", "--format", "{{.State.Status}}", "again") == "exited")
    docker("start", "again")
    target = (
        f"events?since={since:.6f}&until={time.time():.6f}&filters=" + "{%22event%22:[%22die%22]}"
    )

    def ends(version):
        connection = http.client.HTTPConnection("docker")
        connection.sock = socket.socket(socket.AF_UNIX)
        connection.sock.connect(host.removeprefix("unix://"))
        with connection.sock:
            connection.request("GET", f"/{version}/{target}")
            lines = connection.getresponse().read().splitlines()
        return [json.loads(line)["Actor"]["Attributes"].get("restarting") for line in lines]

    assert ends("v1.57")[:2] == ["true", None]
    assert set(ends("v1.56")) == {None}


def test_umask_and_limits_of_devices(host, docker, agent):
    body = {"Image": "alpine", "Cmd": ["sh", "-c", "umask; exec sleep 1000"]}
    asked = {**body, "HostConfig": {"Umask": 0o27}}
    made = ask(host, "POST", "/v1.57/containers/create?name=masked", asked)["Id"]
    ask(host, "POST", f"/containers/{made}/start")
    eventually(lambda: docker("logs", "masked") == "0027")
    assert docker("exec", "masked", "sh", "-c", "umask") == "0027"
    shown = ask(host, "GET", f"/v1.57/containers/{made}/json")
    assert shown["HostConfig"]["Umask"] == 0o27
    old = ask(host, "POST", "/v1.55/containers/create", asked)["Id"]
    assert "Umask" not in ask(host, "GET", f"/containers/{old}/json")["HostConfig"]
