"""Docker's published contract: `swagger.yaml` of the Go module github.com/moby/moby/api.

A schema of Swagger 2.0 is nearly one of JSON Schema: what may be null is said by ``x-nullable``.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import tempfile
from functools import cached_property
from pathlib import Path
from typing import Any, Final

import jsonschema_rs
import yaml

from tests.world import cache, debian

_VERSION: Final = "v1.57.0"
_MODULE: Final = f"github.com/moby/moby/api@{_VERSION}"
_NULL: Final = (("/exec/{id}/json", "ExitCode"),)
"""A field that is null by the contract's words, though not by its types."""
_DOCKERS_NULL: Final = (("EndpointSettings", "Aliases"),)
"""Fields that docker's own clients expect null in, against the contract."""
_METHODS: Final = frozenset({"GET", "HEAD", "POST", "PUT", "DELETE"})
_PREFIX: Final = re.compile(r"^/v1\.\d+(?=/)")


def path() -> Path:
    return cache.build(f"moby-api-{_VERSION}.yaml", _fetch)


def version() -> str:
    """As it is in a path."""
    return _VERSION.removeprefix("v").rpartition(".")[0]


def _fetch(draft: Path) -> None:
    if shutil.which("go") is None:
        debian.install("golang-go")
    with tempfile.TemporaryDirectory(prefix="cgagent-go-") as scratch:
        places = {"GOPATH": scratch, "GOTOOLCHAIN": "local", "GOFLAGS": "-modcacherw -mod=mod"}
        command = ["go", "mod", "download", "-json", _MODULE]
        done = subprocess.run(
            command, check=True, capture_output=True, cwd=scratch, env={**os.environ, **places}
        )
        shutil.copy(Path(json.loads(done.stdout)["Dir"]) / "swagger.yaml", draft)


def _nullable(schema: Any) -> Any:
    """The same as JSON Schema."""
    if isinstance(schema, list):
        return [_nullable(one) for one in schema]
    if not isinstance(schema, dict):
        return schema
    plain = {k: _nullable(v) for k, v in schema.items() if k not in {"x-nullable", "example"}}
    if schema.get("x-nullable") is True:
        return {"anyOf": [plain, {"type": "null"}]}
    return plain


class Contract:
    """What a request may be answered with."""

    def __init__(self) -> None:
        found = yaml.safe_load(path().read_text())
        for kind, field in _DOCKERS_NULL:
            found["definitions"][kind]["properties"][field]["x-nullable"] = True
        self._definitions = _nullable(found["definitions"])
        self._paths = found["paths"]
        for place, field in _NULL:
            answer = self._paths[place]["get"]["responses"]["200"]["schema"]
            answer["properties"][field]["x-nullable"] = True
        self._validators: dict[tuple[str, str, str], Any] = {}

    @cached_property
    def _templates(self) -> list[tuple[re.Pattern[str], str]]:
        """Those with the fewest variables first."""
        templates = sorted(self._paths, key=lambda template: template.count("{"))
        return [
            (re.compile(re.sub(r"\{\w+\}", ".+" if "name}" in t else "[^/]+", t)), t)
            for t in templates
        ]

    def calls(self) -> list[tuple[str, str]]:
        """Each method with its path."""
        found = [(m.upper(), p) for p, methods in self._paths.items() for m in methods]
        return [(method, path) for method, path in found if method in _METHODS]

    def template(self, method: str, target: str) -> str | None:
        """The path of the contract that a request is for."""
        plain = _PREFIX.sub("", target.partition("?")[0])
        for expression, template in self._templates:
            if expression.fullmatch(plain) and method.lower() in self._paths[template]:
                return template
        return None

    def faults(self, method: str, template: str, status: int, body: bytes) -> list[str]:
        """What is wrong with a JSON answer, which may be several values, one after the other."""
        responses = self._paths[template][method.lower()]["responses"]
        response = responses.get(str(status))
        if response is None:
            schema: Any = {"$ref": "#/definitions/ErrorResponse"} if status >= 400 else None
        else:
            schema = response.get("schema")
        if schema is None or schema.get("type") == "file":
            return []
        key = method, template, str(status)
        if key not in self._validators:
            whole = {**_nullable(schema), "definitions": self._definitions}
            self._validators[key] = jsonschema_rs.Draft7Validator(whole)
        about = f"{method} {template} {status}"
        return [
            f"{about}: {'/'.join(map(str, e.instance_path))}: {e.message[:200]}"
            for value in _values(body.decode())
            for e in self._validators[key].iter_errors(value)
        ]


def _values(text: str) -> list[Any]:
    """JSON values one after the other; the last one may be cut off."""
    decoder = json.JSONDecoder()
    found = []
    rest = text.lstrip("\x1e \r\n")
    while rest:
        try:
            value, end = decoder.raw_decode(rest)
        except ValueError:
            break
        found.append(value)
        rest = rest[end:].lstrip("\x1e \r\n")
    return found
