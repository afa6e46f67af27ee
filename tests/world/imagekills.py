"""The agent is killed amid operations on images; its store is whole afterwards.

For the suite and for the soak. An operation more is a line in `operations`.
"""

from __future__ import annotations

import contextlib
import random
import time
from contextlib import ExitStack
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from cgagent.errors import NoSuchImageError
from tests.world import layered
from tests.world.registry import Registry

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from tests.world.agent import Agent

_LAYERS = 6
_FILES = 100
_FILE_BYTES = 20_000
_WRITTEN_BYTES = 3_000_000
_BEYOND = 1.2
"""Kills come until so much of the time that the operation takes."""


@dataclass(frozen=True, slots=True)
class _Operation:
    """A request, and what brings the agent to where it can be made."""

    verb: str
    path: str
    body: Any
    prepare: Callable[[], None]
    streams: bool = True
    """The answer is lines of JSON."""


class ImageKills:
    """`folder` is for an archive and may go with the agent."""

    def __init__(self, agent: Agent, registry: Registry, folder: Path, seed: int) -> None:
        self._agent = agent
        self._random = random.Random(seed)  # noqa: S311 -- for a test
        archive = folder / "layered.tar"
        layered.archive(archive, "layered:1", _LAYERS, _FILES, _FILE_BYTES)
        self._pulled = layered.push(archive, registry, "layered:1")
        self._pushed = self._pulled.replace("layered", "pushed")
        self._written = folder / "written"
        self._written.write_bytes(self._random.randbytes(_WRITTEN_BYTES))
        self._load = _Operation("POST", "/v1/images/load", {"path": str(archive)}, self._without)
        self._container = ""
        images = "/v1/images"
        self.operations = {
            "load": self._load,
            "pull": _Operation("POST", f"{images}/pull", {"name": self._pulled}, self._without),
            "rmi": _Operation("DELETE", f"{images}/layered:1", None, self._with_image, False),
            "push": _Operation("POST", f"{images}/push", {"name": self._pushed}, self._with_image),
            "commit": _Operation("POST", "", {"name": "committed:1"}, self._with_container),
            "prune": _Operation("POST", f"{images}/prune?all=true", None, self._with_image, False),
        }
        self._took_s: dict[str, float] = {}
        self.kills = dict.fromkeys(self.operations, 0)

    def step(self, name: str) -> None:
        """One kill, and all that must be right after it."""
        operation = self.operations[name]
        if name not in self._took_s:
            operation.prepare()
            began = time.monotonic()
            self._do(operation)
            self._took_s[name] = time.monotonic() - began
        operation.prepare()
        after_s = self._random.uniform(0, self._took_s[name] * _BEYOND)
        connection = self._agent.client.connect()
        with connection.socket:
            connection.send(operation.verb, self._path(operation), operation.body)
            time.sleep(after_s)
            self._agent.kill9()
        self._agent.start()
        self.check()
        if operation.verb == "DELETE":  # it may be done
            operation.prepare()
        self._do(operation)
        self.check()
        self.kills[name] += 1

    def check(self) -> None:
        *_, found = self._agent.client.lines("POST", "/v1/system/check", {"repair": False})
        if found.get("problems") != []:
            raise AssertionError(f"system check finds {found}")
        root = self._agent.data_root
        half_made = [*root.glob("overlay2/tmp-*"), *root.glob("images/ingest/*")]
        if half_made:
            raise AssertionError(f"left half-made: {half_made}")

    def _without(self) -> None:
        """Neither image nor container."""
        if self._container:
            self._agent.remove(self._container)
            self._container = ""
        for name in ("layered:1", self._pulled, self._pushed, "committed:1"):
            with contextlib.suppress(NoSuchImageError):
                self._agent.client.request("DELETE", f"/v1/images/{name}")

    def _with_image(self) -> None:
        self._without()
        self._do(self._load)
        body = {"source": "layered:1", "name": self._pushed}
        self._agent.client.request("POST", "/v1/images/tag", body)

    def _with_container(self) -> None:
        """One that has written something."""
        self._with_image()
        self._container = self._agent.create("/none", image="layered:1")
        copied = self._agent.cli("cp", str(self._written), f"{self._container}:/written")
        if copied.returncode:
            raise AssertionError(copied.stderr)

    def _path(self, operation: _Operation) -> str:
        return operation.path or f"/v1/containers/{self._container}/commit"

    def _do(self, operation: _Operation) -> None:
        path = self._path(operation)
        if not operation.streams:
            self._agent.client.request(operation.verb, path, operation.body)
            return
        *_, last = self._agent.client.lines(operation.verb, path, operation.body)
        if "error" in last:
            raise AssertionError(last["error"]["detail"])


def kill(agent: Agent, folder: Path, count: int, seed: int) -> dict[str, int]:
    """How often amid each operation."""
    with ExitStack() as stack:
        kills = ImageKills(agent, stack.enter_context(Registry()), folder, seed)
        names = list(kills.operations)
        for number in range(count):
            kills.step(names[number % len(names)])
        return kills.kills
