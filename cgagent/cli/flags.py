"""A command's flags and arguments, as data.

What is right is scanned here, in a tenth of the time that importing argparse takes. Whatever is
not, or asks for help, goes to an argparse parser made of the same data, which has the words for it.
"""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    import argparse
    from collections.abc import Callable, Sequence
    from typing import Any, Final, NoReturn

REMAINDER: Final = "..."
"""`nargs` of a last argument that takes all that follows, flags too."""
SUPPRESS: Final = "==SUPPRESS=="
_TRUTHS: Final = {
    **dict.fromkeys(("1", "t", "T", "true", "TRUE", "True"), True),
    **dict.fromkeys(("0", "f", "F", "false", "FALSE", "False"), False),
}
"""What ``--rm=false`` may say: docker's spellings, which are Go's."""


class Namespace:
    """What was given: an attribute for each flag and argument."""

    def __init__(self, values: dict[str, Any]) -> None:
        self.__dict__.update(values)

    if TYPE_CHECKING:

        def __getattr__(self, name: str) -> Any: ...


class _Unsure(Exception):  # noqa: N818 - not an error yet: argparse is to say
    """Something that is not plainly right."""


class Flag:
    """One flag or argument, in the words of argparse's add_argument."""

    __slots__ = ("action", "dest", "names", "options")

    def __init__(self, names: tuple[str, ...], options: dict[str, Any]) -> None:
        self.names = names
        self.options = options
        self.action: str = options.get("action", "store")
        long = next((name for name in names if name.startswith("--")), names[0])
        self.dest: str = options.get("dest") or long.lstrip("-").replace("-", "_")

    @property
    def is_argument(self) -> bool:
        return not self.names[0].startswith("-")

    @property
    def is_switch(self) -> bool:
        return self.action in {"store_true", "store_false"}

    def default(self) -> Any:
        default = self.options.get("default", False if self.action == "store_true" else None)
        return list(default) if isinstance(default, list) else default

    def put(self, values: dict[str, Any], text: str) -> None:
        value = self.converted(text)
        if self.action == "append":
            values[self.dest] = [*(values[self.dest] or ()), value]
        else:
            values[self.dest] = value

    def converted(self, text: str) -> Any:
        convert: Callable[[str], Any] = self.options.get("type", str)
        try:
            value = convert(text)
        except (ValueError, TypeError):
            raise _Unsure from None
        if "choices" in self.options and value not in self.options["choices"]:
            raise _Unsure
        return value


class Flags:
    """`options` are those of argparse.ArgumentParser; `keep_lines`: in the epilog, as they are."""

    def __init__(
        self, error: Callable[[str], NoReturn], *, keep_lines: bool = False, **options: Any
    ) -> None:
        self._error = error
        self._keep_lines = keep_lines
        self._options = options
        self._flags: list[tuple[str | None, Flag]] = []
        """Each with the title of its group."""

    def add_argument(self, *names: str, **options: Any) -> None:
        self._flags.append((None, Flag(names, options)))

    def group(self, title: str) -> Callable[..., None]:
        """`add_argument` for flags that help shows under a title."""

        def add(*names: str, **options: Any) -> None:
            self._flags.append((title, Flag(names, options)))

        return add

    def error(self, message: str) -> NoReturn:
        self._error(message)

    def shown(self) -> list[tuple[str | None, Flag]]:
        """What help shows: each flag and argument with the title of its group."""
        return [(title, f) for title, f in self._flags if f.options.get("help") != SUPPRESS]

    def text(self, name: str) -> str:
        """``usage``, ``description`` or ``epilog``; empty: there is none."""
        return str(self._options.get(name) or "")

    def parse_args(self, args: Sequence[str]) -> Namespace:
        """Ends the program where help is asked for. Raises as `error` does."""
        try:
            return Namespace(_Scan([flag for _, flag in self._flags]).values(list(args)))
        except _Unsure:
            return Namespace(vars(self._argparse().parse_args(args)))

    def print_help(self) -> None:
        self._argparse().print_help()

    def _argparse(self) -> argparse.ArgumentParser:
        import argparse

        from cgagent.cli import helptext

        form = helptext.HelpWithLines if self._keep_lines else helptext.Help
        parser = argparse.ArgumentParser(allow_abbrev=False, formatter_class=form, **self._options)
        parser.error = self._error  # type: ignore[method-assign,assignment]
        # argparse's own swallows a failed write
        parser.print_help = lambda *_: print(parser.format_help(), end="")  # type: ignore[method-assign]
        groups: dict[str, Any] = {}
        for title, flag in self._flags:
            to: Any = parser
            if title is not None:
                to = groups.get(title)
                if to is None:
                    to = groups[title] = parser.add_argument_group(title)
            options = dict(flag.options)
            if options.get("help") == SUPPRESS:  # 3.11 asks for the very object
                options["help"] = argparse.SUPPRESS
            to.add_argument(*flag.names, **options)
        return parser


class _Scan:
    def __init__(self, flags: list[Flag]) -> None:
        self._flags = {name: f for f in flags if not f.is_argument for name in f.names}
        self._arguments = [flag for flag in flags if flag.is_argument]
        self._values = {f.dest: f.default() for f in flags if f.action not in {"help", "version"}}

    def values(self, args: list[str]) -> dict[str, Any]:
        """Raises _Unsure."""
        given: list[str] = []
        takes_rest = any(a.options.get("nargs") == REMAINDER for a in self._arguments)
        while args:
            word = args.pop(0)
            if word == "--":  # what follows is no flag
                given += args
                break
            if word == "-" or not word.startswith("-"):
                given.append(word)
                if takes_rest:
                    given += args
                    break
            elif word.startswith("--"):
                self._long(word, args)
            else:
                self._short(word, args)
        self._place(given)
        return self._values

    def _long(self, word: str, args: list[str]) -> None:
        name, has_value, value = word.partition("=")
        flag = self._known(name)
        if flag.is_switch:
            self._switch(flag, value if has_value else "true")
        else:
            flag.put(self._values, value if has_value else _next(args))

    def _short(self, word: str, args: list[str]) -> None:
        """``-it``, ``-m256m``, ``-m 256m``."""
        letters = word[1:]
        while letters:
            flag = self._known("-" + letters[0])
            letters = letters[1:]
            if flag.is_switch:
                has_value = letters.startswith("=")
                self._switch(flag, letters[1:] if has_value else "true")
                letters = "" if has_value else letters
                continue
            flag.put(self._values, letters.removeprefix("=") if letters else _next(args))
            return

    def _switch(self, flag: Flag, text: str) -> None:
        chosen = _TRUTHS.get(text)
        if chosen is None:
            raise _Unsure
        self._values[flag.dest] = chosen is (flag.action == "store_true")

    def _known(self, name: str) -> Flag:
        flag = self._flags.get(name)
        if flag is None or flag.action not in {"store", "store_true", "store_false", "append"}:
            raise _Unsure
        return flag

    def _place(self, given: list[str]) -> None:
        """The arguments that are no flags, each to its name."""
        for argument in self._arguments:
            nargs = argument.options.get("nargs")
            if nargs in {"*", "+", REMAINDER}:
                if nargs == "+" and not given:
                    raise _Unsure
                self._values[argument.dest] = [argument.converted(text) for text in given]
                given = []
            elif given:
                self._values[argument.dest] = argument.converted(given.pop(0))
            elif nargs != "?":
                raise _Unsure
        if given:
            raise _Unsure


def _next(args: list[str]) -> str:
    """The value of a flag, even one that looks like a flag, as docker has it."""
    if not args:
        raise _Unsure
    return args.pop(0)
