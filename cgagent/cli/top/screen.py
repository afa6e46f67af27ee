"""The live screen itself: curses, keys, and the requests that keys make."""

from __future__ import annotations

import curses
import locale
import shlex
import time
from typing import TYPE_CHECKING, Any, Final

from cgagent.cli import limits
from cgagent.cli.top.model import Model
from cgagent.cli.top.view import Look, lines
from cgagent.client.http import quote
from cgagent.errors import CgagentError, UnavailableError

if TYPE_CHECKING:
    from collections.abc import Callable

    from cgagent.cli.main import Context
    from cgagent.client.http import Client

_INTERVAL_S: Final = 1.0
_ESCAPE: Final = 27
_ENTER: Final = frozenset({10, 13, curses.KEY_ENTER})
_ERASE: Final = frozenset({8, 127, curses.KEY_BACKSPACE})


def run(context: Context, client: Client) -> None:
    """Until q or Ctrl-C; the terminal is as it was then, whatever happens."""
    locale.setlocale(locale.LC_ALL, "")
    try:
        curses.wrapper(lambda window: _Screen(context, client, window).loop())
    except KeyboardInterrupt:
        return


class _Screen:
    def __init__(self, context: Context, client: Client, window: curses.window) -> None:
        self._context = context
        self._client = client
        self._window = window
        self._model = Model()
        self._host: dict[str, Any] = {}
        self._message = ""
        self._unicode = locale.nl_langinfo(locale.CODESET).upper() == "UTF-8"
        self._looks = _looks()
        self._prompt: tuple[str, str, Callable[[str], None]] | None = None
        self._keys: dict[int, Callable[[], None]] = {
            curses.KEY_UP: lambda: self._model.move(-1),
            ord("k"): lambda: self._model.move(-1),
            curses.KEY_DOWN: lambda: self._model.move(1),
            ord("j"): lambda: self._model.move(1),
            curses.KEY_PPAGE: lambda: self._model.move(-self._page()),
            curses.KEY_NPAGE: lambda: self._model.move(self._page()),
            curses.KEY_HOME: lambda: self._model.move(-(10**9)),
            curses.KEY_END: lambda: self._model.move(10**9),
            ord("<"): lambda: self._model.sort_by_next(-1),
            curses.KEY_LEFT: lambda: self._model.sort_by_next(-1),
            ord(">"): lambda: self._model.sort_by_next(1),
            curses.KEY_RIGHT: lambda: self._model.sort_by_next(1),
            ord("r"): self._reverse,
            ord("t"): self._tree,
            ord("/"): self._ask_filter,
            ord("f"): self._freeze_or_thaw,
            ord("l"): self._ask_limits,
        }

    def loop(self) -> None:
        curses.curs_set(0)
        due_s = 0.0
        while True:
            if time.monotonic() >= due_s:
                self._refresh()
                due_s = time.monotonic() + _INTERVAL_S
            self._draw()
            self._window.timeout(max(round((due_s - time.monotonic()) * 1000), 0))
            key = self._window.getch()
            if key == -1:
                continue
            if self._prompt:
                self._type(key)
            elif key == ord("q"):
                return
            else:
                self._keys.get(key, lambda: None)()

    def _refresh(self) -> None:
        try:
            self._host = self._client.request("GET", "/v1/host")
            self._model.take(self._client.request("GET", "/v1/stats"))
        except UnavailableError as error:  # it may be restarting
            self._message = error.message

    def _draw(self) -> None:
        size = self._window.getmaxyx()
        message = f"{self._prompt[0]}{self._prompt[1]}_" if self._prompt else self._message
        self._window.erase()
        shown = lines(self._model, self._host, size, message, unicode=self._unicode)
        for y, line in enumerate(shown):
            # insstr, as addstr cannot write the last cell of the screen
            self._window.insstr(y, 0, line.text, self._looks[line.look])
        self._window.refresh()

    def _page(self) -> int:
        return max(self._window.getmaxyx()[0] - 4, 1)

    def _reverse(self) -> None:
        self._model.reverse = not self._model.reverse

    def _tree(self) -> None:
        self._model.tree = not self._model.tree

    # -- prompts ----------------------------------------------------------------------------

    def _type(self, key: int) -> None:
        if self._prompt is None:
            return
        title, text, done = self._prompt
        if key in _ENTER or key == _ESCAPE:
            self._prompt = None
            done("" if key == _ESCAPE else text)
        elif key in _ERASE:
            self._prompt = title, text[:-1], done
        elif 0 <= key < 0x110000 and chr(key).isprintable():  # noqa: PLR2004 - Unicode's end
            self._prompt = title, text + chr(key), done

    def _ask_filter(self) -> None:
        def done(text: str) -> None:
            self._model.filter = text

        self._prompt = "show only names with: ", self._model.filter, done

    def _ask_limits(self) -> None:
        row = self._model.choice()
        if row is None or not row.is_container:
            self._message = (
                "limits are set here for containers; for other groups: cgagent cgroup set"
            )
            return

        def done(text: str) -> None:
            if text.strip():
                self._act(f"limits of {row.name} set", lambda: self._set_limits(row.id, text))

        self._prompt = f"limits of {row.name} (--memory 256m --cpus 0.5): ", "", done

    def _set_limits(self, container: str, text: str) -> None:
        parser = self._context.parser("", "", add_help=False)
        limits.add_flags(parser)
        body = limits.request(parser.parse_args(shlex.split(text)))
        self._client.request("POST", f"/v1/containers/{quote(container)}/update", body)

    # -- what keys do -----------------------------------------------------------------------

    def _freeze_or_thaw(self) -> None:
        row = self._model.choice()
        if row is None or not row.is_container:
            self._message = (
                "only containers are frozen here; for other groups: cgagent cgroup freeze"
            )
            return
        verb = "thaw" if row.frozen else "freeze"
        path = f"/v1/containers/{quote(row.id)}/{verb}"
        self._act(f"{row.name}: {verb} done", lambda: self._client.request("POST", path))
        self._refresh()

    def _act(self, done: str, change: Callable[[], object]) -> None:
        try:
            change()
        except (CgagentError, ValueError) as error:
            self._message = error.message if isinstance(error, CgagentError) else str(error)
        else:
            self._message = done


def _looks() -> dict[Look, int]:
    looks: dict[Look, int] = {
        "plain": curses.A_NORMAL,
        "title": curses.A_BOLD,
        "chosen": curses.A_REVERSE,
        "frozen": curses.A_DIM,
        "alarm": curses.A_BOLD,
        "message": curses.A_NORMAL,
    }
    if curses.has_colors():
        curses.use_default_colors()
        for number, color in ((1, curses.COLOR_CYAN), (2, curses.COLOR_YELLOW)):
            curses.init_pair(number, color, -1)
        looks["frozen"] = curses.color_pair(1)
        looks["alarm"] = curses.color_pair(2) | curses.A_BOLD
    return looks
