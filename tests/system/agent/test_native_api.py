"""What all operations of the native API have in common: pages, tags, keys, streams."""

import contextlib
import json
import re
import threading
import time

import pytest

from cgagent.client import ChangedError, ConflictError, InvalidInputError, KeyReusedError
from cgagent.client.http import Client
from tests.world.agent import SLOWNESS, eventually

pytestmark = [pytest.mark.system, pytest.mark.native]


def head_of(agent, path, *headers, method="GET"):
    """Status, headers and body of an answer."""
    connection = agent.client.connect()
    with connection.socket:
        connection.socket.settimeout(30 * SLOWNESS)
        connection.send(method, path, None, headers)
        status, answered = connection.head()
        body = b"" if status in {204, 304} else b"".join(connection.pieces(answered))
    return status, answered, body


@pytest.fixture
def many(agent, container):
    """Seven that were only created, the oldest first."""
    return [container("true", start=False, labels={"many": "yes"}) for _ in range(7)]


# -- pages ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("limit", [1, 3, 7, 50])
def test_containers_in_pages(agent, many, limit):
    path = f"/v1/containers?all=true&filter=label%3Dmany&limit={limit}"
    assert [one["id"] for one in agent.client.pages(path)] == many[::-1]


def test_a_page_goes_on_where_it_was_whatever_comes_and_goes(agent, many, container):
    path = "/v1/containers?all=true&filter=label%3Dmany&limit=2"
    pages = agent.client.pages(path)
    told = [next(pages)["id"], next(pages)["id"]]
    container("true", start=False, labels={"many": "yes"})
    agent.remove(told[1])
    agent.remove(many[0])
    told += [one["id"] for one in pages]
    assert told == many[:0:-1]


@pytest.mark.parametrize(
    "path",
    [
        *("/v1/images", "/v1/networks", "/v1/volumes", "/v1/tokens", "/v1/cgroups", "/v1/jobs"),
        "/v1/containers?all=true",
    ],
)
def test_every_list_has_pages(agent, many, path):
    whole = agent.client.request("GET", path)
    separator = "&" if "?" in path else "?"
    paged = list(agent.client.pages(f"{path}{separator}limit=3"))
    key = "path" if "cgroups" in path else "id" if whole and "id" in whole[0] else "name"
    if "jobs" in path or "cgroups" in path:  # others make some of them meanwhile
        assert len({one[key] for one in paged}) == len(paged)
    else:
        assert sorted(one[key] for one in paged) == sorted(one[key] for one in whole)


def test_events_in_pages(agent, many):
    path = f"/v1/events?filter=container%3D{many[0]}&filter=container%3D{many[1]}"
    whole = list(agent.client.lines("GET", path))
    told, path = [], f"{path}&limit=1"
    while path:
        status, headers, body = head_of(agent, path)
        assert status == 200
        told += [json.loads(line) for line in body.splitlines()]
        path = re.sub(r"<(.*)>; rel=\"next\"", r"\1", headers.get("link", ""))
    assert told == whole
    assert len({event["number"] for event in told}) == len(told) >= 2


@pytest.mark.parametrize(
    ("path", "why"),
    [
        ("/v1/containers?after=x", "after: this is no cursor"),
        ("/v1/images?limit=0", "limit: input should be greater"),
        ("/v1/images?limit=1001", "limit: input should be less"),
        ("/v1/networks?filter=colour%3Dred", "invalid filter 'colour'; there are dangling, driver"),
        ("/v1/volumes?filter=dangling%3Dmaybe", "invalid filter 'dangling=maybe'"),
        ("/v1/jobs?filter=x%3D1", "invalid filter 'x'"),
        ("/v1/events?follow=true&limit=5", "leave limit or follow out"),
        ("/v1/events?limit=5&after=ImEi", "no place in the events"),
    ],
)
def test_what_is_no_page(agent, path, why):
    with pytest.raises(InvalidInputError, match=re.escape(why)):
        agent.client.request("GET", path)


def test_filters_of_networks_and_volumes(agent):
    client = agent.client
    client.request("POST", "/v1/volumes", {"name": "paged", "labels": {"a": "b"}})
    try:
        for wanted in ("label%3Da%3Db", "name%3Dage", "dangling%3Dtrue"):
            found = client.request("GET", f"/v1/volumes?filter={wanted}")
            assert "paged" in [one["name"] for one in found]
        assert client.request("GET", "/v1/volumes?filter=label%3Da&filter=name%3Dx") == []
    finally:
        client.request("DELETE", "/v1/volumes/paged")
    built_in = client.request("GET", "/v1/networks?filter=type%3Dbuiltin&filter=driver%3Dnull")
    assert [one["name"] for one in built_in] == ["none"]


