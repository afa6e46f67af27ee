"""The program that a container's process becomes: where it is, what it is given, and exec.

Everything that exec hands to the kernel is made before: a filter of system calls that is loaded
last may forbid to ask for memory, or to look at a file.
"""

from __future__ import annotations

import errno
import os
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, NoReturn

from cgagent.errors import CommandNotFoundError, InvalidInputError, NotExecutableError
from cgagent.kernel import libc

if TYPE_CHECKING:
    import ctypes
    from collections.abc import Iterable, Mapping

DEFAULT_PATH: Final = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"


def variables(process: Mapping[str, Any]) -> dict[str, str]:
    """Its environment; of a variable given twice the last value."""
    return dict(item.partition("=")[::2] for item in process.get("env") or ())


def places(process: Mapping[str, Any]) -> list[str]:
    """Paths at which its program may be, in the order of its PATH."""
    command = process["args"][0]
    if "/" in command:
        return [command]
    path = variables(process).get("PATH", DEFAULT_PATH)
    return [os.path.join(directory or ".", command) for directory in path.split(":")]


def candidates(process: Mapping[str, Any]) -> list[str]:
    """Those of `places` that exist, or that one cannot tell of."""
    return [c for c in places(process) if _may_be_there(c)]


def _may_be_there(path: str) -> bool:
    """To look takes a fifth of what a failed exec does; a filter could keep us from it later."""
    try:
        os.lstat(path)
    except (FileNotFoundError, NotADirectoryError):
        return False
    except OSError:  # to be told by exec
        return True
    return True


def require_executable(process: Mapping[str, Any]) -> None:
    """Tell now what exec would tell later, when there may be no way to tell it.

    Raises:
        CommandNotFoundError, NotExecutableError.
    """
    command = process["args"][0]
    found = [c for c in places(process) if os.path.exists(c)]
    if not found:
        raise _not_found(command)
    if not any(os.access(c, os.X_OK) and not os.path.isdir(c) for c in found):
        raise NotExecutableError(f"command {command!r}: {os.strerror(errno.EACCES).lower()}")


def _not_found(command: str) -> CommandNotFoundError:
    where = "no such file or directory" if "/" in command else "executable file not found in $PATH"
    return CommandNotFoundError(f"command {command!r}: {where}")


@dataclass(frozen=True, slots=True)
class Command:
    """Ready for exec."""

    name: str
    paths: tuple[bytes, ...]
    arguments: ctypes.Array[ctypes.c_char_p]
    environment: ctypes.Array[ctypes.c_char_p]

    @classmethod
    def prepare(cls, args: Iterable[str], paths: Iterable[str], env: Mapping[str, str]) -> Command:
        """Raises InvalidInputError: a NUL byte, where the kernel would see the end."""
        args = list(args)
        return cls(
            args[0],
            tuple(os.fsencode(p) for p in paths),
            _strings("argument", args),
            _strings("environment variable", [f"{name}={value}" for name, value in env.items()]),
        )

    def execute(self) -> NoReturn:
        """Become the first of its files that can be executed.

        Raises:
            CommandNotFoundError: no such file.
            NotExecutableError: a file that cannot be executed.
        """
        denied: OSError | None = None
        for path in self.paths:
            try:
                libc.execve(path, self.arguments, self.environment)
            except (FileNotFoundError, NotADirectoryError) as e:
                if os.path.exists(path):  # the interpreter of a script or ELF file is missing
                    denied = e
            except OSError as e:
                denied = denied or e
        raise _not_found(self.name) if denied is None else _not_executable(self.name, denied)


def _not_executable(name: str, error: OSError) -> NotExecutableError:
    reason = {
        errno.ENOEXEC: "exec format error: neither a binary for this machine nor a #! script",
        errno.ENOENT: "its interpreter (#! line or dynamic loader) is missing",
    }.get(error.errno or 0, os.strerror(error.errno or 0).lower())
    return NotExecutableError(f"command {name!r}: {reason}")


def _strings(what: str, values: list[str]) -> ctypes.Array[ctypes.c_char_p]:
    """As exec takes them: pointers, and a null one at the end."""
    encoded = [os.fsencode(value) for value in values]
    if any(b"\0" in value for value in encoded):
        raise InvalidInputError(f"process: an {what} has a NUL byte in it; leave it out")
    return (libc.c_char_p * (len(encoded) + 1))(*encoded, None)
