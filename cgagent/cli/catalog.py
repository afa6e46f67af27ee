"""Each command with its verbs and flags, as data: what completion and manual pages are made of.

A command says what it takes to a parser, and only then reads its arguments: here it is called
with a parser that stops it there.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from cgagent.cli.flags import Flags
from cgagent.cli.main import COMMANDS, Context, UsageError, global_flags

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator, Sequence
    from typing import NoReturn

    from cgagent.cli.flags import Flag, Namespace
    from cgagent.cli.main import Command


class Described:
    """What ``cgagent WORDS`` is: `verbs` of its own, or `flags` and arguments."""

    def __init__(self, words: tuple[str, ...], form: _Form, verbs: Collection[str]) -> None:
        self.words = words
        self.verbs = tuple(sorted(verbs))
        self.usage = form.text("usage")
        self.description = form.text("description")
        self.flags: tuple[tuple[str | None, Flag], ...] = tuple(form.shown())
        """Each with the title of its group; without those that help does not show."""


def described(words: Sequence[str]) -> Described | None:
    """The command of these words, None: there is none. ``("volume", "ls")`` is one."""
    command = next((c for c in COMMANDS if words and c.name == words[0]), None)
    if command is None or command.name == "oci":  # runc's words, not ours
        return None
    found = _ask(command, words[1:])
    return found if found is not None and len(words) == len(found.words) else None


def all_described() -> Iterator[Described]:
    """Every command, and every verb of one after it."""
    for command in COMMANDS:
        found = described([command.name])
        if found is not None:
            yield found
            verbs = (described([command.name, verb]) for verb in found.verbs)
            yield from filter(None, verbs)


def global_form() -> list[Flag]:
    """The flags before a command."""
    return [flag for _, flag in global_flags().shown()]


class _Form(Flags):
    """Stops whoever would read arguments."""

    def parse_args(self, args: Sequence[str]) -> Namespace:  # noqa: ARG002 - as it is called
        raise _Stop(self)

    def print_help(self) -> NoReturn:
        raise _Stop(self)


class _Stop(Exception):  # noqa: N818 - no error
    def __init__(self, form: _Form) -> None:
        self.form = form


class _Asking(Context):
    __slots__ = ()
    form = _Form


def _ask(command: Command, verbs: Sequence[str]) -> Described | None:
    module = __import__(f"cgagent.cli.{command.module}", fromlist=[command.function])
    context = _Asking(command.name, list(verbs), global_flags().parse_args(()))
    try:
        getattr(module, command.function)(context)
    except _Stop as stop:
        return Described(tuple(context.command.split()), stop.form, context.verbs)
    except UsageError:  # no such verb
        return None
    raise AssertionError(f"cgagent {command.name} asks no parser")
