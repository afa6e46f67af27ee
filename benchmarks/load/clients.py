"""Clients that go through containers' lives: ``python -m ... SOCKET COUNT SECONDS``.

A process of its own, so that its CPU time is nobody else's. Half of the clients speak docker's API,
half the native one. It prints a JSON object: how often each verb was done with its median and 99th
percentile in milliseconds, what went wrong, and the CPU seconds that all of it took here.
"""

from __future__ import annotations

import asyncio
import json
import resource
import statistics
import sys
import time
from collections import Counter, defaultdict
from typing import Any, Final

from benchmarks.load.wire import Line, Lost

_IMAGE: Final = "busybox"
_COMMAND: Final = ["sh", "-c", "echo ready; exec sleep 100000"]
_LOG_TRIES: Final = 100


class Tally:
    def __init__(self) -> None:
        self.times_ms: dict[str, list[float]] = defaultdict(list)
        self.wrong: Counter[str] = Counter()
        self.lives = 0

    def report(self) -> dict[str, Any]:
        usage = resource.getrusage(resource.RUSAGE_SELF)
        return {
            "lives": self.lives,
            "verbs": {verb: summary(times) for verb, times in self.times_ms.items()},
            "wrong": dict(self.wrong),
            "cpu_s": round(usage.ru_utime + usage.ru_stime, 1),
        }


def summary(times: list[float]) -> dict[str, float]:
    p99 = statistics.quantiles(times, n=100)[98] if len(times) > 1 else times[0]
    found = {"p50": statistics.median(times), "p99": p99, "most": max(times)}
    return {"count": len(times), **{name: round(value, 1) for name, value in found.items()}}


class Client:
    """One of them; subclasses have an API's words."""

    def __init__(self, path: str, tally: Tally) -> None:
        self.line = Line(path)
        self.tally = tally
        self.id = ""

    async def run(self, until_s: float) -> None:
        while time.monotonic() < until_s:
            try:
                await self.live()
                self.tally.lives += 1
            except Lost as e:
                self.tally.wrong[str(e).replace(self.id or "-", "ID")[:300]] += 1
                if self.id:
                    await self.clean()
            self.id = ""
        self.line.close()

    async def clean(self) -> None:
        try:
            await self.line.ask("DELETE", f"/v1/containers/{self.id}?force=true")
        except Lost as e:
            self.tally.wrong[f"not removed: {e}"[:300]] += 1

    async def live(self) -> None:
        raise NotImplementedError

    async def do(
        self, verb: str, method: str, target: str, body: Any = None, *, upgrade: bool = False
    ) -> bytes:
        """The answer's body. Raises Lost: it is no good one."""
        began_s = time.perf_counter()
        status, found = await self.line.ask(method, target, body, upgrade=upgrade)
        self.tally.times_ms[verb].append((time.perf_counter() - began_s) * 1e3)
        if status >= 300:
            raise Lost(f"{method} {target}: {status} {found[:200].decode(errors='replace')}")
        return found

    async def until_logged(self, target: str) -> None:
        """Wait until the log at `target` has the line that the container writes at its start."""
        for _ in range(_LOG_TRIES):
            if b"ready" in await self.do("logs", "GET", target):
                return
            await asyncio.sleep(0.05)
        raise Lost(f"GET {target}: the output is not there")


class Docker(Client):
    async def live(self) -> None:
        made = await self.do(
            "create", "POST", "/v1.50/containers/create", {"Image": _IMAGE, "Cmd": _COMMAND}
        )
        self.id = json.loads(made)["Id"]
        here = f"/v1.50/containers/{self.id}"
        await self.do("start", "POST", f"{here}/start")
        await self.do("freeze", "POST", f"{here}/pause")
        stats = json.loads(await self.do("stats", "GET", f"{here}/stats?stream=0&one-shot=1"))
        await self.do("thaw", "POST", f"{here}/unpause")
        if stats["id"] != self.id or not stats["memory_stats"]:
            raise Lost("stats: no figures")
        await self.until_logged(f"{here}/logs?stdout=1")
        asked = {"Cmd": ["echo", "inside"], "AttachStdout": True}
        run = json.loads(await self.do("exec", "POST", f"{here}/exec", asked))["Id"]
        told = await self.do(
            "exec start", "POST", f"/v1.50/exec/{run}/start", {"Detach": False}, upgrade=True
        )
        if b"inside\n" not in told:
            raise Lost(f"exec: {told!r}")
        if json.loads(await self.do("exec inspect", "GET", f"/v1.50/exec/{run}/json"))["ExitCode"]:
            raise Lost("exec: it failed")
        await self.do("rm", "DELETE", f"{here}?force=1")


class Native(Client):
    async def live(self) -> None:
        body = {"image": _IMAGE, "command": _COMMAND}
        self.id = json.loads(await self.do("create", "POST", "/v1/containers", body))["id"]
        here = f"/v1/containers/{self.id}"
        await self.do("start", "POST", f"{here}/start")
        await self.do("freeze", "POST", f"{here}/freeze")
        stats = json.loads(await self.do("stats", "GET", f"{here}/stats"))
        await self.do("thaw", "POST", f"{here}/thaw")
        if stats["id"] != self.id:
            raise Lost("stats: no figures")
        await self.until_logged(f"{here}/logs")
        told = await self.do(
            "exec start", "POST", f"{here}/exec", {"command": ["echo", "inside"]}, upgrade=True
        )
        if b"inside\n" not in told:
            raise Lost(f"exec: {told!r}")
        await self.do("rm", "DELETE", f"{here}?force=true")


async def _main(path: str, count: int, seconds: float) -> Tally:
    tally = Tally()
    until_s = time.monotonic() + seconds
    kinds = (Docker, Native)
    await asyncio.gather(*(kinds[n % 2](path, tally).run(until_s) for n in range(count)))
    return tally


if __name__ == "__main__":
    found = asyncio.run(_main(sys.argv[1], int(sys.argv[2]), float(sys.argv[3])))
    print(json.dumps(found.report()))
