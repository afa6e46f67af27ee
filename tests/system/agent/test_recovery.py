"""A database that is emptied, deleted, damaged or an older one: nothing of a container is lost."""

from __future__ import annotations

import json
import os
import shutil
import sqlite3
import subprocess
from contextlib import closing
from pathlib import Path

import pytest

from tests.world.agent import SLOWNESS, Agent, alive, eventually

pytestmark = [pytest.mark.system, pytest.mark.native]


def files(agent):
    return sorted(agent.data_root.glob("cgagent.db*"))


def database(agent):
    return sqlite3.connect(agent.data_root / "cgagent.db")


def empty(agent, _copy):
    for file in files(agent):
        file.write_bytes(b"")


def delete(agent, _copy):
    for file in files(agent):
        file.unlink()


def damage(agent, _copy):
    delete(agent, None)
    (agent.data_root / "cgagent.db").write_bytes(os.urandom(65536))


def put_back(agent, copy):
    for file in files(agent):
        file.unlink()
    shutil.copy(copy, agent.data_root / "cgagent.db")


def read_log(agent, container):
    (path,) = (agent.data_root / "containers" / container).glob("*-json.log")
    return [json.loads(line)["log"] for line in path.read_bytes().split(b"\n") if line]


@pytest.mark.parametrize("harm", [empty, delete, damage, put_back])
def test_containers_and_images_survive_their_database(data_root, alpine_docker_archive, harm):
    with Agent(data_root) as agent:
        copy = data_root / "copy.db"
        with closing(database(agent)) as connection, closing(sqlite3.connect(copy)) as target:
            connection.backup(target)
        agent.load(alpine_docker_archive)
        command = "echo begun; echo inside >/file; while sleep 0.05; do echo on; done"
        one = agent.launch("sh", "-c", command, name="one", restart={"name": "always"})
        two = agent.create("true", name="two", binds=["kept:/data"])
        ended = agent.launch("sh", "-c", "echo said; exit 3", name="ended")
        agent.wait(ended)
        eventually(lambda: len(read_log(agent, one)) > 1)
        pid = agent.detail(one)["state"]["pid"]
        agent.kill9()
        harm(agent, copy)
        if harm is not put_back:
            refused = subprocess.run(
                agent.command(), capture_output=True, text=True, check=False, timeout=30 * SLOWNESS
            )
            assert refused.returncode != 0
            assert "cgagent serve --adopt-lost" in refused.stderr
            assert alive(pid)
            agent.flags += ("--adopt-lost",)
        agent.start()
        assert {c["name"] for c in agent.containers()} == {"one", "two", "ended"}
        state = agent.detail(one)["state"]
        assert (state["status"], state["pid"]) == ("running", pid)
        assert agent.exec(one, "cat", "/file").stdout == "inside\n"
        assert agent.detail(ended)["state"]["exit_code"] == 3
        assert read_log(agent, ended) == ["said\n"]
        said = len(read_log(agent, one))
        eventually(lambda: len(read_log(agent, one)) > said)
        assert agent.run("true").exit_code == 0
        agent.post(two, "start")
        recovered = agent.cli("system", "recover").stdout
        assert "container one was lost and is there again" in recovered
        assert {v["name"] for v in agent.client.request("GET", "/v1/volumes")} >= {"kept"}


def test_a_container_whose_record_is_damaged_goes_to_lost_and_found(own_agent):
    one = own_agent.create("true")
    own_agent.kill9()
    record = own_agent.data_root / "containers" / one / "container.json"
    record.write_text("{")
    with closing(database(own_agent)) as connection:
        connection.executescript("DELETE FROM containers; DELETE FROM rootfs;")
    own_agent.start()
    assert own_agent.containers() == []
    lost = own_agent.data_root / "lost+found" / one
    assert {path.name for path in lost.iterdir()} == {"container", "root"}
    assert str(lost.parent) in own_agent.cli("system", "recover").stdout
    assert f"deleted: {one}\n" in own_agent.cli("system", "prune", "-f").stdout
    assert not lost.exists()


