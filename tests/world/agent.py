"""An agent of the tests' own: started, killed, started again, looked at from outside.

Sets up and asks through the small client; the command line is run only where it is what a test
is about, since in the guest each of its runs takes seconds.
"""

from __future__ import annotations

import contextlib
import json
import os
import signal
import socket
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

from cgagent.cgroups import Host, processes
from cgagent.client.connection import STATUS, STDERR, STDOUT, Frames
from cgagent.client.http import Client, exit_code
from cgagent.errors import NotFoundError, UnavailableError
from tests.world.forks import Fork
from tests.world.naming import cgroup_path

if TYPE_CHECKING:
    from collections.abc import Iterator
    from types import TracebackType

    from cgagent.client.connection import Connection

SLOWNESS = float(os.environ.get("CGAGENT_TEST_SLOWNESS", "1"))
_START_S = 60 * SLOWNESS
_STOP_S = 60 * SLOWNESS
_POOL_SIZE = 2
KEPT_MOST = 4
"""The pool, and as many in the roots of containers that are prewarmed."""


@dataclass(frozen=True, slots=True)
class Result:
    """How a command ended, in a container of its own or inside one."""

    exit_code: int
    stdout: str
    stderr: str


class Agent:
    """``cgagent serve`` on a data root and a socket below `folder`, which exists.

    `flags` are further ones of ``serve``. Entering starts it; leaving removes its containers and
    stops it. Natively one that is not `forked` is a process with a start of its own.
    """

    def __init__(self, folder: Path, *flags: str, forked: bool = True) -> None:
        self._forked = forked or SLOWNESS > 1
        self.data_root = folder / "root"
        self.socket = folder / "run" / "cgagent.sock"
        self.log = folder / "log"
        self.cgroup_parent = cgroup_path()
        self.metrics = f"127.0.0.1:{free_port()}"
        self.client = Client(str(self.socket))
        self.process: subprocess.Popen[bytes] | Fork | None = None
        self.flags = flags

    # -- its life ---------------------------------------------------------------------------

    def command(self, *flags: str) -> list[str]:
        """``cgagent serve`` as it is started; a later flag wins over an earlier one."""
        return [sys.executable, "-m", "cgagent.cli.main", *self._arguments(), *flags]

    def _arguments(self) -> list[str]:
        return [
            *("serve", "--data-root", str(self.data_root), "--socket", str(self.socket)),
            *("--cgroup-parent", self.cgroup_parent, "--metrics-listen", self.metrics),
            *self.flags,
        ]

    def start(self) -> None:
        """Returns when it answers."""
        if self._forked:
            self.process = Fork(self._arguments(), self.log)
        else:
            with self.log.open("ab") as log:
                self.process = subprocess.Popen(self.command(), stdout=log, stderr=log)
        deadline = time.monotonic() + _START_S
        while not self.answers():
            if self.process.poll() is not None or time.monotonic() > deadline:
                self._end(signal.SIGKILL)  # what it has begun is not left behind
                raise RuntimeError(f"the agent does not answer:\n{self.log.read_text()}")
            time.sleep(0.02)

    def answers(self) -> bool:
        try:
            self.client.request("GET", "/v1/version")
        except UnavailableError:
            return False
        return True

    def kill9(self) -> None:
        self._end(signal.SIGKILL)

    def kill9_amid(self, path: str, body: Any, after_s: float) -> None:
        """Send a POST request, and kill the agent so long after it, whatever it is at."""
        connection = self.client.connect()
        with connection.socket:
            connection.send("POST", path, body)
            time.sleep(after_s)
            self.kill9()

    def stop(self) -> int:
        """SIGTERM; its exit status."""
        return self._end(signal.SIGTERM)

    def _end(self, number: int) -> int:
        if self.process is None:
            return 0
        self.client.close()
        self.process.send_signal(number)
        status = self.process.wait(_STOP_S)
        self.process = None
        return status

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(
        self,
        _kind: type[BaseException] | None,
        _error: BaseException | None,
        _trace: TracebackType | None,
    ) -> None:
        try:
            if self.process is None:  # a test killed it: another one has to clean up
                self.start()
            self.remove_all()
            left = self.supervisor_pid, self.keeper_pid
            self.stop()
            eventually(lambda: not any(map(alive, left)), "supervisor or keeper is there")
        finally:
            if self.process is not None:
                self.process.send_signal(signal.SIGKILL)
                self.process.wait()
            self.client.close()

    @property
    def pid(self) -> int:
        if self.process is None:
            raise RuntimeError("the agent is not running")
        return self.process.pid

    @property
    def supervisor_pid(self) -> int:
        return self._info("supervisor_pid")

    @property
    def keeper_pid(self) -> int:
        return self._info("keeper_pid")

    def _info(self, what: str) -> int:
        value: int = self.client.request("GET", "/v1/info")[what]
        return value

    def kill9_supervisor(self) -> None:
        """Returns when another one serves."""
        self._kill9("supervisor_pid")

    def kill9_keeper(self) -> None:
        """Returns when there is another one."""
        self._kill9("keeper_pid")

    def _kill9(self, what: str) -> None:
        before = self._info(what)
        os.kill(before, signal.SIGKILL)
        eventually(lambda: self._info(what) != before, f"no other {what}")

    def kill9_both(self) -> None:
        """Supervisor and keeper at once: neither can help the other."""
        keeper, supervisor = self.keeper_pid, self.supervisor_pid
        os.kill(supervisor, signal.SIGSTOP)
        os.kill(keeper, signal.SIGKILL)
        os.kill(supervisor, signal.SIGKILL)

    # -- the command line -------------------------------------------------------------------

    def cli_command(self, *args: str) -> list[str]:
        host = f"unix://{self.socket}"
        return [sys.executable, "-m", "cgagent.cli.main", "--host", host, *args]

    def cli(
        self,
        *args: str,
        input: str = "",  # noqa: A002 - as subprocess has it
        timeout: float = 60,
        environ: dict[str, str] | None = None,
    ) -> subprocess.CompletedProcess[str]:
        """`environ` is beside what there is."""
        return subprocess.run(
            self.cli_command(*args),
            check=False,
            env={**os.environ, **(environ or {})},
            input=input,
            capture_output=True,
            text=True,
            timeout=timeout * SLOWNESS,
        )

    # -- containers, through the client -----------------------------------------------------

    def create(self, *command: str, image: str = "alpine", **options: Any) -> str:
        """Its id."""
        body = {"image": image, "command": list(command), **options}
        container_id: str = self.client.request("POST", "/v1/containers", body)["id"]
        return container_id

    def launch(self, *command: str, image: str = "alpine", **options: Any) -> str:
        """Create and start, detached; its id."""
        container = self.create(*command, image=image, **options)
        self.post(container, "start")
        return container

    def run(
        self, *command: str, image: str = "alpine", stdin: bytes = b"", **options: Any
    ) -> Result:
        """Run a command in a container that is removed afterwards."""
        fed = {"stdin": True, "stdin_once": True} if stdin else {}
        body = {"image": image, "command": list(command), "auto_remove": True, **fed, **options}
        flag = "true" if stdin else "false"
        connection = self.client.upgrade(f"/v1/containers/run?stdin={flag}", body)
        result = self.stay(connection, stdin)
        with contextlib.suppress(NotFoundError):  # gone before we asked
            self.client.request("POST", f"{connection.location}/wait?condition=removed")
        return result

    def exec(self, container: str, *command: str, stdin: bytes = b"", **options: Any) -> Result:
        path = f"/v1/containers/{container}/exec"
        body = {"command": list(command), **options}
        return self.stay(self.client.upgrade(path, body), stdin)

    @staticmethod
    def stay(connection: Connection, stdin: bytes) -> Result:
        """Small input and output only: what is sent has to fit into buffers."""
        connection.socket.settimeout(60 * SLOWNESS)
        with connection.socket:
            if stdin:
                connection.socket.sendall(stdin)
            connection.socket.shutdown(socket.SHUT_WR)
            output = {STDOUT: b"", STDERR: b""}
            for stream, payload in frames(connection):
                if stream == STATUS:
                    return _result(payload, output)
                output[stream] += payload
        raise RuntimeError("the connection ended without a status")

    def post(self, container: str, verb: str, body: Any = None) -> Any:
        return self.client.request("POST", f"/v1/containers/{container}/{verb}", body)

    def listed(self, container: str) -> dict[str, Any]:
        """What the list of containers says of one."""
        found = self.client.request("GET", "/v1/containers?all=true")
        return next(one for one in found if one["id"] == container)

    def detail(self, container: str) -> dict[str, Any]:
        found: dict[str, Any] = self.client.request("GET", f"/v1/containers/{container}")
        return found

    def state(self, container: str) -> dict[str, Any]:
        state: dict[str, Any] = self.detail(container)["state"]
        return state

    def wait(self, container: str) -> int | None:
        """Until it has ended; its exit code."""
        code: int | None = self.post(container, "wait")["exit_code"]
        return code

    def logs(self, container: str, **options: Any) -> list[dict[str, Any]]:
        query = "&".join(f"{k}={v}" for k, v in options.items())
        return list(self.client.lines("GET", f"/v1/containers/{container}/logs?{query}"))

    def log_text(self, container: str) -> str:
        return "".join(entry["log"] for entry in self.logs(container))

    def containers(self) -> list[dict[str, Any]]:
        found: list[dict[str, Any]] = self.client.request("GET", "/v1/containers?all=true")
        return found

    def remove(self, container: str) -> None:
        self.client.request("DELETE", f"/v1/containers/{container}?force=true")

    def remove_all(self) -> None:
        for container in self.containers():
            self.remove(container["id"])

    def load(self, archive: Path) -> None:
        body = {"path": str(archive)}
        *_, last = self.client.lines("POST", "/v1/images/load", body)
        if "error" in last:
            raise RuntimeError(last["error"]["detail"])

    # -- the kernel's side ------------------------------------------------------------------

    def cgroup_file(self, container: str, controller: str, *, v1: str, v2: str) -> Path:
        """The kernel's own file, by where this host has the controller."""
        return group_file(
            f"{self.cgroup_parent}/{self.detail(container)['id']}", controller, v1, v2
        )

    def cgroups(self) -> set[str]:
        """Names of containers' groups that are there, in any hierarchy. A few are made ahead."""
        tops = {place.mount for place in Host.detect().placements.values()}
        found: set[str] = set()
        for top in tops:
            folder = Path(top + self.cgroup_parent)
            found |= {p.name for p in folder.iterdir() if p.is_dir()} if folder.is_dir() else set()
        return found

    def cgroups_settled(self) -> bool:
        """Only the groups of containers that run are there, and those kept ready."""
        running = {c["id"] for c in self.containers() if c["state"]["status"] == "running"}
        there = self.cgroups()
        return running <= there and len(there - running) <= KEPT_MOST

    def pool_is_full(self) -> bool:
        """No container runs, the zygotes that are kept ready are, and nothing else is there."""
        parents = self.supervisor_pid, self.keeper_pid
        children = [
            pid
            for parent in parents
            for pid in Path(f"/proc/{parent}/task/{parent}/children").read_text().split()
            if int(pid) not in parents
        ]
        try:
            unrooted = [pid for pid in children if os.path.samefile(f"/proc/{pid}/root", "/")]
        except FileNotFoundError:
            return False
        return (
            len(unrooted) == _POOL_SIZE
            and len(self.cgroups()) == len(children) <= KEPT_MOST
            and self.cgroups_settled()
        )


