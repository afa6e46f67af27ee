"""Starting an agent when none listens on the default socket and the user is root."""

from __future__ import annotations

import os
import sys
import time
from typing import TYPE_CHECKING, Final

from cgagent.defaults import DEFAULT_SOCKET
from cgagent.errors import UnavailableError

if TYPE_CHECKING:
    from cgagent.cli.client import Client

_PATIENCE_S: Final = 60.0


def ensure_agent(client: Client) -> None:
    """Does nothing if an agent listens, or if we are not root: then the request will tell.

    Raises:
        UnavailableError: the agent did not come up; has the last line of its log.
    """
    if os.geteuid() != 0 or _listens(client):
        return
    import subprocess

    directory = os.path.dirname(DEFAULT_SOCKET)
    os.makedirs(directory, 0o755, exist_ok=True)
    log_path = os.path.join(directory, "agent.log")
    with open(log_path, "ab") as log:
        agent = subprocess.Popen(
            [sys.executable, "-m", "cgagent.cli.main", "serve"],
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            start_new_session=True,
            cwd="/",
        )
    deadline = time.monotonic() + _PATIENCE_S
    while not _listens(client):
        if agent.poll() is not None and not _listens(client):
            raise UnavailableError(f"the agent did not start: {_last_line(log_path)}")
        if time.monotonic() > deadline:
            raise UnavailableError(f"the agent does not answer; see {log_path}")
        time.sleep(0.02)


def _listens(client: Client) -> bool:
    try:
        client.connect().socket.close()
    except UnavailableError:
        return False
    return True


def _last_line(path: str) -> str:
    with open(path, encoding="utf-8", errors="replace") as f:
        lines = f.read()[-4096:].strip().splitlines()
    return lines[-1].removeprefix("cgagent: ") if lines else f"see {path}"
