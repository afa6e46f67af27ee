"""The processes of a container as ``ps`` would show them: pids and users are the host's."""

from __future__ import annotations

import os
import pwd
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

import psutil

from cgagent.errors import InvalidInputError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

_DAY_S: Final = 86400
_STATES: Final = {
    psutil.STATUS_RUNNING: "R",
    psutil.STATUS_SLEEPING: "S",
    psutil.STATUS_DISK_SLEEP: "D",
    psutil.STATUS_STOPPED: "T",
    psutil.STATUS_TRACING_STOP: "t",
    psutil.STATUS_ZOMBIE: "Z",
    psutil.STATUS_IDLE: "I",
}


@dataclass(frozen=True, slots=True)
class ProcessTable:
    titles: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]


def table(pids: Iterable[int], options: Sequence[str] = ()) -> ProcessTable:
    """`options` are those of ps: ``-ef`` (the default), ``aux``, or ``-o COLUMN,COLUMN``.

    Raises:
        InvalidInputError: an option or a column that is not known.
    """
    columns = _columns(options)
    rows = []
    for pid in sorted(pids):
        try:
            process = psutil.Process(pid)
            with process.oneshot():
                rows.append(tuple(show(process) for _, show in columns))
        except psutil.NoSuchProcess:
            continue
    return ProcessTable(tuple(title for title, _ in columns), tuple(rows))


def _user(process: psutil.Process) -> str:
    uid = process.uids().effective
    try:
        return pwd.getpwuid(uid).pw_name
    except KeyError:
        return str(uid)


def _cpu_s(process: psutil.Process) -> float:
    times = process.cpu_times()
    return float(times.user + times.system)


def _cpu_percent(process: psutil.Process) -> float:
    """Over the process's life, as ps has it."""
    lived = time.time() - process.create_time()
    return 100 * _cpu_s(process) / lived if lived > 0 else 0.0


def _started(process: psutil.Process) -> str:
    began = process.create_time()
    recent = time.time() - began < _DAY_S
    return time.strftime("%H:%M" if recent else "%b%d", time.localtime(began))


def _clock(seconds: float) -> str:
    minutes, rest = divmod(int(seconds), 60)
    return f"{minutes // 60:02d}:{minutes % 60:02d}:{rest:02d}"


def _command(process: psutil.Process) -> str:
    try:
        line = " ".join(process.cmdline()) or f"[{process.name()}]"
    except psutil.ZombieProcess:
        line = f"[{process.name()}] <defunct>"
    return os.fsencode(line).decode("utf-8", "replace")


def _terminal(process: psutil.Process) -> str:
    return (process.terminal() or "?").removeprefix("/dev/")


_SHOW: Final[dict[str, tuple[str, Callable[[Any], str]]]] = {
    "uid": ("UID", lambda p: str(p.uids().effective)),
    "user": ("USER", _user),
    "pid": ("PID", lambda p: str(p.pid)),
    "ppid": ("PPID", lambda p: str(p.ppid())),
    "c": ("C", lambda p: str(int(_cpu_percent(p)))),
    "pcpu": ("%CPU", lambda p: f"{_cpu_percent(p):.1f}"),
    "pmem": ("%MEM", lambda p: f"{p.memory_percent():.1f}"),
    "vsz": ("VSZ", lambda p: str(p.memory_info().vms // 1024)),
    "rss": ("RSS", lambda p: str(p.memory_info().rss // 1024)),
    "tty": ("TTY", _terminal),
    "stat": ("STAT", lambda p: _STATES.get(p.status(), "?")),
    "stime": ("STIME", _started),
    "start": ("START", _started),
    "time": ("TIME", lambda p: _clock(_cpu_s(p))),
    "ni": ("NI", lambda p: str(p.nice())),
    "nlwp": ("NLWP", lambda p: str(p.num_threads())),
    "comm": ("COMMAND", lambda p: os.fsencode(p.name()).decode("utf-8", "replace")),
    "args": ("COMMAND", _command),
    "cmd": ("CMD", _command),
}
_ALIASES: Final = {
    "euser": "user",
    "euid": "uid",
    "%cpu": "pcpu",
    "%mem": "pmem",
    "vsize": "vsz",
    "rssize": "rss",
    "tt": "tty",
    "tname": "tty",
    "s": "stat",
    "state": "stat",
    "start_time": "start",
    "cputime": "time",
    "nice": "ni",
    "thcount": "nlwp",
    "ucmd": "comm",
    "command": "args",
}
_FULL: Final = ("pid", "ppid", "c", "stime", "tty", "time", "cmd")
_OF_USERS: Final = (
    *("user", "pid", "pcpu", "pmem", "vsz", "rss", "tty", "stat", "start", "time", "args"),
)
_FORMATS: Final = {
    "-ef": (("UID", _user), *(_SHOW[name] for name in _FULL)),
    "aux": tuple(_SHOW[name] for name in _OF_USERS),
}


def _columns(options: Sequence[str]) -> Sequence[tuple[str, Callable[[Any], str]]]:
    wanted: list[str] = []
    shape = "-ef"
    rest = list(options)
    while rest:
        option = rest.pop(0)
        if option in {"-e", "-f", "-A", "ax"}:
            continue
        if option in _FORMATS:
            shape = option
        elif option in {"-o", "-eo", "o"} and rest:
            wanted += rest.pop(0).lower().split(",")
        elif option.startswith("-o"):
            wanted += option[2:].lower().split(",")
        else:
            raise InvalidInputError(
                f"ps option {option!r} is not known; there are -ef, aux, -o COLUMN[,COLUMN...]"
            )
    return [_column(name) for name in wanted] or _FORMATS[shape]


def _column(name: str) -> tuple[str, Callable[[Any], str]]:
    found = _SHOW.get(_ALIASES.get(name, name))
    if found is None:
        raise InvalidInputError(f"ps column {name!r} is not known; there are {', '.join(_SHOW)}")
    return found
