"""The last stretch of a container's process: limits, identity, capabilities, exec.

Runs inside the container's namespaces and root, in a process that is still our interpreter. It
is the same for a container's first process and for a command run in it later.

Nothing can be imported here any more, not even a codec: ours are outside the root. UTF-8 is
loaded from the start.
"""

from __future__ import annotations

import contextlib
import os
import resource
import stat
import sys
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Final, NoReturn

from cgagent.errors import CommandNotFoundError, InvalidInputError
from cgagent.kernel import capabilities as caps
from cgagent.kernel import descriptors, procfs, scheduling, seccomp
from cgagent.runtime.container import command, lsm
from cgagent.runtime.container.identity import Identity, group_id, home_of, look_up

if TYPE_CHECKING:
    from collections.abc import Callable

_IO_LEVELS: Final = range(8)
_UMASK: Final = 0o022


def _reason(error: OSError) -> str:
    return os.strerror(error.errno or 0).lower()


@dataclass(frozen=True, slots=True)
class Outside:
    """What is written through the host's /proc, opened before the container's is in sight."""

    label: lsm.Label | None

    @classmethod
    def prepare(cls, process: dict[str, Any]) -> Outside:
        """Set what can be set now, and open what will be written at the end.

        Raises:
            UnsupportedError: a label of a security module that this host does not have.
        """
        prepare_outside(process)
        if not (process.get("apparmorProfile") or process.get("selinuxLabel")):
            return cls(None)
        root = procfs.open_root()
        try:
            return cls(lsm.open_label(process, root))
        finally:
            os.close(root)


def prepare_outside(process: dict[str, Any]) -> None:
    """The OOM score, and hard limits: in a user namespace they could only be made worse.

    Raises:
        InvalidInputError: an OOM score that the kernel refuses.
    """
    raise_rlimits(process)
    score = process.get("oomScoreAdj")
    if score is not None:
        root = procfs.open_root()
        try:
            set_oom_score(root, score)
        finally:
            os.close(root)


def set_oom_score(proc_root: int, score: int) -> None:
    """Raises InvalidInputError where the kernel refuses it."""
    try:
        fd = procfs.open_own(proc_root, "oom_score_adj", os.O_WRONLY)
        try:
            os.write(fd, str(score).encode())
        finally:
            os.close(fd)
    except OSError as e:
        raise InvalidInputError(f"oomScoreAdj {score}: {_reason(e)}") from None


def raise_rlimits(process: dict[str, Any]) -> None:
    """Hard limits that `set_rlimits` will want, as far as we may; it tells what it cannot have."""
    for entry in process.get("rlimits") or ():
        number = getattr(resource, entry["type"], None)
        hard = _rlimit(entry["hard"])
        if number is None or not entry["type"].startswith("RLIMIT_"):
            continue
        soft, most = resource.getrlimit(number)
        if most != resource.RLIM_INFINITY and (hard == resource.RLIM_INFINITY or hard > most):
            with contextlib.suppress(PermissionError, ValueError):
                resource.setrlimit(number, (soft, hard))


def set_rlimits(process: dict[str, Any]) -> None:
    """Raises InvalidInputError: unknown, given twice, or above what the agent itself may have."""
    seen = set()
    for entry in process.get("rlimits") or ():
        number = getattr(resource, entry["type"], None)
        if number is None or not entry["type"].startswith("RLIMIT_"):
            raise InvalidInputError(f"resource limit {entry['type']!r} is not known")
        if number in seen:
            raise InvalidInputError(f"resource limit {entry['type']} is given twice")
        seen.add(number)
        soft, hard = (_rlimit(entry[which]) for which in ("soft", "hard"))
        try:
            resource.setrlimit(number, (soft, hard))
        except (PermissionError, ValueError):
            most = resource.getrlimit(number)[1]
            raise InvalidInputError(
                f"resource limit {entry['type']} {entry['soft']}:{entry['hard']} is above what "
                f"the agent may grant ({most}); ask for less"
            ) from None


def _rlimit(value: int) -> int:
    """The specification has unsigned numbers, Python the same bits signed: -1 is no limit."""
    return value - 2**64 if value >= 2**63 else value


