"""The API answers as its OpenAPI document says, whatever it is asked."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from cgagent.api.native import examples
from cgagent.client.http import query, quote
from tests.world.layered import tar_of
from tests.world.relay import relayed

pytestmark = [pytest.mark.system, pytest.mark.native]

EXAMPLES = os.environ.get("CGAGENT_TEST_EXAMPLES", "3")
CHECKS = ",".join(
    (
        *("not_a_server_error", "status_code_conformance", "unsupported_method"),
        *("content_type_conformance", "response_schema_conformance"),
    )
)
ENDLESS = "events|/run$|attach|logs|stats|wait|pull|push|search|login|adopt|/v1/cgroups"
"""Streams, connections that are taken over, and what would reach out to the host's other groups."""


@pytest.mark.timeout(900)
def test_made_requests_get_documented_answers(own_agent):
    # a made reference may be the beginning of its id: a stop without a time limit must end
    own_agent.launch("sh", "-c", "trap 'exit 0' TERM; sleep 1000 & wait", name="web")
    program = Path(sys.executable).with_name("schemathesis")
    with relayed(own_agent.socket) as address:
        done = subprocess.run(
            [
                *(program, "run", f"http://{address}/openapi.json", "--checks", CHECKS),
                *("--exclude-path-regex", ENDLESS, "--phases", "coverage,fuzzing"),
                *("--max-examples", EXAMPLES, "--seed", "1", "--request-timeout", "120"),
            ],
            capture_output=True,
            text=True,
            check=False,
            cwd=own_agent.data_root,
        )
    assert done.returncode == 0, done.stdout[-8000:]
    assert own_agent.answers()


# -- the document's examples --------------------------------------------------------------------

IDS = (examples.WEB, examples.EXEC, examples.NETWORK)


@pytest.fixture
def told(own_agent, registry, alpine_docker_archive):
    """Send an example; what of it is another one here has been put in its place."""
    child = subprocess.Popen(["sleep", "1000"])
    places = {
        "4711": str(child.pid),
        "/srv/alpine.tar": str(alpine_docker_archive),
        "registry.example:5000": registry.address,
        '"cgagent"': json.dumps(own_agent.cgroup_parent.strip("/")),
    }

    def here(value):
        text = json.dumps(value)
        for there, ours in places.items():
            text = text.replace(there, ours)
        return json.loads(text)

    def send(example):
        method, _, path = example.operation.partition(" ")
        names = {k: quote(str(v)) for k, v in here(example.names).items()}
        target = path.format(**names) + query(**here(example.query))
        answer = _answer(own_agent, method, target, example, here(example.body))
        _note(places, example.answer, answer[1])
        return answer

    yield send
    child.kill()
    child.wait()


def _answer(agent, method, target, example, body):
    connection = agent.client.connect()
    with connection.socket:
        connection.socket.settimeout(60)
        headers = [f"{name}: {value}" for name, value in example.headers.items()]
        if example.operation == BUILD:
            line = json.dumps(body).encode() + b"\n"
            context = tar_of({"Dockerfile": b"FROM alpine\nCOPY Dockerfile /\n"})
            connection._common = (*connection._common, *headers)
            connection.send_stream(method, target, iter([line, context]))
        elif example.operation in RAW:
            connection._common = (*connection._common, *headers)
            connection.send_stream(method, target, iter([tar_of({"hello": b"world\n"})]))
        else:
            connection.send(method, target, body, tuple(headers))
        status, answered = connection.head()
        if method == "HEAD" or status in {101, 204}:
            return status, None
        data = b"".join(connection.pieces(answered))
    kind = answered.get("content-type", "").partition(";")[0]
    if not kind.endswith("json"):
        return status, None
    return status, json.loads(data.splitlines()[-1]) if data.strip() else None


def _note(places, example, answer):
    """The example's ids are the real ones from now on."""
    if isinstance(example, list) and example and answer:
        _note(places, example[0], answer[0])
    elif isinstance(example, dict) and isinstance(answer, dict) and "id" in answer:
        if example.get("id") in IDS:
            places[example["id"]] = answer["id"]
        elif example.get("id") == examples.JOB:
            places[f'"job_id": {examples.JOB}'] = f'"job_id": {answer["id"]}'


def unlike(example, answer, where=""):
    """Where an answer has not the fields and types of the example."""
    if isinstance(example, dict) and isinstance(answer, dict):
        missing = [f"{where}.{name} is missing" for name in example if name not in answer]
        common = [name for name in example if name in answer]
        return missing + [
            line
            for name in common
            for line in unlike(example[name], answer[name], f"{where}.{name}")
        ]
    if isinstance(example, list) and isinstance(answer, list):
        if example and not answer:
            return [f"{where} is empty"]
        return [
            line
            for one, other in zip(example, answer, strict=False)
            for line in unlike(one, other, f"{where}[]")
        ]
    numbers = int | float
    is_like = (
        answer is None
        or example is None
        or (isinstance(example, numbers) and isinstance(answer, numbers))
        or type(example) is type(answer)
    )
    return [] if is_like else [f"{where}: {answer!r} is unlike {example!r}"]


BUILD = "POST /v1/build"
RAW = ("PUT /v1/containers/{reference}/archive", "POST /v1/images/import")


@pytest.mark.timeout(300)
def test_the_examples_are_true(own_agent, told):
    faults = []
    for example in examples.EXAMPLES:
        status, answer = told(example)
        if status != example.status:
            faults.append(f"{example.operation}: {status}: {answer}")
        elif example.answer is not None:
            faults += [f"{example.operation}{line}" for line in unlike(example.answer, answer)]
    assert "\n".join(faults) == ""


def test_each_operation_has_an_example(own_agent):
    document = own_agent.client.request("GET", "/openapi.json")
    described = {
        f"{method.upper()} {path}"
        for path, operations in document["paths"].items()
        for method in operations
    }
    assert described == {example.operation for example in examples.EXAMPLES}
