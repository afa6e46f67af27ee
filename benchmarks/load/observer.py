"""An operator who freezes and thaws one container: ``python -m ... SOCKET CONTAINER SECONDS``.

By each API in turn, ten times a second. It prints the times of all answers in milliseconds as JSON.
"""

from __future__ import annotations

import json
import sys
import time
from pathlib import Path
from typing import Final

from benchmarks.api import UnixConnection

_PAUSE_S: Final = 0.1
_VERBS: Final = (
    ("/v1/containers/{}/freeze", "/v1/containers/{}/thaw"),
    ("/v1.50/containers/{}/pause", "/v1.50/containers/{}/unpause"),
)


def main(path: str, container: str, seconds: float) -> None:
    line = UnixConnection(Path(path))
    times: dict[str, list[float]] = {"freeze": [], "thaw": []}
    until_s = time.monotonic() + seconds
    number = 0
    while time.monotonic() < until_s:
        for name, pattern in zip(times, _VERBS[number % 2], strict=True):
            began_s = time.perf_counter()
            line.call("POST", pattern.format(container))
            times[name].append((time.perf_counter() - began_s) * 1e3)
        number += 1
        time.sleep(_PAUSE_S)
    print(json.dumps(times))


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2], float(sys.argv[3]))
