"""The last stretch of a container's process: limits, identity, capabilities, exec.

Runs inside the container's namespaces and root, in a process that is still our interpreter. It
is the same for a container's first process and for a command run in it later.

Nothing can be imported here any more, not even a codec: ours are outside the root. UTF-8 is
loaded from the start.
"""

from __future__ import annotations

import errno
import os
import resource
import stat
from typing import TYPE_CHECKING, Any, Final, NoReturn

from cgagent.errors import CommandNotFoundError, InvalidInputError, NotExecutableError
from cgagent.kernel import capabilities as caps
from cgagent.kernel import descriptors, seccomp
from cgagent.runtime.identity import Identity, look_up

if TYPE_CHECKING:
    from collections.abc import Callable

DEFAULT_PATH: Final = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"


def _reason(error: OSError) -> str:
    return os.strerror(error.errno or 0).lower()


def set_rlimits(process: dict[str, Any]) -> None:
    """Raises InvalidInputError where the agent itself may not go as high."""
    for entry in process.get("rlimits", ()):
        number = getattr(resource, entry["type"], None)
        if number is None:
            raise InvalidInputError(f"resource limit {entry['type']!r} is not known")
        try:
            resource.setrlimit(number, (entry["soft"], entry["hard"]))
        except (PermissionError, ValueError):
            hard = resource.getrlimit(number)[1]
            raise InvalidInputError(
                f"resource limit {entry['type']} {entry['soft']}:{entry['hard']} is above what "
                f"the agent may grant ({hard}); ask for less"
            ) from None


def set_oom_score(process: dict[str, Any]) -> None:
    value = process.get("oomScoreAdj")
    if value is not None:
        with open("/proc/self/oom_score_adj", "w", encoding="utf-8") as f:
            f.write(str(value))


def find_identity(process: dict[str, Any]) -> Identity:
    user = process.get("user", {})
    if "username" in user:
        return look_up(user["username"])
    return Identity(user.get("uid", 0), user.get("gid", 0), tuple(user.get("additionalGids", ())))


def enter_directory(process: dict[str, Any]) -> None:
    """Go to the working directory, which must turn out to be inside the root.

    Raises:
        InvalidInputError: it is not a directory, or leads out (CVE-2024-21626).
    """
    cwd = process.get("cwd") or "/"
    try:
        os.makedirs(cwd, 0o755, exist_ok=True)
        os.chdir(cwd)
    except OSError as e:
        raise InvalidInputError(f"working directory {cwd!r}: {_reason(e)}") from None
    try:
        inside = os.getcwd().startswith("/")
    except OSError:
        inside = False
    if not inside:
        raise InvalidInputError(f"working directory {cwd!r} leads out of the container")


def own_stdio(who: Identity) -> None:
    """Give the pipes to the container's user, who may open /dev/stdout anew."""
    for fd in range(3):
        if stat.S_ISFIFO(os.fstat(fd).st_mode):
            os.fchown(fd, who.uid, who.gid)


def become(process: dict[str, Any], who: Identity) -> None:
    """Take the identity and give up every capability outside the sets.

    The bounding set first: it needs CAP_SETPCAP. Then the ids, keeping capabilities over the
    change, because setgroups and setuid need theirs. Then the sets themselves.
    """
    sets = process.get("capabilities", {})
    ours = caps.held_by_us()
    bounding, effective, permitted, inheritable = (
        caps.mask(sets.get(name, ())) & ours
        for name in ("bounding", "effective", "permitted", "inheritable")
    )
    caps.limit_bounding(bounding)
    caps.clear_ambient()
    caps.keep_over_setuid(keep=True)
    os.setgroups(who.groups)
    os.setresgid(who.gid, who.gid, who.gid)
    os.setresuid(who.uid, who.uid, who.uid)
    caps.keep_over_setuid(keep=False)
    if who.uid:  # as the kernel does at exec for a user who is not root, and Docker shows
        effective = permitted = 0
    caps.set_process(effective, permitted, inheritable)


def _candidates(command: str, path: str) -> list[str]:
    if "/" in command:
        return [command]
    return [os.path.join(directory or ".", command) for directory in path.split(":")]


def environment(process: dict[str, Any], who: Identity) -> dict[str, str]:
    env = dict(item.partition("=")[::2] for item in process.get("env", ()))
    env.setdefault("HOME", who.home)
    return env


def execute(process: dict[str, Any], env: dict[str, str]) -> NoReturn:
    """Become the command, looked up in the container's PATH.

    Raises:
        CommandNotFoundError: no such file.
        NotExecutableError: a file that cannot be executed.
    """
    args = process["args"]
    descriptors.close_on_exec_from(3)
    denied: OSError | None = None
    for candidate in _candidates(args[0], env.get("PATH", DEFAULT_PATH)):
        try:
            os.execve(candidate, args, env)  # noqa: S606 - that is what a runtime does
        except (FileNotFoundError, NotADirectoryError) as e:
            if os.path.exists(candidate):  # the interpreter of a script or ELF file is missing
                denied = e
        except OSError as e:
            denied = denied or e
    if denied is None:
        where = "no such file or directory" if "/" in args[0] else "executable not found in $PATH"
        raise CommandNotFoundError(f"command {args[0]!r}: {where}")
    reason = {
        errno.ENOEXEC: "exec format error: neither a binary for this machine nor a #! script",
        errno.ENOENT: "its interpreter (#! line or dynamic loader) is missing",
    }.get(denied.errno or 0, _reason(denied))
    raise NotExecutableError(f"command {args[0]!r}: {reason}")


def run(
    process: dict[str, Any],
    step: Callable[[str], None],
    ready: Callable[[], None],
    seccomp_filter: bytes | None,
) -> NoReturn:
    """All of it, in the one order that works.

    `step` is told the name of each part first; `ready` is called when only exec is left to do.
    """
    step("set resource limits")
    set_rlimits(process)
    set_oom_score(process)  # before the ids: lowering it needs CAP_SYS_RESOURCE
    step("look up the user")
    who = find_identity(process)
    step("enter the working directory")  # before the ids: it may have to be made
    enter_directory(process)
    os.umask(0o022)
    step("load the seccomp filter")
    if process.get("noNewPrivileges"):
        caps.no_new_privileges()
    own_stdio(who)
    if seccomp_filter is not None:  # before the capabilities: it takes CAP_SYS_ADMIN
        seccomp.load(seccomp_filter)
    step("drop privileges")
    become(process, who)
    step("execute the command")
    env = environment(process, who)
    ready()
    execute(process, env)
