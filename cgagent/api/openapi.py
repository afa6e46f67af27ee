"""The OpenAPI document: what FastAPI makes of the routes, and what it does not know of them."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any, Final

from fastapi import FastAPI

from cgagent.api.errors import DOCUMENTED, Problem, ProblemAnswer
from cgagent.api.native.lines import EVENTS, LINES

if TYPE_CHECKING:
    from cgagent.api.native.examples import Example

_JSON: Final = "application/json"
_FASTAPIS: Final = ("HTTPValidationError", "ValidationError")
"""Its own answers to wrong requests, which nobody gets here."""
_GO_ON: Final = frozenset(
    {
        *("GET /v1/events", "GET /v1/containers/{reference}/logs"),
        *("POST /v1/images/pull", "POST /v1/images/push", "POST /v1/images/load"),
        *("POST /v1/images/import", "POST /v1/containers/{reference}/commit"),
        *("POST /v1/system/check", "POST /v1/build"),
    }
)
"""Operations that answer with JSON lines, or server-sent events."""


class Described(FastAPI):
    """An application whose document has examples, and the problems that any request may end in.

    FastAPI would make a model of each problem for each route at the agent's start.
    """

    def openapi(self) -> dict[str, Any]:
        if not self.openapi_schema:
            document = super().openapi()
            for path, operations in document["paths"].items():
                for method, operation in operations.items():
                    _complete(operation, f"{method.upper()} {path}")
            schemas = document["components"]["schemas"]
            for name in _FASTAPIS:
                schemas.pop(name, None)
            schemas[Problem.__name__] = Problem.model_json_schema()
            _add_examples(document)
        assert self.openapi_schema is not None  # noqa: S101 - it has just been made
        return self.openapi_schema


def _complete(operation: dict[str, Any], name: str) -> None:
    if name in _GO_ON:
        for response in operation["responses"].values():
            response["content"] = {LINES: {"schema": {}}, EVENTS: {"schema": {"type": "string"}}}
    schema = {"$ref": f"#/components/schemas/{Problem.__name__}"}
    for status, text in DOCUMENTED.items():
        operation["responses"][str(status)] = {
            "description": text,
            "content": {ProblemAnswer.media_type: {"schema": schema}},
        }


def _add_examples(document: dict[str, Any]) -> None:
    from cgagent.api.native.examples import EXAMPLES  # only who asks for the document needs them

    for example in EXAMPLES:
        method, _, path = example.operation.partition(" ")
        _add(document["paths"][path][method.lower()], example)


def _add(operation: dict[str, Any], example: Example) -> None:
    given = {**example.names, **example.query}
    for parameter in operation.get("parameters", ()):
        if parameter["in"] in {"path", "query"} and parameter["name"] in given:
            value = given[parameter["name"]]
            is_list = "array" in json.dumps(parameter["schema"])
            parameter["example"] = [value] if is_list else value
    if example.body is not None:
        body = operation.setdefault("requestBody", {"content": {}})
        body["content"].setdefault(_JSON, {})["example"] = example.body
    if example.answer is not None:
        response = operation["responses"].setdefault(str(example.status), {"description": ""})
        content = response.setdefault("content", {_JSON: {"schema": {}}})
        next(iter(content.values()))["example"] = example.answer
