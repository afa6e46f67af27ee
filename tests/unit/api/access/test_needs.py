"""What each request needs: the same of both APIs."""

import pytest

from cgagent.api.access import needs


@pytest.mark.parametrize(
    ("need", "requests"),
    [
        ("metrics", "GET /metrics, GET /-/healthy, GET /-/ready, HEAD /_ping, GET /v1.44/_ping"),
        ("read", "GET /v1/info, GET /v1/containers, GET /v1/containers/x, GET /v1.44/info"),
        ("read", "GET /v1/events, GET /events, GET /v1.44/containers/x/logs, GET /v1/cgroups/a/b"),
        ("read", "POST /v1/containers/x/wait, POST /v1.44/containers/x/wait"),
        ("read", "POST /containers/x/wait, GET /containers/json, GET /v1.44/containers/json"),
        ("read", "GET /images/alpine/json, GET /v1/images/a/b, GET /images/get/json, GET /docs"),
        ("control", "POST /v1/containers, POST /v1.44/containers/create, POST /metrics"),
        ("control", "POST /v1/containers/x/exec/wait, POST /containers/wait/start, POST /auth"),
        ("control", "PUT /x, DELETE /y, PATCH /x, POST /_ping, CONNECT /x"),
        ("control", "GET /v1/containers/x/archive, HEAD /v1.44/containers/x/archive"),
        ("control", "GET /v1/containers/x/export, GET /containers/x/export/, GET /v1/images/save"),
        ("control", "GET /images/get, GET /v1.44/images/a/b/get, GET /v1.44/images/a/get//"),
        ("control", "GET /v1/containers/x\n/archive, GET /images/\n/get"),
        ("control", "GET /containers/x/attach/ws, GET /v1.44/containers/x/attach/ws/"),
        ("control", "GET /v1/exec/x/ws, GET /v1/exec/x/ws/"),
        ("read", "GET /v1/fleet, GET /v1/caller, POST /v1/containers/x/wait"),
        ("admin", "GET /v1/tokens, POST /v1/tokens, DELETE /v1/tokens/x, GET /v1/tokens/"),
    ],
    ids=lambda value: value[:30],
)
def test_what_a_request_needs(need, requests):
    found = {one: needs.of(*one.split(" ")) for one in requests.split(", ")}
    assert found == dict.fromkeys(found, need)
