"""Telling an address of a decision: one POST, bounded in time, in a thread of its own kind."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any, Final

from cgagent.concurrency import in_waiting_thread
from cgagent.errors import RemoteError, UnavailableError

if TYPE_CHECKING:
    import threading

_TIMEOUT_S: Final = 5.0
_FIRST_ERROR: Final = 300


async def post(url: str, body: dict[str, Any]) -> None:
    """Returns when the other end has taken it. A redirect is not followed.

    Raises:
        UnavailableError: nobody answers in time.
        RemoteError: the answer is no success.
    """
    status = await in_waiting_thread(lambda _stop: _post(url, body, _stop))
    if status >= _FIRST_ERROR:
        raise RemoteError(f"webhook {url}: it answered {status}; look into its log")


def _post(url: str, body: dict[str, Any], _stop: threading.Event) -> int:
    import urllib3

    timeout = urllib3.Timeout(total=_TIMEOUT_S)
    with urllib3.PoolManager(retries=False, timeout=timeout) as pool:
        try:
            answer = pool.request(
                *("POST", url),
                body=json.dumps(body).encode(),
                headers={"Content-Type": "application/json"},
                redirect=False,
                preload_content=False,
            )
        except urllib3.exceptions.HTTPError as e:
            cause = type(e).__name__.removesuffix("Error")
            raise UnavailableError(f"webhook {url}: nobody has taken it: {cause}") from None
        answer.close()
        return int(answer.status)
