"""Random operations on containers while agent, supervisor and keeper are killed at random.

One process at a time dies, and the next only when its successor serves. Every container carries
what is expected of it in a label, so that nothing has to be remembered here of what an agent that
was killed may or may not have done.
"""

from __future__ import annotations

import contextlib
import os
import random
import re
import signal
import subprocess
import threading
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from cgagent.client.http import Client
from cgagent.errors import CgagentError, ConflictError, NotFoundError
from tests.world.agent import KEPT_MOST, SLOWNESS, Agent, alive, eventually

if TYPE_CHECKING:
    from collections.abc import Callable

_LABEL: Final = "chaos"
_SCRIPT: Final = (
    "trap 'exit 7' TERM; i=0; while [ $i -lt {lines} ]; do i=$((i+1)); echo line $i; done; "
    "if [ {code} = 0 ]; then while :; do sleep {pause}; done; fi; exit {code}"
)
_TERMINATED, _KILLED = 7, 137
_PORTS: Final = [{"container_port": 80}, {"container_port": 53, "protocol": "udp"}]
_MADE: Final = {"chaos-one": (), "chaos-two": ("--ipv6",)}
"""Networks beside the default one, and flags."""
_ASKED: Final[tuple[dict[str, Any], ...]] = (
    {},
    {"ports": _PORTS},
    {"networks": [{"network": "none"}]},
    {"networks": [{"network": "chaos-one", "aliases": ["chaotic"]}], "ports": _PORTS},
    {"networks": [{"network": "chaos-one"}, {"network": "chaos-two"}], "ports": _PORTS},
    {"networks": [{"network": "chaos-two"}]},
)
"""What containers ask of networks."""
_STANDING: Final = 1
"""Ports of a bridge that are no container's."""


class Chaos:
    """On an agent with alpine. `check` at any time; `finish` ends and checks everything.

    Args:
        containers: how many there are at most.
        deadly: how many of the operations have a process of ours killed meanwhile, from 0 to 1.
    """

    def __init__(self, agent: Agent, seed: int, containers: int = 30, deadly: float = 0.3) -> None:
        self.agent = agent
        for name, flags in _MADE.items():
            done = agent.cli("network", "create", *flags, name)
            assert done.returncode == 0, done.stderr
        agent.run("true")  # the default bridge is made for the first container
        self._rules = _rules()
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
        labels = {_LABEL: f"{lines} {code}"}
        self.agent.launch("sh", "-c", script, labels=labels, **self._random.choice(_ASKED))

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

    def _check_addresses(self) -> None:
        """No two containers have one, and none that does not run has any."""
        running = {c["id"] for c in self.agent.containers() if c["state"]["status"] != "exited"}
        for network in ("bridge", *_MADE):
            members = self._network(network)["containers"]
            found = [a["address"] for member in members for a in member["addresses"]]
            assert len(found) == len(set(found)), members
            assert {m["container_id"] for m in members if m["addresses"]} <= running

    def _network(self, name: str) -> dict[str, Any]:
        found: dict[str, Any] = self.agent.client.request("GET", f"/v1/networks/{name}")
        return found

    def _links(self) -> list[str]:
        """On the bridges."""
        bridges = [self._network(name)["interface"] for name in ("bridge", *_MADE)]
        return [
            line
            for bridge in bridges
            for line in _said("ip", "-o", "link", "show", "master", bridge).split("\n")
            if line
        ]

    def _new_rules(self) -> list[str]:
        return sorted((Counter(_rules()) - Counter(self._rules)).elements())

    def _finish_networks(self) -> None:
        """What was before is what is left."""
        standing = (1 + len(_MADE)) * _STANDING
        eventually(lambda: len(self._links()) <= standing + KEPT_MOST, "links are left")
        for name in _MADE:
            assert self.agent.cli("network", "rm", name).returncode == 0
        try:
            eventually(lambda: not self._new_rules(), "rules are left")
        except AssertionError as error:
            raise AssertionError(f"{error}: {self._new_rules()}") from None

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
        self._check_addresses()
        self.agent.remove_all()
        self._finish_networks()
        eventually(self.agent.cgroups_settled, "cgroups are left")
        for parent in (self.agent.keeper_pid, self.agent.supervisor_pid):
            children = Path(f"/proc/{parent}/task/{parent}/children")
            eventually(
                lambda path=children: all(alive(int(pid)) for pid in path.read_text().split()),
                "a zombie is left",
            )


def _said(*command: str) -> str:
    return subprocess.run(command, check=False, capture_output=True, text=True).stdout


def _rules() -> list[str]:
    """What stands in all tables, sets and maps of this network.

    Without counters, and the comment by which an agent knows its own table again.
    """
    return [
        re.sub(r'counter packets \d+ bytes \d+| comment "[^"]*"', "", line).strip()
        for line in _said("nft", "list", "ruleset").split("\n")
    ]
