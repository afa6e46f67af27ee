"""Instructions that change an image's configuration alone: ENV, CMD, LABEL and the like."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any, Final

from cgagent.errors import InvalidInputError
from cgagent.images.build import words
from cgagent.images.build.commands import absolute, check_flags, expander, flag
from cgagent.images.build.syntax import bad, is_bad, json_words
from cgagent.units import parse_duration

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from cgagent.images.build.syntax import Instruction

    Settings = dict[str, Any]
    """The object ``config`` of an image's configuration, with Docker's names."""
    Change = Callable[[Settings, Instruction, Callable[[str], str], str], None]

SHELL: Final = ("/bin/sh", "-c")
NO_TRIGGERS: Final = frozenset({"ONBUILD", "FROM", "MAINTAINER"})
_PORT: Final = re.compile(r"(\d{1,5})(?:-(\d{1,5}))?(?:/(tcp|udp|sctp))?", re.IGNORECASE)
_MAX_PORT: Final = 65535
_TIMES: Final = {
    "interval": "Interval",
    "timeout": "Timeout",
    "start-period": "StartPeriod",
    "start-interval": "StartInterval",
}


def variables_of(settings: Mapping[str, Any]) -> dict[str, str]:
    """Its environment."""
    return dict(item.partition("=")[::2] for item in settings.get("Env") or ())


def apply(
    settings: Settings, instruction: Instruction, variables: Mapping[str, str], escape: str
) -> str:
    """Change `settings`; what the instruction came to, for history and cache.

    Raises:
        InvalidInputError: it is malformed.
    """
    check_flags(instruction)
    expand = expander(instruction, variables, escape)
    change = CHANGES[instruction.name]
    try:
        change(settings, instruction, expand, escape)
    except InvalidInputError as e:
        if is_bad(e):
            raise
        raise bad(instruction.line, f"{instruction.name}: {e.message}") from None
    except (ValueError, words.WordError) as e:
        raise bad(instruction.line, f"{instruction.name}: {e}") from None
    return (
        instruction.text
        if instruction.name in _AS_WRITTEN
        else _came_to(instruction, expand, escape)
    )


def _came_to(instruction: Instruction, expand: Callable[[str], str], escape: str) -> str:
    text = " ".join(map(expand, words.split(instruction.arguments, escape)))
    flags = [f"--{name}={value}" for name, value in instruction.flags]
    return " ".join((instruction.name, *flags, text))


def pairs(text: str, expand: Callable[[str], str], escape: str) -> dict[str, str]:
    """``A=b C="d e"``, or the old form, one name and its value after a blank."""
    first, *rest = text.split(None, 1)
    if "=" not in words.split(text, escape)[0]:
        if not rest:
            raise ValueError(f"{text!r} is not NAME=VALUE")
        return {expand(first): expand(rest[0])}
    found = {}
    for word in words.split(text, escape):
        name, separator, value = word.partition("=")
        if not expand(name) or not separator:
            raise ValueError(f"can't find = in {word!r}: it must be of the form NAME=VALUE")
        found[expand(name)] = expand(value)
    return found


def set_variables(settings: Settings, new: Mapping[str, str]) -> None:
    values = {**variables_of(settings), **new}
    settings["Env"] = [f"{name}={value}" for name, value in values.items()]


def _env(settings: Settings, i: Instruction, expand: Callable[[str], str], escape: str) -> None:
    set_variables(settings, pairs(i.arguments, expand, escape))


def _label(settings: Settings, i: Instruction, expand: Callable[[str], str], escape: str) -> None:
    new = pairs(i.arguments, expand, escape)
    settings["Labels"] = {**(settings.get("Labels") or {}), **new}


def _command(settings: Settings, i: Instruction) -> list[str]:
    given = i.words
    if given is not None:
        return list(given)
    return [*(settings.get("Shell") or SHELL), i.arguments]


def _cmd(settings: Settings, i: Instruction, _expand: object, _escape: str) -> None:
    settings["Cmd"] = _command(settings, i)


def _entrypoint(settings: Settings, i: Instruction, _expand: object, _escape: str) -> None:
    settings["Entrypoint"] = _command(settings, i)


def _shell(settings: Settings, i: Instruction, _expand: object, _escape: str) -> None:
    if not i.words:
        raise ValueError('it requires the arguments to be in JSON form: ["executable", "-c"]')
    settings["Shell"] = list(i.words)


def _expose(settings: Settings, i: Instruction, expand: Callable[[str], str], escape: str) -> None:
    ports = dict(settings.get("ExposedPorts") or {})
    for written in words.split(i.arguments, escape):
        for word in expand(written).split():
            match = _PORT.fullmatch(word)
            first, last = (int(match[1]), int(match[2] or match[1])) if match else (1, 0)
            if match is None or not first <= last <= _MAX_PORT:
                raise ValueError(f"invalid containerPort: {word}")
            kind = (match[3] or "tcp").lower()
            ports.update({f"{port}/{kind}": {} for port in range(first, last + 1)})
    settings["ExposedPorts"] = dict(sorted(ports.items()))


def _volume(settings: Settings, i: Instruction, expand: Callable[[str], str], escape: str) -> None:
    given = i.words
    paths = [
        part
        for written in (given if given is not None else words.split(i.arguments, escape))
        for part in ([expand(written)] if given is not None else expand(written).split())
    ]
    if not all(path.strip() for path in paths):
        raise ValueError("VOLUME specified can not be an empty string")
    settings["Volumes"] = {**(settings.get("Volumes") or {}), **{path: {} for path in paths}}


def _user(settings: Settings, i: Instruction, expand: Callable[[str], str], _escape: str) -> None:
    settings["User"] = _one(expand(i.arguments), "user")


def _working_dir(
    settings: Settings, i: Instruction, expand: Callable[[str], str], _escape: str
) -> None:
    found = absolute(settings.get("WorkingDir") or "/", _one(expand(i.arguments), "directory"))
    settings["WorkingDir"] = found.rstrip("/") or "/"


def _stop_signal(
    settings: Settings, i: Instruction, expand: Callable[[str], str], _escape: str
) -> None:
    settings["StopSignal"] = _one(expand(i.arguments), "signal")


def _one(value: str, what: str) -> str:
    if not value.strip():
        raise ValueError(f"the {what} is empty")
    return value


def _maintainer(
    settings: Settings, _i: Instruction, _expand: Callable[[str], str], _escape: str
) -> None:
    """The author is no part of the settings."""


def _on_build(settings: Settings, i: Instruction, _expand: object, _escape: str) -> None:
    word = i.arguments.split(maxsplit=1)[0].upper()
    if word in NO_TRIGGERS:
        raise ValueError(f"{word} isn't allowed as an ONBUILD trigger")
    lines = [i.arguments, *(f"{h.content}{h.name}" for h in i.heredocs)]
    settings["OnBuild"] = [*(settings.get("OnBuild") or ()), "\n".join(lines)]


def _health(settings: Settings, i: Instruction, _expand: object, _escape: str) -> None:
    kind, *rest = i.arguments.split(None, 1)
    if kind.upper() == "NONE":
        if rest:
            raise ValueError("NONE takes no arguments")
        settings["Healthcheck"] = {"Test": ["NONE"]}
        return
    if kind.upper() != "CMD" or not rest:
        raise ValueError(f"unknown type {kind!r}: write CMD and a command, or NONE")
    given = json_words(rest[0])
    check: dict[str, Any] = {"Test": ["CMD", *given] if given else ["CMD-SHELL", rest[0]]}
    for name, field in _TIMES.items():
        if text := flag(i, name):
            check[field] = int(parse_duration(text, f"--{name}") * 1e9)
    if text := flag(i, "retries"):
        if not text.isdecimal():
            raise ValueError(f"--retries {text!r} is not a number")
        check["Retries"] = int(text)
    settings["Healthcheck"] = check


CHANGES: Final[dict[str, Change]] = {
    "CMD": _cmd,
    "ENTRYPOINT": _entrypoint,
    "ENV": _env,
    "EXPOSE": _expose,
    "HEALTHCHECK": _health,
    "LABEL": _label,
    "MAINTAINER": _maintainer,
    "ONBUILD": _on_build,
    "SHELL": _shell,
    "STOPSIGNAL": _stop_signal,
    "USER": _user,
    "VOLUME": _volume,
    "WORKDIR": _working_dir,
}
_AS_WRITTEN: Final = frozenset({"CMD", "ENTRYPOINT", "HEALTHCHECK", "ONBUILD", "SHELL"})
"""Variables mean nothing to the builder in these."""
