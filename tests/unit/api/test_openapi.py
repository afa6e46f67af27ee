from types import SimpleNamespace

import pytest

from cgagent.api.app import control_app


@pytest.fixture(scope="module")
def document():
    """Of the real routes; none of them is called, so the engine is not there."""
    return control_app(SimpleNamespace()).openapi()


@pytest.mark.parametrize(
    ("path", "method"),
    [
        ("/v1/containers", "get"),
        ("/v1/containers", "post"),
        ("/v1/containers/{reference}", "delete"),
        *(
            (f"/v1/containers/{{reference}}/{verb}", "post")
            for verb in (
                *("start", "stop", "kill", "restart", "freeze", "thaw", "update", "wait"),
                *("exec", "attach", "rename"),
            )
        ),
        ("/v1/containers/{reference}/logs", "get"),
        ("/v1/containers/{reference}/stats", "get"),
        ("/v1/images", "get"),
        ("/v1/images/pull", "post"),
        ("/v1/volumes", "get"),
        ("/v1/volumes", "post"),
        ("/v1/volumes/{name}", "get"),
        ("/v1/volumes/{name}", "delete"),
        ("/v1/volumes/prune", "post"),
        ("/v1/events", "get"),
        ("/v1/jobs", "get"),
        ("/v1/info", "get"),
        ("/v1/version", "get"),
        ("/metrics", "get"),
        ("/-/healthy", "get"),
    ],
)
def test_stable_paths_are_described(document, path, method):
    assert method in document["paths"][path]


def test_bodies_refuse_what_they_do_not_know(document):
    for name, schema in document["components"]["schemas"].items():
        if name.endswith("Body"):
            assert schema["additionalProperties"] is False, name
