"""Random operations on containers while agent, supervisor and keeper are killed at random.

One process at a time dies, and the next only when its successor serves. Every container carries
what is expected of it in a label, so that nothing has to be remembered here of what an agent that
was killed may or may not have done.
"""

from __future__ import annotations

import contextlib
import os
import random
import signal
import threading
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from cgagent.cli.client import Client
from cgagent.errors import CgagentError, ConflictError, NotFoundError
from tests.world.agent import SLOWNESS, Agent, alive, eventually

if TYPE_CHECKING:
    from collections.abc import Callable

_LABEL: Final = "chaos"
_SCRIPT: Final = (
    "trap 'exit 7' TERM; i=0; while [ $i -lt {lines} ]; do i=$((i+1)); echo line $i; done; "
    "if [ {code} = 0 ]; then while :; do sleep {pause}; done; fi; exit {code}"
)
_TERMINATED, _KILLED = 7, 137


class Chaos:
    """On an agent with alpine. `check` at any time; `finish` ends and checks everything.

    Args:
        containers: how many there are at most.
        deadly: how many of the operations have a process of ours killed meanwhile, from 0 to 1.
    """

    def __init__(self, agent: Agent, seed: int, containers: int = 30, deadly: float = 0.3) -> None:
        self.agent = agent
        self.deaths = {"agent": 0, "supervisor": 0, "keeper": 0}
        self._random = random.Random(seed)  # noqa: S311 - to be repeated, not secret
        self._most = containers
        self._deadly = deadly
        self._signalled: set[str] = set()
        self._operations: list[Callable[[], object]] = [
            self._launch,
            self._launch,
            self._signal,
            self._exec,
            self._freeze,
            self._update,
            self._remove,
            self._run,
        ]

    # -- operations -------------------------------------------------------------------------

    def step(self) -> None:
        """One operation; a process may be killed in the middle of it."""
        victim = self._random.choice([*self.deaths])
        if self._random.random() >= self._deadly:
            self._random.choice(self._operations)()
            return
        self.deaths[victim] += 1
        delay_s = self._random.random() * 0.06 * SLOWNESS
        killer = threading.Timer(delay_s, self._kill, [victim])
        killer.start()
        try:
            self._random.choice(self._operations)()
        except (CgagentError, OSError, RuntimeError):
            if victim != "agent":  # nobody notices the others' deaths
                raise
        finally:
            killer.join()
            if victim == "agent":
                self.agent.kill9()
                self.agent.start()

    def _kill(self, victim: str) -> None:
        if victim == "agent":
            os.kill(self.agent.pid, signal.SIGKILL)
            return
        before = self._pid(victim)
        os.kill(before, signal.SIGKILL)
        eventually(lambda: self._pid(victim) != before, f"no other {victim}")

    def _pid(self, victim: str) -> int:
        """On a connection of its own: the other one is in use."""
        client = Client(str(self.agent.socket))
        try:
            pid: int = client.request("GET", "/v1/info")[f"{victim}_pid"]
        finally:
            client.close()
        return pid

    def _pick(self, *, running: bool) -> str | None:
        present = [
            c["id"]
            for c in self.agent.containers()
            if not running or c["state"]["status"] == "running"
        ]
        return self._random.choice(present) if present else None

    def _launch(self) -> None:
        if len(self.agent.containers()) >= self._most:
            self._remove()
        lines, code = self._random.randint(0, 2000), self._random.choice([0, 0, 3, 42])
        if SLOWNESS > 1:
            lines //= 10
        script = _SCRIPT.format(lines=lines, code=code, pause=0.05 * SLOWNESS)
        self.agent.launch("sh", "-c", script, labels={_LABEL: f"{lines} {code}"})

    def _signal(self) -> None:
        if one := self._pick(running=True):
            self._signalled.add(one)
            with contextlib.suppress(ConflictError):  # it has just ended
                self.agent.post(one, f"kill?signal={self._random.choice(['TERM', 'KILL'])}")

    def _exec(self) -> None:
        if one := self._pick(running=True):
            try:
                result = self.agent.exec(one, "sh", "-c", "echo inside; sleep 0.02; exit 5")
            except CgagentError as e:  # the container ended meanwhile, or will have in a moment
                eventually(lambda: self.agent.state(one)["status"] != "running", e.message)
                return
            if result.exit_code != _KILLED:  # else the container ended meanwhile
                assert (result.stdout, result.exit_code) == ("inside\n", 5), (one, result)

    def _freeze(self) -> None:
        if one := self._pick(running=True):
            with contextlib.suppress(ConflictError):
                self.agent.post(one, "freeze")
                self.agent.post(one, "thaw")

    def _update(self) -> None:
        if one := self._pick(running=True):
            with contextlib.suppress(ConflictError, NotFoundError):
                self.agent.post(one, "update", {"pids_max": self._random.randint(50, 100)})

    def _remove(self) -> None:
        if one := self._pick(running=False):
            self._signalled.add(one)  # it stays, ended, if the agent dies then
            self.agent.remove(one)

    def _run(self) -> None:
        result = self.agent.run("sh", "-c", "cat; exit 4", stdin=b"through\n" * 1000)
        assert (result.stdout, result.exit_code) == ("through\n" * 1000, 4)

    # -- what must be true ------------------------------------------------------------------

    def check(self) -> None:
        """Of every container: its log is whole and its exit code is right."""
        for container in self.agent.containers():
            if container["state"]["status"] == "exited":
                self._check(container)

    def _check(self, container: dict[str, Any]) -> None:
        one, state = container["id"], container["state"]
        lines, code = map(int, self.agent.detail(one)["resolved"]["labels"][_LABEL].split())
        text = self.agent.log_text(one)
        logged = text.count("\n")
        assert text == "".join(f"line {n}\n" for n in range(1, logged + 1)), one
        allowed = {_TERMINATED, _KILLED} if one in self._signalled else set()
        if not allowed:
            assert logged == lines, (one, lines, logged, state)
        assert state["exit_code"] in allowed | ({code} if code else set()), (one, state)

    def finish(self) -> None:
        """End all containers and look at what is left."""
        for container in self.agent.containers():
            one, status = container["id"], container["state"]["status"]
            if status == "frozen":
                self.agent.post(one, "thaw")
            if status not in {"exited", "created"}:
                self._signalled.add(one)
                with contextlib.suppress(ConflictError):
                    self.agent.post(one, "kill?signal=TERM")
                self.agent.wait(one)
        self.check()
        self.agent.remove_all()
        eventually(self.agent.cgroups_settled, "cgroups are left")
        for parent in (self.agent.keeper_pid, self.agent.supervisor_pid):
            children = Path(f"/proc/{parent}/task/{parent}/children")
            eventually(
                lambda path=children: all(alive(int(pid)) for pid in path.read_text().split()),
                "a zombie is left",
            )
