"""Attaching a client's socket to a container, and running further commands inside one.

The socket itself is handed to the supervisor; no byte of a container's input or output passes
through the agent.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import secrets
import signal
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, TypeAlias

from cgagent.engine.lifecycle import require_running
from cgagent.engine.lifecycle.pool import OUTSIDE
from cgagent.engine.options import resolve
from cgagent.engine.options.runtimes import launch
from cgagent.errors import CgagentError, ConflictError, InternalError, NotFoundError
from cgagent.kernel import seccomp
from cgagent.messages.record import encode
from cgagent.runtime.container.console import check_size
from cgagent.runtime.messages.agent import (
    Attach,
    Create,
    CreateInside,
    Forget,
    Resize,
    Signal,
    Start,
)
from cgagent.runtime.messages.jobs import ExecJob
from cgagent.runtime.messages.jobs import Streams as Wanted
from cgagent.runtime.messages.outcomes import Status
from cgagent.runtime.protocol import STATUS, STDERR, STDIN, STDOUT
from cgagent.runtime.spec import exec_process
from cgagent.runtime.supervisor.attached import frame
from cgagent.runtime.supervisor.detach import parse_keys

if TYPE_CHECKING:
    import socket
    from collections.abc import AsyncIterator, Awaitable, Callable

    from cgagent.cgroups import Group
    from cgagent.engine.containers.config import CreateRequest
    from cgagent.engine.containers.container import Container
    from cgagent.engine.jobs import Jobs
    from cgagent.engine.lifecycle import Lifecycle
    from cgagent.engine.lifecycle.control import Control
    from cgagent.engine.sessions.logs import Past
    from cgagent.runtime.client import Supervisor
    from cgagent.runtime.messages.outcomes import Exit
    from cgagent.runtime.spec import Process

_KEPT_EXECS = 256
_END_S = 1.0
"""At most so long after its namespaces are gone a container's end becomes known."""

Connect: TypeAlias = "Callable[[], Awaitable[Attachment]]"
"""Gives the client's socket, when everything is ready for it."""

ConnectFor: TypeAlias = "Callable[[Exec], Awaitable[Attachment]]"
"""The same, told which command it is for."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Attachment:
    """A socket taken over from the API: `fd` is closed here once it is passed on."""

    fd: int
    tail: bytes = b""
    stdin: bool = True
    stdout: bool = True
    stderr: bool = True
    raw: bool = False
    """Output as it is, without frames, and no status at the end."""
    status: bool = True
    """A frame at the end says how it was."""
    failures: bool = False
    """A start that fails is told as text; for who gets no status."""
    detach_keys: bytes = b""
    stay: bool = False
    """It is closed only when all that follows the end is done: the removal, with auto_remove."""

    def to(self, key: str) -> Attach:
        """The request to connect it to a task."""
        wanted = ((STDIN, self.stdin), (STDOUT, self.stdout), (STDERR, self.stderr))
        return Attach(
            key=key,
            streams=tuple(number for number, want in wanted if want),
            raw=self.raw,
            status=self.status and not self.raw,
            failures=self.failures,
            detach_keys=self.detach_keys.decode("ascii"),
            stay=self.stay,
        )


@dataclass(slots=True, kw_only=True)
class Exec:
    """A command for a container that runs: created, started once, and ended."""

    id: str
    container: Container
    process: Process
    stdin: bool = True
    """A client may give input."""
    stdout: bool = True
    """A client gets it."""
    stderr: bool = True
    detach_keys: str = ""
    privileged: bool = False
    """With every capability, not with those of the container's own process."""
    status: Literal["created", "running", "exited"] = "created"
    pid: int | None = None
    exit_code: int | None = None
    """None of one that has exited: it could not be started."""
    failure: str | None = None
    """The kind of error that its start met."""
    begun: asyncio.Event = field(default_factory=asyncio.Event, repr=False)
    """Set when it is known whether its start has worked."""

    @property
    def running(self) -> bool:
        return self.status == "running"


