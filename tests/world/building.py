"""Builds of a test, and what one could leave behind."""

from __future__ import annotations

import contextlib
import os
from typing import TYPE_CHECKING, Any

from cgagent.errors import CgagentError
from tests.world.dockerfiles import Case

if TYPE_CHECKING:
    import subprocess
    from collections.abc import Mapping
    from pathlib import Path

    from tests.world.agent import Agent


class Builds:
    """``builds(text, *flags, files={...})`` builds a context; `clean_up` removes the images."""

    def __init__(self, agent: Agent, folder: Path) -> None:
        self._agent = agent
        self._folder = folder
        self._images: list[str] = []
        self._count = 0

    def __call__(
        self, text: str, *flags: str, files: Mapping[str, Any] = {}, fails: bool = False
    ) -> subprocess.CompletedProcess[str]:
        self._count += 1
        folder = self._folder / f"context-{self._count}"
        folder.mkdir()
        Case(name="", text=text, files=files).write(folder)
        done = self._agent.cli("build", *flags, str(folder), timeout=180)
        assert (done.returncode != 0) is fails, done.stderr
        if not fails:
            self._images.append(done.stdout.strip())
        return done

    def clean_up(self) -> None:
        for image in filter(None, self._images):
            with contextlib.suppress(CgagentError):
                self._agent.client.request("DELETE", f"/v1/images/{image}?force=true")
        self._agent.cli("builder", "prune", "-f")


def left(agent: Agent) -> dict[str, list[str]]:
    """What a build could leave, beside images and cache."""
    builds = agent.data_root / "builds"
    return {
        "directories": os.listdir(builds) if builds.exists() else [],
        "containers": [c["name"] for c in agent.containers()],
        "groups": [path for path in agent.cgroups() if "build-" in path],
    }


def nothing_is_left(agent: Agent) -> bool:
    return not any(left(agent).values())
