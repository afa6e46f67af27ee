"""The stages of a Dockerfile: their names, what each needs, and the arguments that they see."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from cgagent.errors import InvalidInputError
from cgagent.images.build import configuration, words
from cgagent.images.build.commands import (
    check_flags,
    copy,
    expander,
    flag,
    run,
    sources_of,
)
from cgagent.images.build.syntax import Instruction, bad

if TYPE_CHECKING:
    from collections.abc import Mapping

    from cgagent.images.build.syntax import Dockerfile

SCRATCH: Final = "scratch"
PROXIES: Final = frozenset(
    name
    for proxy in ("HTTP_PROXY", "HTTPS_PROXY", "FTP_PROXY", "NO_PROXY", "ALL_PROXY")
    for name in (proxy, proxy.lower())
)
"""Arguments that every RUN sees without an ARG; no cache and no history knows them."""
MAX_ARGUMENTS: Final = 4 << 20
"""Characters that the values of all arguments of a stage may have."""
_SHOWN: Final = 20
_STAGE_NAME: Final = re.compile(r"[a-z][a-z0-9._-]*")


@dataclass(frozen=True, slots=True, kw_only=True)
class Stage:
    index: int
    name: str
    """In small letters; empty: it has none."""
    base: str
    """An image, ``scratch``, or with `base_stage` that stage's name."""
    base_stage: int | None
    platform: str
    origin: Instruction
    """Its FROM."""
    instructions: tuple[Instruction, ...]
    needs: frozenset[int]
    """Stages that have to be there before all of it is done; its base is one."""

    @property
    def shown(self) -> str:
        return self.name or str(self.index)


class Names:
    """Stages by their names. One sees those before it alone, of two of a name the later one."""

    def __init__(self) -> None:
        self._found: dict[str, list[int]] = {}

    def add(self, name: str, index: int) -> None:
        """In the order of the stages."""
        self._found.setdefault(name, []).append(index)

    def find(self, name: str, before: int) -> int | None:
        found = self._found.get(name.lower(), ())
        return next((index for index in reversed(found) if index < before), None)

    def stage_of(self, text: str, before: int) -> int | None:
        """The same, by its name or its number. Raises InvalidInputError: no such number."""
        found = self.find(text, before)
        if found is None and text.isdecimal():
            found = _number(text, before)
            if found is None:
                raise InvalidInputError(
                    f"invalid from flag value {text[:20]}: no stage before it has that index"
                )
        return found


def _number(text: str, count: int) -> int | None:
    """Of one of so many stages."""
    is_short = text.isdecimal() and len(text) <= len(str(count))
    return int(text) if is_short and int(text) < count else None


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """What a build of a target comes to."""

    stages: tuple[Stage, ...]
    """Those that are needed, in their order; the target is the last."""
    arguments: Mapping[str, str]
    """Global ones, for a stage that repeats their names."""
    global_instructions: tuple[Instruction, ...]
    escape: str
    names: Names
    unused: tuple[str, ...]
    """Arguments that were given, and that no ARG takes."""

    @property
    def steps(self) -> int:
        count = sum(1 + len(stage.instructions) for stage in self.stages)
        return count + len(self.global_instructions)

    def stage_of(self, name: str, before: int) -> int | None:
        """The stage that ``--from`` means in stage `before`; None: it is an image.

        Raises:
            InvalidInputError: a number, and no stage before it has it.
        """
        return self.names.stage_of(name, before)


def plan(
    dockerfile: Dockerfile,
    target: str,
    given: Mapping[str, str],
    platform: Mapping[str, str],
) -> Plan:
    """`given` are build arguments, `platform` those that are always there, TARGETARCH and such.

    Raises:
        InvalidInputError: a malformed instruction, or no such target.
        UnsupportedError: one that is understood, and not there.
    """
    head, groups = _grouped(dockerfile)
    arguments = {**platform, **_global_arguments(head, given, dockerfile.escape, platform)}
    stages, names = _stages(groups, arguments, dockerfile.escape)
    wanted = _target(stages, names, target)
    needed: set[int] = set()
    pending = [wanted]
    while pending:
        index = pending.pop()
        if index not in needed:
            needed.add(index)
            pending += stages[index].needs
    kept = tuple(stage for stage in stages if stage.index in needed)
    for stage in kept:
        _check(stage, dockerfile.escape)
    taken = {
        name
        for one in (*head, *(i for stage in stages for i in stage.instructions))
        if one.name == "ARG"
        for name in _argument_names(one, dockerfile.escape)
    }
    return Plan(
        stages=kept,
        arguments=arguments,
        global_instructions=head,
        escape=dockerfile.escape,
        names=names,
        unused=tuple(sorted(set(given) - taken - PROXIES - set(platform))),
    )


