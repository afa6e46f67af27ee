"""The lines that Docker's classic builder prints, made of what a build tells.

Stages go on at the same time, and their lines come one stage after the other: those of a later
one are held back until the stages before it are done.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from cgagent.api.docker.progress import failure, line
from cgagent.api.progress import Done, Failed
from cgagent.engine.build.commands import StepFailedError
from cgagent.engine.build.values import (
    StageDone,
    StepBegun,
    StepContainer,
    StepDone,
    StepNote,
    StepOutput,
    StepPull,
)
from cgagent.engine.values import parse_reference

if TYPE_CHECKING:
    from collections.abc import Iterator

    from cgagent.engine.build.values import Built, Told

_SHOWN: Final = 12
_RED: Final = "\x1b[91m"
_USUAL: Final = "\x1b[0m"


class Classic:
    def __init__(self, *, is_quiet: bool) -> None:
        self._is_quiet = is_quiet
        self._going: dict[int, list[dict[str, Any]]] = {}
        """Lines that are held back, by the stage; the first stage's are not."""
        self._done: set[int] = set()

    def lines(self, message: Told | Done | Failed) -> Iterator[dict[str, Any]]:
        if isinstance(message, Done):
            yield from self._held()
            yield from self._last(message.result)
        elif isinstance(message, Failed):
            yield from self._held()
            yield self._failed(message)
        elif not self._is_quiet:
            yield from self._in_order(message)

    def _in_order(self, message: Told) -> Iterator[dict[str, Any]]:
        stage = message.stage if isinstance(message, StageDone) else message.step.stage
        held = self._going.setdefault(stage, [])
        if isinstance(message, StageDone):
            self._done.add(stage)
        else:
            held += _told(message)
        for first in sorted(self._going):
            yield from self._going[first]
            self._going[first] = []
            if first not in self._done:
                return
            del self._going[first]

    def _held(self) -> Iterator[dict[str, Any]]:
        for stage in sorted(self._going):
            yield from self._going[stage]
        self._going.clear()

    def _last(self, built: Built) -> Iterator[dict[str, Any]]:
        yield {"aux": {"ID": built.image_id}}
        if self._is_quiet:
            yield {"stream": f"{built.image_id}\n"}
            return
        for warning in built.warnings:
            yield {"stream": f"[Warning] {warning}\n"}
        yield {"stream": f"Successfully built {_short(built.image_id)}\n"}
        for name in built.names:
            yield {"stream": f"Successfully tagged {parse_reference(name).familiar}\n"}

    @staticmethod
    def _failed(message: Failed) -> dict[str, Any]:
        found = failure(message.error.message)
        if isinstance(message.error, StepFailedError):
            found["errorDetail"]["code"] = message.error.exit_code
        return found


def _told(message: Told) -> list[dict[str, Any]]:
    if isinstance(message, StepBegun):
        step = message.step
        return [{"stream": f"Step {step.number}/{step.total} : {step.text}"}, {"stream": "\n"}]
    if isinstance(message, StepContainer):
        what = "Removed intermediate container" if message.is_gone else "Running in"
        return [{"stream": f" ---> {what} {_short(message.id)}\n"}]
    if isinstance(message, StepOutput):
        is_error = message.stream == "stderr"
        return [{"stream": f"{_RED}{message.text}{_USUAL}" if is_error else message.text}]
    if isinstance(message, StepPull):
        return [line(message.progress, message.tag)]
    if isinstance(message, StepNote):
        return [{"stream": f"{message.text}\n"}]
    if isinstance(message, StepDone):
        cached = [{"stream": " ---> Using cache\n"}] if message.cached else []
        return [*cached, {"stream": f" ---> {_short(message.id)}\n"}]
    return []


def _short(found: str) -> str:
    return found.removeprefix("sha256:")[:_SHOWN]
