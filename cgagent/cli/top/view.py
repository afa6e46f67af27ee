"""The lines of the live screen, from the model: text and what it is, no terminal."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final, Literal, NamedTuple

from cgagent.standard import printable
from cgagent.units import show_size

if TYPE_CHECKING:
    from cgagent.cli.top.model import Model, Row

Look = Literal["plain", "title", "chosen", "frozen", "alarm", "message"]

KEYS: Final = (
    "up/down choose  < > sort  r reverse  t tree  / filter  f freeze or thaw  l limits  q quit"
)
_BARS: Final = " ▁▂▃▄▅▆▇█"
_ASCII_BARS: Final = " .:-=+*#%"
_SPARKS: Final = 12
_NEAR_PERCENT: Final = 90.0
_WAITING_PERCENT: Final = 20.0
_COLUMNS: Final = (
    # heading, width, sorted by
    ("CPU%", 7, "cpu"),
    ("", _SPARKS, None),
    ("THROT", 6, "throttled"),
    ("MEMORY", 9, "memory"),
    ("LIMIT", 9, None),
    ("MEM%", 6, "limit"),
    ("TASKS", 6, "tasks"),
    ("READ/s", 9, "read"),
    ("WRITE/s", 9, "written"),
    ("WAIT cpu mem io %", 17, "waiting"),
)
_LEAST_NAME: Final = 16


class Line(NamedTuple):
    text: str
    look: Look


def lines(
    model: Model, host: dict[str, Any], size: tuple[int, int], message: str, *, unicode: bool
) -> list[Line]:
    """As many as the screen has rows, each as wide as it is."""
    height, width = size
    rows = model.rows()
    room = max(height - 4, 0)
    chosen = model.choice()
    place = rows.index(chosen) if chosen else 0
    first = min(max(place - room // 2, 0), max(len(rows) - room, 0))
    shown = [
        _line(model, row, width, unicode=unicode, chosen=row is chosen)
        for row in rows[first : first + room]
    ]
    blank = [Line("", "plain")] * (room - len(shown))
    body = [Line(_summary(model, host, len(rows)), "plain"), Line(_heading(model, width), "title")]
    foot = [Line(printable(message), "message"), Line(KEYS, "title")]
    return [
        Line(line.text[:width].ljust(width), line.look) for line in body + shown + blank + foot
    ][:height]


def _summary(model: Model, host: dict[str, Any], count: int) -> str:
    load = " ".join(f"{value:.2f}" for value in host.get("load", ()))
    used = host.get("memory_total_bytes", 0) - host.get("memory_available_bytes", 0)
    order = "tree" if model.tree else f"{model.sort}{', reversed' if model.reverse else ''}"
    narrowed = f"   filter {model.filter!r}" if model.filter else ""
    return (
        f"{count} running   {host.get('cpu_cores', 0)} CPUs   load {load}   memory "
        f"{show_size(used)} of {show_size(host.get('memory_total_bytes', 0))}   "
        f"by {order}{narrowed}"
    )


def _name_width(width: int) -> int:
    taken = sum(size + 1 for _, size, _ in _COLUMNS)
    return max(width - taken, _LEAST_NAME)


def _heading(model: Model, width: int) -> str:
    by_name = "*" if model.sort == "name" and not model.tree else ""
    cells = [f"NAME{by_name}".ljust(_name_width(width))]
    for heading, size, sort in _COLUMNS:
        marked = heading + ("*" if sort == model.sort and not model.tree else "")
        cells.append(marked.rjust(size))
    return " ".join(cells)


def _line(model: Model, row: Row, width: int, *, unicode: bool, chosen: bool) -> Line:
    indent = "  " * model.depth(row) if model.tree else ""
    name_width = _name_width(width)
    name = f"{indent}{row.name}{' (frozen)' if row.frozen else ''}"[:name_width].ljust(name_width)
    values = (
        _number(row.cpu_percent, ".1f"),
        sparks(model.past(row), unicode=unicode),
        _number(row.throttled_percent, ".0f"),
        _size(row.memory_bytes),
        _size(row.limit_bytes, "max"),
        _number(row.memory_percent, ".0f"),
        _number(row.pids, "d"),
        _size(row.read_per_s),
        _size(row.write_per_s),
        " ".join(_number(share, ".0f").rjust(5) for share in row.stalled),
    )
    cells = [v.rjust(size) for v, (_, size, _) in zip(values, _COLUMNS, strict=True)]
    return Line(" ".join((name, *cells)), _look(row, chosen=chosen))


def _look(row: Row, *, chosen: bool) -> Look:
    if chosen:
        return "chosen"
    if row.frozen:
        return "frozen"
    waits = max((share or 0.0 for share in row.stalled[1:]), default=0.0)
    if (row.memory_percent or 0.0) >= _NEAR_PERCENT or waits >= _WAITING_PERCENT:
        return "alarm"
    return "plain"


def sparks(values: list[float], *, unicode: bool) -> str:
    """A bar for each value, the highest for the largest of them, or for 100 if none is larger."""
    bars = _BARS if unicode else _ASCII_BARS
    top = max([100.0, *values])
    steps = len(bars) - 1
    return "".join(bars[min(round(v / top * steps), steps)] for v in values[-_SPARKS:])


def _number(value: float | None, form: str) -> str:
    return "-" if value is None else f"{value:{form}}"


def _size(value: float | None, absent: str = "-") -> str:
    return absent if value is None else show_size(value)