def _grouped(
    dockerfile: Dockerfile,
) -> tuple[tuple[Instruction, ...], list[list[Instruction]]]:
    """What is before the first FROM, and each FROM with what follows it."""
    head: list[Instruction] = []
    groups: list[list[Instruction]] = []
    for one in dockerfile.instructions:
        if one.name == "FROM":
            groups.append([one])
        elif groups:
            groups[-1].append(one)
        elif one.name == "ARG":
            head.append(one)
        else:
            raise bad(one.line, "no build stage in current context: FROM comes first, after ARG")
    if not groups:
        raise InvalidInputError("dockerfile parse error: there is no FROM")
    return tuple(head), groups


def _global_arguments(
    head: tuple[Instruction, ...],
    given: Mapping[str, str],
    escape: str,
    platform: Mapping[str, str],
) -> dict[str, str]:
    found: dict[str, str] = {}
    for one in head:
        seen = {**platform, **found}
        for name, value in declared(one, seen, escape).items():
            chosen = given.get(name, value)
            if chosen is not None:
                found[name] = chosen
        check_size(one, found)
    return found


def check_size(one: Instruction, arguments: Mapping[str, str]) -> None:
    """Raises InvalidInputError: with those of `one` they are too many."""
    if sum(map(len, arguments.values())) > MAX_ARGUMENTS:
        raise bad(one.line, f"the arguments have more than {MAX_ARGUMENTS} characters together")


def declared(
    instruction: Instruction, variables: Mapping[str, str], escape: str
) -> dict[str, str | None]:
    """The arguments that an ARG declares, and their defaults; None: there is none."""
    expand = expander(instruction, variables, escape)
    found: dict[str, str | None] = {}
    for word in words.split(instruction.arguments, escape):
        name, separator, value = word.partition("=")
        name = expand(name)
        if not name:
            raise bad(instruction.line, f"ARG: {word!r} has no name")
        found[name] = expand(value) if separator else None
    return found


def _argument_names(instruction: Instruction, escape: str) -> list[str]:
    found = (word.partition("=")[0] for word in words.split(instruction.arguments, escape))
    return ["".join(words.plain_words(name, escape)) for name in found]


def _stages(
    groups: list[list[Instruction]], arguments: Mapping[str, str], escape: str
) -> tuple[list[Stage], Names]:
    stages: list[Stage] = []
    names = Names()
    for index, (origin, *rest) in enumerate(groups):
        check_flags(origin)
        expand = expander(origin, arguments, escape)
        base, name = _from(origin)
        base = expand(base)
        if not base:
            raise bad(origin.line, f"base name ({origin.arguments}) should not be blank")
        base_stage = names.find(base, index)
        own = {
            n
            for one in rest
            for text in sources_of(one)
            if (n := _earlier(one, text, names, index)) is not None
        }
        stages.append(
            Stage(
                index=index,
                name=name,
                base=base,
                base_stage=base_stage,
                platform=expand(flag(origin, "platform")),
                origin=origin,
                instructions=tuple(rest),
                needs=frozenset(own | ({base_stage} if base_stage is not None else set())),
            )
        )
        if name:
            names.add(name, index)
    return stages, names


def _from(origin: Instruction) -> tuple[str, str]:
    """The base and the name of the stage."""
    parts = origin.arguments.split()
    if len(parts) == 1:
        return parts[0], ""
    if len(parts) != 3 or parts[1].lower() != "as":  # noqa: PLR2004 - BASE AS NAME
        raise bad(origin.line, "FROM requires either one or three arguments: BASE [AS NAME]")
    name = parts[2].lower()
    if not _STAGE_NAME.fullmatch(name):
        raise bad(
            origin.line,
            f"invalid name for build stage: {parts[2]!r}; it begins with a letter, and has "
            "letters, digits, '-', '_' and '.'",
        )
    return parts[0], name


def _earlier(one: Instruction, text: str, names: Names, index: int) -> int | None:
    """The stage that ``from`` means; None: it is an image."""
    try:
        return names.stage_of(text, index)
    except InvalidInputError as e:
        raise bad(one.line, e.message) from None


def _target(stages: list[Stage], names: Names, target: str) -> int:
    if not target:
        return stages[-1].index
    found = names.find(target, len(stages))
    found = _number(target, len(stages)) if found is None else found
    if found is not None:
        return found
    known = ", ".join(stage.shown for stage in stages[:_SHOWN])
    more = ", ..." if len(stages) > _SHOWN else ""
    raise InvalidInputError(
        f"target stage {target[:60]!r} could not be found; there are {known}{more}"
    )


def _check(stage: Stage, escape: str) -> None:
    """What is malformed is told before the first step runs."""
    nothing: dict[str, str] = _Anything()
    for one in stage.instructions:
        if one.name == "RUN":
            run(one, configuration.SHELL, nothing, escape)
        elif one.name in {"COPY", "ADD"}:
            copy(one, "/", nothing, escape)
        elif one.name == "ARG":
            declared(one, nothing, escape)
        elif one.name in {"CMD", "ENTRYPOINT", "HEALTHCHECK", "ONBUILD", "SHELL"}:
            configuration.apply({}, one, nothing, escape)


class _Anything(dict[str, str]):
    """Every variable has a value that is good in most places."""

    def get(self, key: str, default: object = None) -> str:  # noqa: ARG002
        return "1"