def set_scheduling(process: dict[str, Any]) -> None:
    """CPU policy and input/output priority. Raises InvalidInputError: unknown or refused."""
    scheduler, io = process.get("scheduler"), process.get("ioPriority")
    try:
        if scheduler:
            _set_policy(scheduler)
        if io:
            _set_io_priority(io)
    except OSError as e:
        what = "scheduler" if scheduler else "ioPriority"
        raise InvalidInputError(f"process.{what}: {_reason(e)}") from None


def set_affinity(process: dict[str, Any], when: str) -> None:
    """``execCPUAffinity``: `when` is ``initial``, before the cgroup is joined, or ``final``, after.

    Raises:
        InvalidInputError: no list of CPUs, or none of them is the container's.
    """
    cpus = (process.get("execCPUAffinity") or {}).get(when)
    if not cpus:
        return
    try:
        os.sched_setaffinity(0, scheduling.parse_cpus(cpus))
    except OSError as e:
        raise InvalidInputError(f"execCPUAffinity.{when} {cpus!r}: {_reason(e)}") from None


def _set_policy(scheduler: dict[str, Any]) -> None:
    policy, flags = scheduler["policy"], scheduler.get("flags") or ()
    for name, known in ((policy, scheduling.POLICIES), *((f, scheduling.FLAGS) for f in flags)):
        if name not in known:
            raise InvalidInputError(f"process.scheduler: {name!r} is not known to this kernel")
    scheduling.set_policy(
        scheduling.POLICIES[policy],
        flags=sum(scheduling.FLAGS[f] for f in set(flags)),
        nice=scheduler.get("nice") or 0,
        priority=scheduler.get("priority") or 0,
        runtime_ns=scheduler.get("runtime") or 0,
        deadline_ns=scheduler.get("deadline") or 0,
        period_ns=scheduler.get("period") or 0,
    )


def _set_io_priority(io: dict[str, Any]) -> None:
    if io["class"] not in scheduling.IO_CLASSES or io.get("priority", 0) not in _IO_LEVELS:
        raise InvalidInputError(f"process.ioPriority: {io} has a class or level that is not known")
    scheduling.set_io_priority(scheduling.IO_CLASSES[io["class"]], io.get("priority", 0))


def find_identity(process: dict[str, Any]) -> Identity:
    user = process.get("user") or {}
    extra = (
        *(user.get("additionalGids") or ()),
        *map(group_id, user.get("additionalGroups") or ()),  # ours: names, as docker has them
    )
    if "username" in user:
        found = look_up(user["username"])
        return replace(found, groups=(*found.groups, *extra))
    uid = user.get("uid", 0)
    return Identity(uid, user.get("gid", 0), extra, home_of(uid))


def make_directory(process: dict[str, Any]) -> None:
    """The working directory, where ``/`` is the container's; what links lead to, if need be.

    Raises:
        InvalidInputError: it cannot be made.
    """
    cwd = process.get("cwd") or "/"
    if os.path.isdir(cwd):
        return
    try:
        os.makedirs(os.path.realpath(cwd), 0o755, exist_ok=True)
    except OSError as e:
        raise InvalidInputError(f"working directory {cwd!r}: {_reason(e)}") from None


def enter_directory(process: dict[str, Any]) -> None:
    """Go to the working directory, which must turn out to be inside the root.

    Raises:
        CommandNotFoundError: there is none, which Docker tells as it does of a command.
        InvalidInputError: it is not a directory, or leads out (CVE-2024-21626).
    """
    cwd = process.get("cwd") or "/"
    try:
        os.chdir(cwd)
    except FileNotFoundError as e:
        raise CommandNotFoundError(f"working directory {cwd!r}: {_reason(e)}") from None
    except OSError as e:
        raise InvalidInputError(f"working directory {cwd!r}: {_reason(e)}") from None
    try:
        inside = os.getcwd().startswith("/")
    except OSError:
        inside = False
    if not inside:
        raise InvalidInputError(f"working directory {cwd!r} leads out of the container")


def own_stdio(who: Identity) -> None:
    """Give the pipes to the container's user, who may open /dev/stdout anew; or the terminal."""
    for fd in range(3):
        if stat.S_ISFIFO(os.fstat(fd).st_mode):
            os.fchown(fd, who.uid, who.gid)
        elif os.isatty(fd):
            # its group stays tty's, for write(1)
            with contextlib.suppress(PermissionError):  # from outside our user namespace
                os.fchown(fd, who.uid, -1)


