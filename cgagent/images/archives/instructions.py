"""Instructions of a Dockerfile that change an image's configuration: ``commit --change``.

https://docs.docker.com/reference/dockerfile/
"""

from __future__ import annotations

import json
import posixpath
import re
from typing import TYPE_CHECKING, Any, Final

from cgagent.errors import InvalidInputError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    Run = dict[str, Any]
    """The object ``config`` of an image's configuration, with Docker's names."""

_SHELL: Final = ["/bin/sh", "-c"]
_PORT: Final = re.compile(r"(\d{1,5})(?:-(\d{1,5}))?(?:/(tcp|udp|sctp))?")
_MAX_PORT: Final = 65535


def apply(run: Run, changes: Iterable[str]) -> None:
    """Change `run` as the instructions say, in their order.

    Raises:
        InvalidInputError: an instruction that there is not, or a malformed one.
    """
    seen: set[str] = set()
    for line in changes:
        name, _, rest = line.strip().partition(" ")
        name, rest = name.upper(), rest.strip()
        change = _CHANGES.get(name)
        if change is None:
            raise InvalidInputError(
                f"--change {line!r}: {name or 'nothing'} is none of {', '.join(sorted(_CHANGES))}"
            )
        if not rest:
            raise InvalidInputError(f"--change {line!r}: {name} needs a value")
        try:
            change(run, rest)
        except ValueError as e:
            raise InvalidInputError(f"--change {line!r}: {e}") from None
        if name == "ENTRYPOINT" and "CMD" not in seen:
            run.pop("Cmd", None)  # it was the command of another entrypoint
        seen.add(name)


def _command(run: Run, text: str) -> list[str]:
    """The exec form, a JSON list, or else a line for the image's shell."""
    return _list(text) or [*(run.get("Shell") or _SHELL), text]


def _list(text: str) -> list[str] | None:
    if not text.startswith("["):
        return None
    try:
        found = json.loads(text)
    except (ValueError, RecursionError):
        return None  # as docker: then it is text
    return found if found and all(isinstance(word, str) for word in found) else None


def _cmd(run: Run, text: str) -> None:
    run["Cmd"] = _command(run, text)


def _entrypoint(run: Run, text: str) -> None:
    run["Entrypoint"] = _command(run, text)


def _env(run: Run, text: str) -> None:
    values = dict(item.partition("=")[::2] for item in run.get("Env") or ())
    values.update(_pairs(text))
    run["Env"] = [f"{name}={value}" for name, value in values.items()]


def _label(run: Run, text: str) -> None:
    run["Labels"] = {**(run.get("Labels") or {}), **_pairs(text)}


def _expose(run: Run, text: str) -> None:
    ports = dict(run.get("ExposedPorts") or {})
    for word in _words(text):
        match = _PORT.fullmatch(word)
        if match is None:
            raise ValueError(f"{word!r} is not PORT[-PORT][/PROTOCOL]")
        first, last = int(match[1]), int(match[2] or match[1])
        if not first <= last <= _MAX_PORT:
            raise ValueError(f"{word!r} is not a range of ports")
        ports.update({f"{port}/{match[3] or 'tcp'}": {} for port in range(first, last + 1)})
    run["ExposedPorts"] = dict(sorted(ports.items()))


def _volume(run: Run, text: str) -> None:
    paths = _list(text) or _words(text)
    if "" in paths:
        raise ValueError("a volume's path is empty")
    run["Volumes"] = {**(run.get("Volumes") or {}), **{path: {} for path in paths}}


def _user(run: Run, text: str) -> None:
    run["User"] = text


def _working_dir(run: Run, text: str) -> None:
    run["WorkingDir"] = posixpath.normpath(
        posixpath.join("/", run.get("WorkingDir") or "/", " ".join(_words(text)))
    )


def _on_build(run: Run, text: str) -> None:
    word = text.split(maxsplit=1)[0].upper()
    if word in {"ONBUILD", "FROM", "MAINTAINER"}:
        raise ValueError(f"{word} cannot be a trigger of ONBUILD")
    run["OnBuild"] = [*(run.get("OnBuild") or ()), text]


def _stop_signal(run: Run, text: str) -> None:
    run["StopSignal"] = text


_CHANGES: Final[dict[str, Callable[[Run, str], None]]] = {
    "CMD": _cmd,
    "ENTRYPOINT": _entrypoint,
    "ENV": _env,
    "EXPOSE": _expose,
    "LABEL": _label,
    "ONBUILD": _on_build,
    "STOPSIGNAL": _stop_signal,
    "USER": _user,
    "VOLUME": _volume,
    "WORKDIR": _working_dir,
}


def _pairs(text: str) -> dict[str, str]:
    """``A=b C="d e"``, or the old form, one name and its value after a blank."""
    first = text.split(maxsplit=1)
    if "=" not in first[0]:
        if len(first) == 1:
            raise ValueError(f"{text!r} is not NAME=VALUE")
        return {first[0]: first[1]}
    pairs = {}
    for word in _words(text):
        name, separator, value = word.partition("=")
        if not name or not separator:
            raise ValueError(f"{word!r} is not NAME=VALUE")
        pairs[name] = value
    return pairs


def _words(text: str) -> list[str]:
    """Words between blanks; quotes and backslashes as a shell has them, and no variables."""
    words: list[str] = []
    word: str | None = None
    quote = ""
    characters = iter(text)
    for c in characters:
        if c == "\\" and quote != "'":
            word = (word or "") + next(characters, "\\")
        elif quote:
            quote, word = ("", word) if c == quote else (quote, (word or "") + c)
        elif c in "'\"":
            quote, word = c, word or ""
        elif c.isspace():
            if word is not None:
                words.append(word)
            word = None
        else:
            word = (word or "") + c
    if quote:
        raise ValueError(f"a quote {quote} is not closed")
    return words if word is None else [*words, word]