def group_file(path: str, controller: str, v1: str, v2: str) -> Path:
    """A file of the group `path` in the hierarchy that has `controller`."""
    host = Host.detect()
    place = host.placements.get(controller)
    if place is not None and place.version == 1:
        return Path(f"{place.mount}{path}/{v1}")
    return Path(f"{host.group(path).unified_dir()}/{v2}")


def members(path: str, controller: str) -> list[int]:
    """The processes of the group `path` where `controller` is; none once it is gone."""
    return processes.pids([str(group_file(path, controller, "", ""))])


def has_v1(controller: str) -> bool:
    place = Host.detect().placements.get(controller)
    return place is not None and place.version == 1


def alive(pid: int) -> bool:
    """Whether the process is there and has not ended: a zombie has."""
    try:
        with open(f"/proc/{pid}/stat", encoding="utf-8") as f:
            return f.read().rpartition(")")[2].split()[0] != "Z"
    except (FileNotFoundError, ProcessLookupError):
        return False


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as probe:
        port: int = probe.getsockname()[1]
        return port


def eventually(condition: Any, what: str = "", timeout_s: float = 10) -> Any:
    """The first true value of `condition()`; AssertionError when there is none in time."""
    deadline = time.monotonic() + timeout_s * SLOWNESS
    while not (value := condition()):
        if time.monotonic() > deadline:
            raise AssertionError(f"still not after {timeout_s * SLOWNESS:g} s: {what or condition}")
        time.sleep(0.02)
    return value


def frames(connection: Connection) -> Iterator[tuple[int, bytes]]:
    found = Frames(connection.rest())
    yield from found
    while data := connection.socket.recv(256 * 1024):
        found.feed(data)
        yield from found


def _result(status: bytes, output: dict[int, bytes]) -> Result:
    code = exit_code(json.loads(status))
    return Result(code, output[STDOUT].decode(), output[STDERR].decode())
