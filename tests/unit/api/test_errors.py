"""Errors as HTTP answers, over an application that has nothing but their handlers."""

import asyncio
import json
import logging

import httpx
import pytest
from fastapi import FastAPI

from cgagent import errors as cgagent_errors
from cgagent.api import errors
from cgagent.api.native.creation import CreateBody
from cgagent.client.http import error_of
from cgagent.errors import EXIT_CODE, HTTP_STATUS, from_kind


@pytest.fixture
def ask():
    app = FastAPI()
    errors.install(app)

    @app.get("/raise/{kind}")
    async def raising(kind: str) -> None:
        if kind == "defect":
            raise ZeroDivisionError("oops")
        raise from_kind(kind, f"container 'web' is {kind}; do better")

    @app.post("/create")
    async def create(body: CreateBody) -> str:
        return body.image

    def request(method, path, **options):
        async def go():
            transport = httpx.ASGITransport(app, raise_app_exceptions=False)
            async with httpx.AsyncClient(transport=transport, base_url="http://x") as client:
                return await client.request(method, path, **options)

        answer = asyncio.run(go())
        if answer.status_code != 200:
            assert answer.headers["content-type"] == "application/problem+json"
        return answer.status_code, answer.json()

    return request


@pytest.mark.parametrize("kind", sorted(EXIT_CODE))
def test_each_kind_has_its_status_and_comes_back(ask, kind):
    status, body = ask("GET", f"/raise/{kind}")
    assert status == HTTP_STATUS[kind]
    assert body == {
        "type": f"urn:cgagent:problem:{kind}",
        "title": kind.replace("_", " "),
        "status": status,
        "detail": f"container 'web' is {kind}; do better",
        "instance": f"/raise/{kind}",
        "kind": kind,
        "object": "container web",
        "cause": f"container 'web' is {kind}",
        "next_step": "do better",
    }
    told = error_of(body)
    assert type(told) is cgagent_errors._tree(cgagent_errors.CgagentError)[kind]
    assert (told.object, told.cause, told.next_step) == (
        body["object"],
        body["cause"],
        body["next_step"],
    )


def test_a_defect_is_logged_and_told_in_one_line(ask, caplog):
    with caplog.at_level(logging.ERROR):
        status, body = ask("GET", "/raise/defect")
    assert status == 500
    assert body["kind"] == "internal"
    assert "ZeroDivisionError: oops" in body["detail"]
    assert "\n" not in body["detail"]
    assert "GET /raise/defect failed" in caplog.text


@pytest.mark.parametrize(
    ("sent", "complaint"),
    [
        (b"{", "json"),
        (b"[]", "body"),
        (b"{}", "image: field required"),
        (json.dumps({"image": 5}).encode(), "image: input should be a valid string"),
        (json.dumps({"image": "x", "mounts": [1]}).encode(), "mounts.0: input should be an object"),
        (json.dumps({"image": "x", "env": list(range(99))}).encode(), "and 89 more"),
        (json.dumps({"image": "x", "imgae": 1}).encode(), "imgae: extra inputs are not permitted"),
        (json.dumps({"image": "x", "limits": {"pids_max": -2}}).encode(), "limits.pids_max"),
        (json.dumps({"image": "x", "env": "A=1"}).encode(), "env: input should be a valid list"),
        (json.dumps({"image": "x", "network": "x"}).encode(), "network"),
    ],
)
def test_a_body_that_is_no_request_is_explained(ask, sent, complaint):
    headers = {"content-type": "application/json"}
    status, body = ask("POST", "/create", content=sent, headers=headers)
    assert status == 400
    assert body["kind"] == "invalid_input"
    assert complaint in body["detail"].lower()


def test_paths_and_methods_that_are_none(ask):
    status, body = ask("GET", "/nowhere")
    assert (status, body["kind"]) == (404, "not_found")
    status, body = ask("DELETE", "/create")
    assert (status, body["kind"]) == (405, "invalid_input")


def test_docker_paths_keep_dockers_form():
    error = from_kind("conflict", "container web is running; stop it first")
    answer = errors.answer(error, "/v1.41/containers/web")
    assert json.loads(answer.body) == {"message": error.message}
    assert answer.media_type == "application/json"
