"""Instructions of a Dockerfile that change an image's configuration: ``commit --change``.

They are read and carried out as the builder does it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from cgagent.errors import InvalidInputError
from cgagent.images.build import configuration
from cgagent.images.build.syntax import Dockerfile, Instruction, parse

if TYPE_CHECKING:
    from collections.abc import Iterable

    Run = dict[str, Any]
    """The object ``config`` of an image's configuration, with Docker's names."""

_CHANGES: Final = sorted(configuration.CHANGES.keys() - {"MAINTAINER", "SHELL"})


def quoted(value: str) -> str:
    """A word that is taken as it is: no blank in it ends it, and no variable is replaced."""
    for special in ("\\", '"', "$"):
        value = value.replace(special, f"\\{special}")
    return f'"{value}"'


def apply(run: Run, changes: Iterable[str | Instruction]) -> None:
    """Change `run` as the instructions say, in their order: lines, or such as are parsed.

    A value in a line has no line break in it; one that is parsed may, where it is `quoted`.

    Raises:
        InvalidInputError: an instruction that there is not, or a malformed one.
    """
    seen: set[str] = set()
    for line in changes:
        found = _parsed(line)
        for one in found.instructions:
            if one.name not in _CHANGES:
                raise _refused(line, f"{one.name} is none of {', '.join(_CHANGES)}")
            try:
                configuration.apply(run, one, configuration.variables_of(run), found.escape)
            except InvalidInputError as e:
                raise _refused(line, e.message) from None
            if one.name == "ENTRYPOINT" and "CMD" not in seen:
                run.pop("Cmd", None)  # it was the command of another entrypoint
            seen.add(one.name)


def _parsed(line: str | Instruction) -> Dockerfile:
    if isinstance(line, Instruction):
        return Dockerfile((line,))
    if not line.strip():
        raise _refused(line, "it is no instruction")
    try:
        return parse(line.encode("utf-8", "surrogateescape"))
    except InvalidInputError as e:
        raise _refused(line, e.message) from None


def _refused(line: str | Instruction, why: str) -> InvalidInputError:
    text = line.text if isinstance(line, Instruction) else line
    return InvalidInputError(f"--change {text!r}: {why.removeprefix(_WHERE)}")


_WHERE: Final = "dockerfile parse error on line 1: "
