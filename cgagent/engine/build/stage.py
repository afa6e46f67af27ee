"""One stage of a build: its steps in their order, each looked up in the cache first."""

from __future__ import annotations

import asyncio
import json
from typing import TYPE_CHECKING, Any, Final

from cgagent.engine.build.cache import Result
from cgagent.engine.build.commands import StepFailedError, Surroundings
from cgagent.engine.build.state import State, entry
from cgagent.engine.build.values import Step, StepBegun, StepDone, StepPull
from cgagent.errors import CgagentError, InvalidInputError, UnsupportedError
from cgagent.images.build import commands, configuration, keys, stages, syntax

if TYPE_CHECKING:
    from collections.abc import Mapping

    from cgagent.engine.build.run import Run
    from cgagent.engine.build.values import Account
    from cgagent.images.build.stages import Stage
    from cgagent.images.build.syntax import Instruction
    from cgagent.images.building import Layers

_ARGUMENT: Final = "ARG"
_SAYS_WHERE: Final = ("dockerfile parse error", "line ")


class StageRun:
    """`first` is the number of its FROM among all steps; `run` is what all stages share."""

    def __init__(self, run: Run, stage: Stage, first: int) -> None:
        self._run = run
        self._stage = stage
        self._number = first
        self._escape = run.plan.escape
        self._misses = False
        """A step was not in the cache: those after it are not either."""

    async def carry_out(self) -> State:
        """Raises CgagentError: a step failed, and is named where its own message does not."""
        step = self._begin(self._stage.origin)
        state = await self._base(step)
        triggers = state.settings.pop("OnBuild", None) or []
        state.base_id = "" if triggers else state.base_id
        self._done(step, state)
        for text in triggers:
            for one in _trigger(text, self._stage.shown):
                await self._carry_out(state, one, self._step(f"ONBUILD {one.text}"))
        labels = self._run.request.labels if self._stage is self._run.plan.stages[-1] else {}
        for one in (*self._stage.instructions, *_labels(labels)):
            self._number += 1
            await self._carry_out(state, one, self._begin(one))
        return state

    def _step(self, text: str) -> Step:
        return Step(
            number=self._number,
            total=self._run.steps,
            stage=self._stage.index,
            shown=self._stage.shown,
            text=text,
        )

    def _begin(self, instruction: Instruction) -> Step:
        step = self._step(instruction.text)
        self._run.tell(StepBegun(step))
        self._run.job.progress = f"step {step.number}/{step.total}: {step.text}"[:200]
        return step

    def _done(self, step: Step, state: State, used: Account | None = None, **more: Any) -> None:
        self._run.done(StepDone(step=step, id=state.id, account=used, **more))

    # -- FROM -----------------------------------------------------------------------------------

    async def _base(self, step: Step) -> State:
        stage = self._stage
        if stage.base_stage is not None:
            return (await self._run.finished(stage.base_stage)).copied()
        platform = stage.platform or self._run.request.platform
        if stage.base.lower() == stages.SCRATCH:
            return State.of_scratch(platform)
        image = await self._run.image(
            stage.base,
            platform,
            lambda progress, tag: self._run.tell(StepPull(step, progress, tag)),
        )
        return State.of_image(image, json.loads(self._run.images.config_of(image)))

    # -- each instruction -----------------------------------------------------------------------

    async def _carry_out(self, state: State, one: Instruction, step: Step) -> None:
        try:
            if one.name == _ARGUMENT:
                await self._argument(state, one, step)
            elif one.name == "RUN":
                await self._command(state, one, step)
            elif one.name in {"COPY", "ADD"}:
                await self._copy(state, one, step)
            else:
                await self._setting(state, one, step)
        except CgagentError as e:
            if not isinstance(e, StepFailedError) and not e.message.startswith(_SAYS_WHERE):
                e.message = f"{step.named}: {e.message}"
            raise

    async def _argument(self, state: State, one: Instruction, step: Step) -> None:
        given, plan = self._run.request.arguments, self._run.plan
        for name, default in stages.declared(one, state.variables, self._escape).items():
            value = given.get(name, default)
            if value is None:
                value = plan.arguments.get(name)
            if value is not None:
                state.arguments[name] = value
        stages.check_size(one, state.arguments)
        await self._empty(state, one.text, step)

    async def _setting(self, state: State, one: Instruction, step: Step) -> None:
        settings = json.loads(json.dumps(state.settings))
        text = configuration.apply(settings, one, state.variables, self._escape)
        if one.name == "MAINTAINER":
            state.author = one.arguments
        if one.name == "ENTRYPOINT" and not self._has_own_command(one):
            settings.pop("Cmd", None)
        state.settings = settings
        if one.name == "WORKDIR":
            await self._directory(state, text, step)
        else:
            await self._empty(state, text, step)

    def _has_own_command(self, entrypoint: Instruction) -> bool:
        """A CMD before it in this stage: the base's was for another entrypoint."""
        before = (i for i in self._stage.instructions if i.line < entrypoint.line)
        return any(i.name == "CMD" for i in before)

    async def _empty(self, state: State, text: str, step: Step) -> None:
        """It changes no file."""
        key = keys.of_setting(state.key, text)
        if await self._found(state, key, step):
            return
        await self._keep(step, state, key, text, layers=state.layers, used=None)

    async def _directory(self, state: State, text: str, step: Step) -> None:
        key = keys.of_setting(state.key, text)
        if await self._found(state, key, step):
            return
        target = f"{state.directory.rstrip('/')}/"
        layers, used = await self._run.write_directory(state.layers, target)
        await self._keep(step, state, key, text, layers=layers, used=used)

    # -- RUN ------------------------------------------------------------------------------------

    async def _command(self, state: State, one: Instruction, step: Step) -> None:
        shell = state.settings.get("Shell") or configuration.SHELL
        what = commands.run(one, shell, state.variables, self._escape)
        origins = await self._origins([m.origin for m in what.mounts if m.origin])
        environment = configuration.variables_of(state.settings)
        seen = {n: v for n, v in state.arguments.items() if n not in environment}
        mounted = {
            m.target: origins[m.origin].key if m.origin else self._run.mounts.digest(m)
            for m in what.mounts
            if m.type == "bind"
        }
        network = self._run.request.network if what.network == "default" else what.network
        key = keys.of_run(state.key, what, seen, network, mounted)
        text = _run_text(one, seen)
        if await self._found(state, key, step):
            return
        given = self._run.request.arguments
        proxies = {n: v for n, v in given.items() if n in stages.PROXIES and n not in environment}
        around = Surroundings(
            layers=state.layers,
            settings=state.settings,
            arguments={**proxies, **seen},
            origins=origins,
            architecture=state.base.get("architecture") or "",
        )
        async with self._run.working:
            layers, used = await self._run.commands.run(step, what, around)
        await self._keep(step, state, key, text, layers=layers, used=used)

    async def _origins(self, names: list[str]) -> dict[str, State]:
        """The states of what ``--from`` and ``from=`` name: stages, or images."""
        return {name: await self._run.origin(name, self._stage.index) for name in names}

    # -- COPY, ADD ------------------------------------------------------------------------------

    async def _copy(self, state: State, one: Instruction, step: Step) -> None:
        what = commands.copy(one, state.directory, state.variables, self._escape)
        origin = (await self._origins([what.origin]))[what.origin] if what.origin else None
        if origin is not None and what.is_add:
            raise UnsupportedError("ADD has no --from; COPY does")
        async with self._run.copies.prepared(what, origin) as ready:
            key = keys.of_copy(state.key, what, ready.digests)
            if await self._found(state, key, step):
                return
            async with self._run.working:
                layers, used = await ready.write(state.layers)
        await self._keep(step, state, key, one.text, layers=layers, used=used)

    # -- the cache ------------------------------------------------------------------------------

    async def _found(self, state: State, key: str, step: Step) -> bool:
        """Whether the result is in the cache; the state has it then."""
        if self._misses:
            return False
        found = await asyncio.to_thread(self._run.cache.find, key, state.layers)
        if found is None:
            self._misses = True
            return False
        size_bytes = found.layers.sizes[-1] if found.layers != state.layers else 0
        self._go_on(state, key, found)
        self._done(step, state, cached=True, size_bytes=size_bytes)
        return True

    async def _keep(
        self,
        step: Step,
        state: State,
        key: str,
        text: str,
        *,
        layers: Layers,
        used: Account | None,
    ) -> None:
        is_empty = layers == state.layers
        made = entry(text, key, state.author, used, is_empty=is_empty)
        result = Result(layers, made)
        await asyncio.to_thread(self._run.cache.keep, key, state.layers, result)
        self._go_on(state, key, result)
        size_bytes = 0 if is_empty else layers.sizes[-1]
        self._done(step, state, used, size_bytes=size_bytes)

    @staticmethod
    def _go_on(state: State, key: str, result: Result) -> None:
        state.layers = result.layers
        state.key = key
        state.base_id = ""
        state.history.append(result.history)


