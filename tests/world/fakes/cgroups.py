"""A cgroup v2 hierarchy of plain files, for tests without root.

What the kernel does is done here where plain files do not do it: a group's files come and go with
its directory, a directory with processes stays, a write replaces the whole text, and some writes
move, freeze or kill. Processes are numbers that no real process has.
"""

from __future__ import annotations

import errno
import os
import threading
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from cgagent.cgroups import Host, devices, files

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    import pytest

FIRST_PID: Final = 5_000_000
"""Above the highest number that the kernel gives to a process."""

_CONTROLLERS: Final = "cpuset cpu io memory pids"
_STALL: Final = "avg10=0.00 avg60=0.00 avg300=0.00 total=0"
_PRESSURE: Final = f"some {_STALL}\nfull {_STALL}\n"
_FILES: Final = {
    "cgroup.controllers": f"{_CONTROLLERS}\n",
    "cgroup.events": "populated 0\nfrozen 0\n",
    "cgroup.freeze": "0\n",
    "cgroup.kill": "",
    "cgroup.procs": "",
    "cgroup.stat": "nr_descendants 0\nnr_dying_descendants 0\n",
    "cgroup.subtree_control": "\n",
    "cgroup.type": "domain\n",
    "cpu.max": "max 100000\n",
    "cpu.pressure": _PRESSURE,
    "cpu.stat": "usage_usec 0\nuser_usec 0\nsystem_usec 0\n",
    "cpu.weight": "100\n",
    "cpuset.cpus": "\n",
    "cpuset.cpus.effective": "0-3\n",
    "cpuset.mems": "\n",
    "cpuset.mems.effective": "0\n",
    "io.max": "",
    "io.pressure": _PRESSURE,
    "io.stat": "",
    "io.weight": "default 100\n",
    "memory.current": "0\n",
    "memory.events": "low 0\nhigh 0\nmax 0\noom 0\noom_kill 0\noom_group_kill 0\n",
    "memory.events.local": "low 0\nhigh 0\nmax 0\noom 0\noom_kill 0\noom_group_kill 0\n",
    "memory.high": "max\n",
    "memory.low": "0\n",
    "memory.max": "max\n",
    "memory.min": "0\n",
    "memory.oom.group": "0\n",
    "memory.peak": "0\n",
    "memory.pressure": _PRESSURE,
    "memory.reclaim": "",
    "memory.stat": "anon 0\nfile 0\ninactive_file 0\n",
    "memory.swap.current": "0\n",
    "memory.swap.max": "max\n",
    "pids.current": "0\n",
    "pids.events": "max 0\n",
    "pids.max": "max\n",
}