class Streams:
    def __init__(
        self, supervisor: Supervisor, lifecycle: Lifecycle, control: Control, jobs: Jobs
    ) -> None:
        self._supervisor = supervisor
        self._lifecycle = lifecycle
        self._control = control
        self._jobs = jobs
        self._execs: dict[str, Exec] = {}

    async def attach(self, container: Container, take: Connect, past: Past | None = None) -> None:
        """Connect a client, to a container that runs or to the next start of one that does not.

        With `past`, to just what follows that.

        Raises:
            ConflictError: there is more of the past by now.
            CgagentError: nothing was connected; the socket is still the caller's to answer on.
        """
        self._jobs.require_permitted("attach", container=container.id)
        container.require_started_here("attaching")
        await self._wake(container, "attach")
        async with container.lock:
            if not container.running:
                if past is not None and not past.is_complete():
                    raise ConflictError(f"container {container.name} has written more meanwhile")
                await self._lifecycle.make_ready(container)
                past = None
            client = await take()
            await self._attach(container.id, client, past.place if past else ())

    async def run(
        self, request: CreateRequest, take: Callable[[Container], Awaitable[Attachment]]
    ) -> None:
        """Make a container, connect the client, and start it.

        Raises:
            CgagentError: before the socket is taken: there is no container; after: it could not
                be started.
        """
        container = await self._lifecycle.create(request, of_run=True)
        try:
            async with container.lock:
                await self._lifecycle.make_ready(container)
                client = await take(container)
                attaching = asyncio.create_task(self._attach(container.id, client))
                await asyncio.sleep(0)  # it is asked now; the start need not wait for the answer
        except BaseException:
            await self._lifecycle.remove(container, force=True, volumes=True)
            raise
        try:
            await self._lifecycle.start(container)
        finally:
            try:
                await attaching
            except CgagentError:  # nobody would see what it does
                await self._lifecycle.remove(container, force=True, volumes=True)
                raise

    async def _attach(self, key: str, client: Attachment, log_end: tuple[int, ...] = ()) -> None:
        fds = [client.fd]
        try:
            if client.tail:
                fds.append(_memory(client.tail))
            await self._supervisor.request(client.to(key).replace(log_end=log_end), fds)
        except CgagentError as e:
            if client.status and not client.raw:  # it is taken over: nobody else tells it any more
                status = encode(Status.of_failure(e))
                with contextlib.suppress(OSError):
                    os.write(client.fd, frame(STATUS, status))
            raise
        finally:
            for fd in fds:  # the supervisor has its own copies
                os.close(fd)

    def create_exec(
        self,
        container: Container,
        process: Process,
        *,
        privileged: bool = False,
        **client: Any,
    ) -> Exec:
        """A command that is to run inside, by `start_exec`; `client`: fields of an `Exec` about it.

        Raises:
            ConflictError: the container is not running, or frozen.
            InvalidInputError: the command.
        """
        self._jobs.require_permitted("exec", **_about(container, privileged=privileged))
        container.require_started_here("exec")
        resolve.check_process(process)
        if not container.sleeps:  # the start wakes it
            self._require_thawed(container)
        run = Exec(
            id=secrets.token_hex(32),
            container=container,
            process=process,
            privileged=privileged,
            **client,
        )
        self._keep(run)
        self._tell(run, f"exec_create: {' '.join(process.args)}")
        return run

    async def start_exec(self, run: Exec, take: ConnectFor | None) -> None:
        """Run it, with a client attached or none.

        Raises:
            ConflictError: it was started before; the container is not running, or frozen.
            CommandNotFoundError, NotExecutableError: the command.
        """
        if run.status != "created":
            raise ConflictError(f"exec {run.id[:12]} was started before; create another one")
        about = _about(run.container, privileged=run.privileged)
        async with self._jobs.run("exec", **about):
            await self._wake(run.container, "exec")
            self._require_thawed(run.container)
            takes = None if take is None else partial(take, run)
            run.status = "running"
            try:
                run.pid = await self._run(
                    run.container,
                    f"{run.container.id}/{run.id}",
                    run.process,
                    takes,
                    stdin=run.stdin,
                    privileged=run.privileged,
                )
            except BaseException as e:
                run.status = "exited"
                run.failure = e.kind if isinstance(e, CgagentError) else CgagentError.kind
                raise
            finally:
                run.begun.set()
            self._tell(run, f"exec_start: {' '.join(run.process.args)}")

    def _tell(self, run: Exec, action: str, **attributes: str) -> None:
        self._lifecycle.publish(run.container, action, execID=run.id, **attributes)

    async def probe(self, container: Container, process: Process, client: socket.socket) -> str:
        """Run a command of the agent's own: it ends with the agent, and is in no list.

        Its output, and a status at the end, go to the socket `client`, which is taken over.

        Returns:
            Its key, for `end_probe`.
        """
        self._require_thawed(container)
        key = f"{container.id}/probe-{secrets.token_hex(16)}"

        async def take() -> Attachment:
            return Attachment(fd=client.detach(), stdin=False)

        await self._run(container, key, process, take, stdin=False, own=True)
        return key

    async def end_probe(self, key: str) -> None:
        """Kill it and what it has started."""
        with contextlib.suppress(CgagentError):  # it has ended by itself
            await self._supervisor.request(Signal(key=key, signal=signal.SIGKILL, group=True))

    async def _wake(self, container: Container, by: str) -> None:
        """Have it go on, if it hibernates."""
        if container.sleeps:
            with contextlib.suppress(ConflictError):  # something else has woken it
                await self._control.thaw(container, by=by)

    def _require_thawed(self, container: Container) -> None:
        require_running(container)
        if self._control.is_frozen(container):
            path = container.record.cgroup_path
            self._lifecycle.groups.require_thawed(path, f"container {container.name}")
            raise ConflictError(
                f"container {container.name} is frozen; thaw it first "
                f"(cgagent thaw {container.name})"
            )

    async def _run(
        self,
        container: Container,
        key: str,
        process: Process,
        take: Connect | None,
        *,
        stdin: bool,
        privileged: bool = False,
        own: bool = False,
    ) -> int:
        """The pid of the command."""
        async with self._lifecycle.entries.entering(container):
            return await self._entered(
                *(container, key, process, take), stdin=stdin, privileged=privileged, own=own
            )

    async def _entered(
        self,
        container: Container,
        key: str,
        process: Process,
        take: Connect | None,
        *,
        stdin: bool,
        privileged: bool,
        own: bool,
    ) -> int:
        group = self._lifecycle.group(container)
        bundle = self._lifecycle.bundle(container.id)
        async with self._beside_the_end(container):
            config = bundle.read_config()
            made = exec_process(config["process"], process, privileged=privileged)
            file = bundle.write_exec(key.partition("/")[2][:20], made)
        driver = self._lifecycle.runtimes.of(container)
        ids = container.record.resolved.namespaces.user_ids
        create = (
            Create(key=key, namespaces=tuple(OUTSIDE)) if driver else _inside(container, key, group)
        )
        start = Start(
            key=key,
            job=ExecJob(
                process_file=file,
                seccomp=self._lifecycle.filters.path(config["linux"].get("seccomp")),
                seccomp_flags=seccomp.flags_of(config["linux"].get("seccomp")),
                pid=container.record.outcome.pid or 0,
            ),
            streams=Wanted(
                stdin=take is not None and stdin, stdin_once=True, terminal=process.terminal
            ),
            launch=launch(driver, container.id, bundle, group) if driver else None,
            owner=ids[0] if ids and not driver else None,
            own=own,
        )
        try:
            async with self._beside_the_end(container):
                await self._supervisor.request(create)
                if take is not None:
                    await self._attach(key, await take())
                started = await self._supervisor.request(start)
        except BaseException as e:  # a client that is gone, a cancelled job
            await self._abandon(key, e if isinstance(e, CgagentError) else None)
            raise
        finally:  # the command has read it, or never will; the container may be gone
            Path(file).unlink(missing_ok=True)
        return started.pid

    @contextlib.asynccontextmanager
    async def _beside_the_end(self, container: Container) -> AsyncIterator[None]:
        """A command's failure beside its container's end is that end, whatever it met first."""
        try:
            yield
        except (CgagentError, OSError) as e:
            is_odd = isinstance(e, InternalError | OSError)
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(_END_S if is_odd else 0):
                    await self._lifecycle.wait(container, "not-running")
            if container.running:
                raise
            raise ConflictError(
                f"container {container.name} ended before the command could run in it"
            ) from e

    @staticmethod
    def detach_keys(text: str) -> bytes:
        """What ends a session, as a terminal sends it; docker's keys where `text` is empty.

        Raises:
            InvalidInputError: a key that is not known.
        """
        return parse_keys(text)

    async def resize(self, container: Container, rows: int, columns: int) -> None:
        """Of a container's terminal; its foreground processes are told.

        Raises:
            ConflictError: it is not running, or has no terminal.
        """
        container.require_started_here("a terminal")
        require_running(container)
        if not container.record.config.tty:
            raise ConflictError(f"container {container.name} has no terminal")
        await self._resize(container.id, rows, columns)

    async def resize_exec(self, run: Exec, rows: int, columns: int) -> None:
        """Of the terminal of a command run inside a container.

        Raises:
            ConflictError: it has ended, or has no terminal.
        """
        if not run.process.terminal or not run.running:
            raise ConflictError(f"exec {run.id[:12]} has no terminal, or has ended")
        await self._resize(f"{run.container.id}/{run.id}", rows, columns)

    async def _resize(self, key: str, rows: int, columns: int) -> None:
        check_size(rows, columns)
        await self._supervisor.request(Resize(key=key, rows=rows, columns=columns))

    async def _abandon(self, key: str, error: CgagentError | None) -> None:
        told = Status.of_failure(error) if error else None
        with contextlib.suppress(CgagentError):  # gone already: the usual case
            await self._supervisor.request(Forget(key=key, status=told))

    def _keep(self, run: Exec) -> None:
        """Of those that do not run the latest are remembered, also of those never started."""
        self._execs[run.id] = run
        finished = [e for e in self._execs.values() if not e.running and e is not run]
        for old in finished[: max(0, len(self._execs) - _KEPT_EXECS)]:
            del self._execs[old.id]

    def find(self, exec_id: str) -> Exec:
        run = self._execs.get(exec_id)
        if run is None:
            raise NotFoundError(f"exec {exec_id!r} is not known; create it first")
        return run

    def of(self, container: Container) -> list[Exec]:
        """The commands of a container that are known."""
        return [run for run in self._execs.values() if run.container is container]

    def running_in(self, container: Container) -> list[Exec]:
        """The commands that run inside now."""
        return [run for run in self._execs.values() if run.running and run.container is container]

    def is_used(self, container: Container) -> bool:
        """Whether somebody may type something into it: in a command, or its standard input."""
        return container.record.config.stdin or bool(self.running_in(container))

    async def exited(self, key: str, exit_: Exit) -> None:
        """A command run inside a container has ended."""
        run = self._execs.get(key.partition("/")[2])
        if run is not None:
            run.status = "exited"
            run.exit_code = exit_.exit_code
            if run.exit_code is not None:  # else it could not be started
                self._tell(run, "exec_die", exit_code=str(run.exit_code))
        await self._supervisor.request(Forget(key=key))


def _about(container: Container, *, privileged: bool) -> dict[str, str]:
    """A command as a job's arguments."""
    return {"container": container.id, **({"privileged": "true"} if privileged else {})}


def _inside(container: Container, key: str, group: Group) -> CreateInside:
    return CreateInside(
        key=key,
        container=container.id,
        cgroup_dir=group.unified_dir(),
        join_files=group.join_files(),
        enter_user=container.record.resolved.namespaces.user_ids is not None,
    )


def _memory(data: bytes) -> int:
    """A memfd with the data, which may be larger than a packet."""
    with open(os.memfd_create("input"), "wb", closefd=False) as file:
        file.write(data)
        return file.fileno()