def test_a_database_that_is_deleted_while_in_use_is_written_again(own_agent):
    for file in files(own_agent):
        file.unlink()
    one = own_agent.create("true", name="kept")
    own_agent.kill9()
    own_agent.start()
    assert [c["id"] for c in own_agent.containers()] == [one]
    assert Path(own_agent.log).read_text().count("was deleted while in use") == 1


def lose_layers(agent):
    gone = agent.data_root / "gone"
    for layer in (agent.data_root / "overlay2").iterdir():
        layer.rename(gone)  # the agent may just write its record
        shutil.rmtree(gone)


def test_containers_start_though_the_unpacked_layers_were_lost(own_agent):
    made = own_agent.create("sh", "-c", "cat /etc/alpine-release; sleep 1000")
    own_agent.run("true")
    lose_layers(own_agent)
    assert own_agent.run("cat", "/etc/alpine-release").stdout.startswith("3.")
    own_agent.kill9()
    lose_layers(own_agent)
    own_agent.start()
    own_agent.post(made, "start")
    eventually(lambda: own_agent.log_text(made).startswith("3."))


def test_a_lost_database_and_lost_layers_are_made_of_the_blobs(own_agent):
    before = own_agent.client.request("GET", "/v1/images")
    own_agent.kill9()
    delete(own_agent, None)
    lose_layers(own_agent)
    own_agent.flags += ("--adopt-lost",)
    own_agent.start()
    assert own_agent.client.request("GET", "/v1/images") == before
    assert own_agent.run("cat", "/etc/alpine-release").stdout.startswith("3.")


def test_what_runs_in_networks_that_a_database_has_lost(own_agent):
    """Its links stay for as long as it runs; from its next start on it is in a network of now."""
    own_agent.client.request("POST", "/v1/networks", {"name": "blue"})
    ports = [{"container_port": 80, "host_port": 8109}]
    web = own_agent.launch("sleep", "1000", name="web", ports=ports)
    blue = own_agent.launch("sleep", "1000", name="inblue", networks=[{"network": "blue"}])
    peer = own_agent.detail(web)["networks"][0]["addresses"][0]["gateway"]
    own_agent.kill9()
    delete(own_agent, None)
    own_agent.flags += ("--adopt-lost",)
    for _ in range(2):
        own_agent.start()
        assert own_agent.exec(web, "ping", "-c1", "-W5", peer).exit_code == 0
        assert own_agent.run("true").exit_code == 0
        own_agent.kill9()
    own_agent.start()
    said = own_agent.log.read_text()
    assert f"container {web[:12]} runs in a network that the database has lost" in said
    assert "container inblue is in none of its networks any more: network blue not found" in said
    own_agent.post(web, "restart?timeout_s=0")
    (place,) = own_agent.detail(web)["networks"]
    gateway = place["addresses"][0]["gateway"]
    assert own_agent.exec(web, "ping", "-c1", "-W5", gateway).exit_code == 0
    assert [p["host_port"] for p in own_agent.detail(web)["published_ports"]] == [8109]
    own_agent.client.request("POST", "/v1/networks", {"name": "blue"})
    own_agent.post(blue, "kill")
    own_agent.wait(blue)
    own_agent.client.request("POST", "/v1/networks/blue/connect", {"container": blue})
    own_agent.post(blue, "start")
    assert [n["network"] for n in own_agent.detail(blue)["networks"]] == ["blue"]


def test_what_limits_a_link_that_a_database_has_lost_goes_after_it(own_agent):
    limits = {"net_rate_out_bits": 10_000_000}
    one, other = (own_agent.launch("sleep", "1000", limits=limits) for _ in range(2))
    own_agent.kill9()
    delete(own_agent, None)
    own_agent.flags += ("--adopt-lost",)
    own_agent.start()
    assert len(limiting()) == 2
    own_agent.post(one, "kill")
    own_agent.wait(one)
    own_agent.kill9()
    own_agent.start()
    assert len(limiting()) == 1
    own_agent.post(other, "kill")
    own_agent.wait(other)
    own_agent.kill9()
    own_agent.start()
    assert limiting() == []


def limiting():
    """The interfaces of kind ifb that agents have made."""
    shown = subprocess.run(
        ["ip", "-json", "link", "show", "type", "ifb"], check=True, capture_output=True, text=True
    )
    return [link for link in json.loads(shown.stdout or "[]") if "ifalias" in link]