class CgroupTree:
    """Below `root`, which stands for the machine's ``/``; `host` is what the tested code gets."""

    def __init__(self, root: Path, patch: pytest.MonkeyPatch) -> None:
        self._mount = root / "sys/fs/cgroup"
        (root / "proc/self").mkdir(parents=True)
        (root / "proc/self/mountinfo").write_text("35 24 0:30 / /sys/fs/cgroup rw - cgroup2 c rw\n")
        (root / "proc/self/cgroup").write_text("0::/\n")
        self._mount.mkdir(parents=True)
        for name in ("cgroup.controllers", "cgroup.procs", "cgroup.subtree_control", "cpu.stat"):
            (self._mount / name).write_text(_FILES[name])
        self.on_kill: list[Callable[[list[int]], None]] = []
        """Each is told which processes were killed, in the thread of whoever wrote that."""
        self.never_freezes = False
        self._refused: dict[str, int] = {}
        self._lock = threading.RLock()
        self._install(patch)
        self.host = Host.detect(str(root))

    def _install(self, patch: pytest.MonkeyPatch) -> None:
        """At the system calls and at the one function that writes into a cgroup file system."""
        patch.setattr(os, "mkdir", self._replacing(os.mkdir, self._made))
        patch.setattr(os, "rmdir", self._replacing(os.rmdir, before=self._may_go))
        patch.setattr(files, "write", self._written_to(files.write))
        patch.setattr(devices, "restrict_v2", self._restricted)

    # -- for tests --------------------------------------------------------------------------

    def directory(self, path: str) -> Path:
        """Of the group of that path."""
        return self._mount / path.strip("/")

    def make(self, path: str, *pids: int) -> Path:
        """A group with processes in it, and those above it."""
        self.directory(path).mkdir(parents=True, exist_ok=True)
        for pid in pids:
            self.join(self.directory(path), pid)
        return self.directory(path)

    def held(self, path: str, name: str) -> str:
        """What a file of a group says."""
        return (self.directory(path) / name).read_text().strip()

    def say(self, path: str, name: str, text: str) -> None:
        """Let the kernel have something else to say in a file of a group."""
        _put(self.directory(path) / name, text)

    def groups(self) -> list[str]:
        """The paths of all groups but the root, in order."""
        found = (Path(folder).relative_to(self._mount) for folder, _, _ in os.walk(self._mount))
        return sorted(f"/{path}" for path in found if path.parts)

    def refuse(self, name: str, number: int = errno.EINVAL) -> None:
        """Let every write to files of that name fail."""
        self._refused[name] = number

    def accept(self, name: str) -> None:
        del self._refused[name]

    # -- processes --------------------------------------------------------------------------

    def join(self, directory: Path, pid: int) -> None:
        with self._lock:
            self.leave(pid)
            self._set_pids(directory, [*_pids(directory), pid])

    def leave(self, *pids: int) -> None:
        """They have ended, or are somewhere else."""
        with self._lock:
            for directory in self._having(pids):
                self._set_pids(directory, [p for p in _pids(directory) if p not in pids])

    def _having(self, pids: Iterable[int]) -> list[Path]:
        wanted = set(pids)
        return [d for d in _with_subgroups(self._mount) if wanted.intersection(_pids(d))]

    def _set_pids(self, directory: Path, pids: list[int]) -> None:
        text = "".join(f"{pid}\n" for pid in pids)
        _put(directory / "cgroup.procs", text, exact=True)
        while directory != self._mount:
            populated = any(map(_pids, _with_subgroups(directory)))
            _set_event(directory, "populated", is_set=populated)
            directory = directory.parent

    # -- what the kernel does ---------------------------------------------------------------

    def _is_group(self, path: Any) -> bool:
        return isinstance(path, str | Path) and str(path).startswith(f"{self._mount}/")

    def _replacing(
        self,
        call: Callable[..., None],
        after: Callable[[Path], None] = lambda _: None,
        before: Callable[[Path], None] = lambda _: None,
    ) -> Callable[..., None]:
        def replacement(path: Any, *arguments: Any, **more: Any) -> None:
            if not self._is_group(path):
                call(path, *arguments, **more)
                return
            with self._lock:
                before(Path(path))
                call(path, *arguments, **more)
                after(Path(path))

        return replacement

    @staticmethod
    def _made(directory: Path) -> None:
        for name, text in _FILES.items():
            (directory / name).write_text(text)

    @staticmethod
    def _may_go(directory: Path) -> None:
        if not directory.is_dir():
            raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), str(directory))
        if _pids(directory) or any(entry.is_dir() for entry in directory.iterdir()):
            raise OSError(errno.EBUSY, os.strerror(errno.EBUSY), str(directory))
        # The kernel takes all of a group out of sight at once: what is looked for first goes last.
        for entry in sorted(directory.iterdir(), key=lambda e: e.name == "cgroup.freeze"):
            entry.unlink()

    def _restricted(self, directory: str, _rules: object) -> None:
        """Attaching a program to a group that is there takes a kernel."""
        assert Path(directory).is_dir()

    def _written_to(self, plain: Callable[[str, str], None]) -> Callable[[str, str], None]:
        effects = {
            "cgroup.freeze": self._freeze,
            "cgroup.kill": self._kill,
            "cgroup.procs": self._join,
            "cgroup.subtree_control": _enable,
        }

        def write(path: str, value: str) -> None:
            if not self._is_group(path):
                plain(path, value)
                return
            file = Path(path)
            number = self._refused.get(file.name)
            if number is not None or not file.exists():
                number = number or errno.ENOENT
                raise OSError(number, os.strerror(number), path)
            with self._lock:
                effects.get(file.name, _put)(file, value)

        return write

    def _join(self, file: Path, value: str) -> None:
        self.join(file.parent, int(value))

    def _freeze(self, file: Path, value: str) -> None:
        _put(file, value)
        for directory in _with_subgroups(file.parent):
            asked = any(_is_asked(above) for above in (directory, *directory.parents))
            _set_event(directory, "frozen", is_set=asked and not self.never_freezes)

    def _kill(self, file: Path, _value: str) -> None:
        killed = [pid for d in _with_subgroups(file.parent) for pid in _pids(d)]
        self.leave(*killed)
        for tell in self.on_kill:
            tell(killed)


def _pids(directory: Path) -> list[int]:
    return [int(word) for word in (directory / "cgroup.procs").read_text().split()]


def _is_asked(directory: Path) -> bool:
    """Whether its own tasks are to stand still; the root group has no such file."""
    wish = directory / "cgroup.freeze"
    return wish.exists() and wish.read_text().strip() == "1"


def _with_subgroups(directory: Path) -> Iterator[Path]:
    yield directory
    yield from (p.parent for p in directory.glob("*/**/cgroup.procs"))


def _set_event(directory: Path, name: str, *, is_set: bool) -> None:
    file = directory / "cgroup.events"
    events = {**files.flat(file.read_text()), name: str(int(is_set))}
    _put(file, "".join(f"{key} {value}\n" for key, value in events.items()))


def _enable(file: Path, value: str) -> None:
    changed = {word[1:]: word[0] == "+" for word in value.split()}
    kept = [name for name in file.read_text().split() if changed.get(name, True)]
    added = [name for name, is_on in changed.items() if is_on and name not in kept]
    _put(file, " ".join(kept + added) + "\n")


def _put(file: Path, text: str, *, exact: bool = False) -> None:
    """In one write and in place: a reader in another thread never sees half of it.

    Unless it has to be `exact`, a text is as long as the last one: what follows is empty lines.
    """
    text = text if exact or text.endswith("\n") else f"{text}\n"
    fd = os.open(file, os.O_WRONLY)
    try:
        left = max(0, os.fstat(fd).st_size - len(text))
        if exact:
            os.ftruncate(fd, len(text))
            left = 0
        os.pwrite(fd, (text + "\n" * left).encode(), 0)
    finally:
        os.close(fd)