# -- tags ----------------------------------------------------------------------------------------


def test_tags(agent, running):
    path = f"/v1/containers/{running}"
    status, headers, _ = head_of(agent, path)
    tag = headers["etag"]
    assert (status, head_of(agent, path)[1]["etag"]) == (200, tag)
    assert head_of(agent, path, f"If-None-Match: {tag}")[0] == 304
    agent.client.ask("POST", f"{path}/update", {"pids_max": 77}, (f"If-Match: {tag}",))
    assert head_of(agent, path, f"If-None-Match: {tag}")[0] == 200
    with pytest.raises(ChangedError):
        agent.client.ask("POST", f"{path}/update", {"pids_max": 78}, (f"If-Match: {tag}",))
    assert agent.detail(running)["limits"]["pids_max"] == 77
    override = {"reason": "test", "limits": {"pids_max": 9}}
    with pytest.raises(ChangedError):
        agent.client.ask("PUT", f"{path}/overrides/me", override, (f"If-Match: {tag}",))
    with pytest.raises(ChangedError):
        agent.client.ask("DELETE", f"{path}?force=true", None, (f"If-Match: {tag}",))
    assert agent.state(running)["status"] == "running"


def test_of_many_updates_of_one_state_one_is_made(agent, running):
    path = f"/v1/containers/{running}"
    tag = head_of(agent, path)[1]["etag"]
    ends = []

    def update(limit):
        client = Client(str(agent.socket))
        try:
            client.ask("POST", f"{path}/update", {"pids_max": limit}, (f"If-Match: {tag}",))
            ends.append(limit)
        except ChangedError:
            ends.append(None)
        finally:
            client.close()

    threads = [threading.Thread(target=update, args=(100 + n,)) for n in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    (made,) = filter(None, ends)
    assert agent.detail(running)["limits"]["pids_max"] == made


# -- keys ----------------------------------------------------------------------------------------


def create(agent, key, **body):
    wanted = {"image": "alpine", "command": ["true"], **body}
    header = (f"Idempotency-Key: {key}",)
    return agent.client.ask("POST", "/v1/containers", wanted, header)[0]


def test_a_key_makes_one_object(agent, container):
    first = create(agent, "one-object")
    try:
        assert create(agent, "one-object") == first
        with pytest.raises(KeyReusedError):
            create(agent, "one-object", command=["false"])
        assert [c["id"] for c in agent.containers() if c["id"] == first["id"]] == [first["id"]]
    finally:
        agent.remove(first["id"])
    assert create(agent, "one-object") == first, "the first answer, whatever became of it"
    assert first["id"] not in {c["id"] for c in agent.containers()}


def test_a_key_of_a_failure_is_tried_again(agent, container):
    taken = container("true", start=False, name="taken-by-another")
    with pytest.raises(ConflictError):
        create(agent, "tried-again", name="taken-by-another")
    agent.client.request("POST", f"/v1/containers/{taken}/rename?name=was-taken")
    made = create(agent, "tried-again", name="taken-by-another")
    agent.remove(made["id"])


def test_a_key_of_a_command(agent, running):
    path, body = f"/v1/containers/{running}/exec", {"command": ["sh", "-c", "echo x >> /ran"]}
    header = ("Idempotency-Key: command",)
    first = agent.client.ask("POST", path, body, header)[0]
    assert agent.client.ask("POST", path, body, header)[0] == first
    eventually(lambda: agent.client.request("GET", f"/v1/exec/{first['id']}")["exit_code"] == 0)
    assert agent.exec(running, "cat", "/ran").stdout == "x\n"
    upgrade = (*header, "Connection: Upgrade", "Upgrade: tcp")
    for where, what in ((path, body), ("/v1/containers/run", {"image": "alpine"})):
        with pytest.raises(InvalidInputError, match="cannot be given twice"):
            agent.client.ask("POST", where, what, upgrade)


@pytest.mark.timeout(300)
def test_a_killed_agent_makes_no_second_one(own_agent):
    """Whatever instant it is killed at: the same request, sent until it is answered, makes one."""
    body = {"image": "alpine", "command": ["true"]}
    for number in (1, 4, 8):
        header = (f"Idempotency-Key: killed-{number}",)
        connection = own_agent.client.connect()
        with connection.socket:
            connection.send("POST", "/v1/containers", body, header)
            time.sleep(number * 0.0007 * SLOWNESS)
            own_agent.kill9()
        own_agent.start()
        made = own_agent.client.ask("POST", "/v1/containers", body, header)[0]
        assert own_agent.client.ask("POST", "/v1/containers", body, header)[0] == made
        assert [c["id"] for c in own_agent.containers()] == [made["id"]]
        own_agent.remove(made["id"])
        assert own_agent.client.ask("POST", "/v1/containers", body, header)[0] == made
        assert own_agent.containers() == []


# -- streams -------------------------------------------------------------------------------------


def server_sent(agent, path, count, last=None):
    """The first so many events, each with its id."""
    headers = ("Accept: text/event-stream", *([f"Last-Event-ID: {last}"] if last else []))
    connection, found, rest = agent.client.connect(), [], b""
    with connection.socket:
        connection.socket.settimeout(30 * SLOWNESS)
        connection.send("GET", path, None, headers)
        status, answered = connection.head()
        assert (status, answered["content-type"].partition(";")[0]) == (200, "text/event-stream")
        for piece in connection.pieces(answered):
            *events, rest = (rest + piece).split(b"\n\n")
            for event in events:
                fields = dict(line.split(b": ", 1) for line in event.splitlines())
                found.append((fields.get(b"id", b"").decode(), json.loads(fields[b"data"])))
            if len(found) >= count:
                break
    return found[:count]


def test_events_go_on_where_they_were_cut_off(agent, running):
    for verb in ("freeze", "thaw", "freeze", "thaw"):
        agent.post(running, verb)
    path = f"/v1/events?follow=true&filter=container%3D{running}"
    told = server_sent(agent, path, 6)
    assert [event["action"] for _, event in told][-4:] == ["pause", "unpause"] * 2
    assert [id_ for id_, _ in told] == [str(event["number"]) for _, event in told]
    assert server_sent(agent, path, 3, last=told[2][0]) == told[3:6]


def test_a_log_goes_on_where_it_was_cut_off(agent, container):
    one = container("sh", "-c", "seq 1 300; sleep 1000")
    path = f"/v1/containers/{one}/logs?follow=true"
    told = server_sent(agent, path, 300)
    assert [int(entry["log"]) for _, entry in told] == list(range(1, 301))
    for at in (0, 1, 150, 298):
        (following,) = server_sent(agent, path, 1, last=told[at][0])
        assert following == told[at + 1]
    assert head_of(agent, path, "Last-Event-ID: x", "Accept: text/event-stream")[0] == 400


def test_figures_as_events_and_as_lines(agent, running):
    path = f"/v1/containers/{running}/stats"
    assert [e["name"] for _, e in server_sent(agent, path, 2)] == [
        agent.detail(running)["name"]
    ] * 2
    (figures,) = server_sent(agent, "/v1/stats", 1)
    assert running in [one["id"] for one in figures[1]]
    lines = agent.client.lines(
        "GET", f"{path}?stream=true", None, ("Accept: application/x-ndjson",)
    )
    assert next(lines)["id"] == running


def test_jobs_as_they_change(agent, running):
    def stop():
        time.sleep(0.3)
        with contextlib.closing(Client(str(agent.socket))) as client:
            client.request("POST", f"/v1/containers/{running}/stop?timeout_s=1")

    thread = threading.Thread(target=stop)
    thread.start()
    seen = server_sent(agent, "/v1/jobs?filter=name%3Dstop", 1)
    job = seen[0][1]
    assert (job["name"], job["arguments"]["container"]) == ("stop", running)
    told = server_sent(agent, f"/v1/jobs/{job['id']}", 9)
    assert told[-1][1]["status"] == "done"
    thread.join()


def test_a_job_is_cancelled_by_its_id(agent, container):
    one = container("sh", "-c", "trap '' TERM; sleep 1000 & wait; sleep 1000")
    ends = []

    def stop():
        with contextlib.closing(Client(str(agent.socket))) as client:
            try:
                client.request("POST", f"/v1/containers/{one}/stop?timeout_s=300")
            except ConflictError as e:
                ends.append(e.message)

    thread = threading.Thread(target=stop)
    thread.start()
    jobs = "/v1/jobs?filter=name%3Dstop&filter=status%3Drunning"
    (job,) = eventually(lambda: agent.client.request("GET", jobs))
    agent.client.request("DELETE", f"/v1/jobs/{job['id']}")
    thread.join()
    assert ends == [f"job {job['id']} (stop) was cancelled"]
    assert agent.client.request("GET", f"/v1/jobs/{job['id']}")["status"] == "cancelled"


def test_progress_as_events(agent, alpine_docker_archive):
    connection = agent.client.connect()
    with connection.socket:
        body = {"path": str(alpine_docker_archive)}
        connection.send("POST", "/v1/images/load", body, ("Accept: text/event-stream",))
        status, headers = connection.head()
        events = b"".join(connection.pieces(headers)).strip().split(b"\n\n")
    assert (status, headers["content-type"].partition(";")[0]) == (200, "text/event-stream")
    assert "images" in json.loads(events[-1].removeprefix(b"data: "))
