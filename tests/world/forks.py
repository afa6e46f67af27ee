"""Processes that are forks of one which has loaded the agent's code.

Loading it takes more than a second of CPU time, in the guest half a minute, and a test may start
an agent several times. The process that forks is started with the first of them; `close` ends it.
"""

from __future__ import annotations

import gc
import json
import os
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from collections.abc import Sequence

_PAUSE_S: Final = 0.02
_server: subprocess.Popen[str] | None = None


class Fork:
    """``cgagent ARGUMENTS`` with its output at the end of a log; to be used as a `Popen`.

    It has the environment of the caller and the network namespace of the calling thread.
    """

    def __init__(self, arguments: Sequence[str], log: Path) -> None:
        network = f"/proc/{os.getpid()}/task/{threading.get_native_id()}/ns/net"
        asked = {"arguments": list(arguments), "log": str(log), "network": network}
        self.pid: int = _ask({**asked, "environment": dict(os.environ)})
        self._status: int | None = None

    def poll(self) -> int | None:
        if self._status is None:
            self._status = _ask({"status_of": self.pid})
        return self._status

    def wait(self, timeout: float | None = None) -> int:
        deadline = time.monotonic() + (float("inf") if timeout is None else timeout)
        while (status := self.poll()) is None:
            if time.monotonic() > deadline:
                raise subprocess.TimeoutExpired(f"process {self.pid}", timeout or 0)
            time.sleep(_PAUSE_S)
        return status

    def send_signal(self, number: int) -> None:
        if self.poll() is None:
            os.kill(self.pid, number)


def _ask(what: dict[str, Any]) -> Any:
    global _server  # noqa: PLW0603 - one for the process
    if _server is None:
        _server = subprocess.Popen(
            [sys.executable, "-m", "tests.world.forks"],
            cwd=Path(__file__).parents[2],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            bufsize=1,
        )
    if _server.stdin is None or _server.stdout is None:
        raise RuntimeError("no pipes")
    _server.stdin.write(json.dumps(what) + "\n")
    return json.loads(_server.stdout.readline())


def close() -> None:
    global _server  # noqa: PLW0603
    if _server is not None:
        _server.communicate()
        _server = None


def _serve() -> None:
    import cgagent.api.serve  # noqa: F401
    from cgagent.cli.main import main
    from cgagent.kernel.namespaces import CLONE_NEWNET, setns

    gc.collect()
    gc.freeze()  # a collection in a fork would copy each page of what is loaded here
    for line in sys.stdin:
        asked = json.loads(line)
        if "status_of" in asked:
            pid, status = os.waitpid(asked["status_of"], os.WNOHANG)
            print(os.waitstatus_to_exitcode(status) if pid else "null", flush=True)
        elif pid := os.fork():
            print(pid, flush=True)
        else:
            nothing = os.open(os.devnull, os.O_RDONLY)
            log = os.open(asked["log"], os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o644)
            for fd, number in ((nothing, 0), (log, 1), (log, 2)):
                os.dup2(fd, number)
            network = os.open(asked["network"], os.O_RDONLY)
            setns(network, CLONE_NEWNET)
            for fd in (nothing, log, network):
                os.close(fd)
            os.environ.clear()
            os.environ.update(asked["environment"])
            sys.argv[1:] = asked["arguments"]
            main()


if __name__ == "__main__":
    _serve()