def become(process: dict[str, Any], who: Identity, beside: int = 0) -> None:
    """Take the identity and give up every capability outside the sets and `beside`.

    After `settle`. The ids first, keeping capabilities over the change, because setgroups and
    setuid need theirs. Then the sets themselves.
    """
    effective, permitted, inheritable, ambient = _held(
        process, "effective", "permitted", "inheritable", "ambient"
    )
    beside &= caps.held_by_us()
    caps.keep_over_setuid(keep=True)
    os.setgroups(who.groups)
    os.setresgid(who.gid, who.gid, who.gid)
    os.setresuid(who.uid, who.uid, who.uid)
    caps.keep_over_setuid(keep=False)
    if who.uid and "username" in process.get("user", {}):
        # The agent cannot know the user's number; Docker gives a user who is not root none.
        effective = permitted = ambient
    caps.set_process(effective | beside, permitted | beside, inheritable)
    caps.raise_ambient(ambient & permitted & inheritable)


def _held(process: dict[str, Any], *names: str) -> list[int]:
    """These of the capability sets, without what we do not have ourselves."""
    sets, ours = process.get("capabilities") or {}, caps.held_by_us()
    return [caps.mask(sets.get(name) or ()) & ours for name in names]


@dataclass(frozen=True, slots=True)
class Settled:
    who: Identity
    candidates: list[str]
    """Paths where the command may be, in the order of PATH."""


def settle(
    process: dict[str, Any], step: Callable[[str], None], *, makes_directory: bool
) -> Settled:
    """What needs the container's root, but neither its streams nor that the command is near.

    A working directory that is missing is made for a container, not for a command run inside.
    """
    sys.meta_path.clear()  # a module, or a codec, would come from the container (CVE-2019-14271)
    step("look up the user")
    who = find_identity(process)
    step("enter the working directory")  # before the ids: it may have to be made
    if makes_directory:
        make_directory(process)
    enter_directory(process)
    step("drop privileges")  # those that a program could have; before the ids: it takes CAP_SETPCAP
    caps.limit_bounding(*_held(process, "bounding"))
    caps.clear_ambient()
    return Settled(who, command.candidates(process))


def run(
    process: dict[str, Any],
    settled: Settled,
    step: Callable[[str], None],
    ready: Callable[[], None],
    *,
    outside: Outside,
    seccomp_filter: bytes | None,
    seccomp_flags: int = 0,
    preserved: int = 0,
) -> NoReturn:
    """All that is left after `settle`, in the one order that works.

    `step` is told the name of each part first; `ready` is called when only exec is left to do.
    The command gets `preserved` descriptors beyond the standard streams. A filter that is still to
    be loaded is the last thing before exec: it need not allow what this process does.
    """
    step("set resource limits")
    set_rlimits(process)
    step("set scheduling")  # before the ids: it needs CAP_SYS_NICE
    set_scheduling(process)
    mask = (process.get("user") or {}).get("umask")
    os.umask(_UMASK if mask is None else mask)
    step("drop privileges")
    if process.get("noNewPrivileges"):
        caps.no_new_privileges()
    own_stdio(settled.who)
    become(process, settled.who, 0 if seccomp_filter is None else _needed_for_a_filter(process))
    step("execute the command")
    env = command.variables(process)
    env.setdefault("HOME", settled.who.home)
    program = command.Command.prepare(process["args"], settled.candidates, env)
    descriptors.close_on_exec_from(3 + preserved)
    if seccomp_filter is not None:  # a failure of exec may be kept from being told
        command.require_executable(process)
    ready()
    if outside.label is not None:
        outside.label.write()
    if seccomp_filter is not None:
        step("load the seccomp filter")
        seccomp.load(seccomp_filter, seccomp_flags)
    program.execute()


def _needed_for_a_filter(process: dict[str, Any]) -> int:
    """The capability to load one, where no_new_privs does not allow it to everybody.

    It is kept beside those of the command, which never has it: exec makes the sets anew, of the
    bounding, the inheritable and the ambient one.
    """
    return 0 if process.get("noNewPrivileges") else caps.mask(["CAP_SYS_ADMIN"])
