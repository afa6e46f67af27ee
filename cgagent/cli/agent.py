"""Finding the agent, and starting one when none listens on the default socket and we are root."""

from __future__ import annotations

import posix as os  # the C part: os itself takes 1.5 ms to be loaded
import sys
import time

from cgagent.client.places import client_at, place_of
from cgagent.defaults import DEFAULT_SOCKET
from cgagent.errors import UnavailableError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Final

    from cgagent.cli.main import Context
    from cgagent.client.http import Client

_PLACE: Final = (
    *("host", "context", "tls", "tlsverify", "tlscacert", "tlscert", "tlskey", "token_file"),
)
"""The global flags that say where the agent is."""
_PATIENCE_S: Final = 60.0


def connect(context: Context, *flags: str) -> Client:
    """The agent that the flags and the environment mean, started first if need be.

    `flags` are for ``cgagent serve``, if it is started.

    Raises:
        UnavailableError: nobody listens, and it is not for us to start one there.
    """
    client = client_of(context)
    is_ours = client.path == DEFAULT_SOCKET and os.geteuid() == 0
    if context.start and is_ours and not _listens(client):
        _start(client, flags)
    return client


def client_of(context: Context) -> Client:
    """The same, never started.

    Raises:
        InvalidInputError: the address is none.
    """
    return client_at(place_of(**{name: getattr(context.flags, name) for name in _PLACE}))


def _start(client: Client, flags: tuple[str, ...]) -> None:
    """Start an agent and wait until it listens.

    Raises:
        UnavailableError: it did not come up; has the last line of its log.
    """
    import subprocess
    from pathlib import Path

    log_path = Path(DEFAULT_SOCKET).with_name("agent.log")
    log_path.parent.mkdir(mode=0o755, parents=True, exist_ok=True)
    with log_path.open("ab") as log:
        agent = subprocess.Popen(
            [sys.executable, "-m", "cgagent.cli.main", "serve", *flags],
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            start_new_session=True,
            cwd="/",
        )
    deadline = time.monotonic() + _PATIENCE_S
    while not _listens(client):
        if agent.poll() is not None and not _listens(client):
            raise UnavailableError(f"the agent did not start: {_last_line(str(log_path))}")
        if time.monotonic() > deadline:
            raise UnavailableError(f"the agent does not answer; see {log_path}")
        time.sleep(0.02)


def _listens(client: Client) -> bool:
    try:
        client.keep()
    except UnavailableError:
        return False
    return True


def _last_line(path: str) -> str:
    with open(path, encoding="utf-8", errors="replace") as f:
        last = f.read()[-4096:].strip().rpartition("\n")[2]
    return last.removeprefix("cgagent: ") or f"see {path}"