def _trigger(text: str, stage: str) -> tuple[syntax.Instruction, ...]:
    """What the base of a stage has for those that begin with it."""
    found = syntax.parse(text.encode()).instructions
    for one in found:
        if one.name in configuration.NO_TRIGGERS:
            raise InvalidInputError(
                f"the base of stage {stage} has {one.name} as an ONBUILD trigger: it may have none"
            )
    return found


def _run_text(one: Instruction, arguments: Mapping[str, str]) -> str:
    """For the history; with the build arguments that it saw."""
    values = [f"{name}={value}" for name, value in arguments.items()]
    seen = f"|{len(values)} {' '.join(values)} " if values else ""
    lines = [one.text, *(f"{h.content}{h.name}" for h in one.heredocs)]
    return f"RUN {seen}" + "\n".join(lines).removeprefix("RUN ")


def _labels(labels: Mapping[str, str]) -> list[Instruction]:
    """Those that are given beside the Dockerfile are its last instruction."""
    if not labels:
        return []
    text = " ".join(f"{_quoted(name)}={_quoted(value)}" for name, value in labels.items())
    return [syntax.Instruction(name="LABEL", arguments=text)]


def _quoted(text: str) -> str:
    """Single quotes keep all but themselves."""
    return "'" + text.replace("'", "'\"'\"'") + "'"


def check(state: State) -> None:
    """Raises InvalidInputError: there is nothing to make an image of."""
    if not state.history and not state.base_id:
        raise InvalidInputError("No image was generated. Is your Dockerfile empty?")
