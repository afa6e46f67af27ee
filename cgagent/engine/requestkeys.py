"""Requests that may come twice: a client that got no answer sends the same again, with its key.

The first one makes the object; every further one with that key is answered as the first was, also
by another agent after this one, for a day. Two that come at once are one after the other.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import time
from typing import TYPE_CHECKING, Any, Final

from cgagent.engine.access.asking import current as current_request
from cgagent.errors import CgagentError, ConflictError, InvalidInputError, KeyReusedError
from cgagent.store.requestkeys import RequestKey, keyed

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable

    from cgagent.store.requestkeys import RequestKeyRows

KEPT_S: Final = 86400
_MOST: Final = 10_000
_LONGEST: Final = 255
_PRUNE_EVERY: Final = 100
_IN_DATABASE: Final = frozenset({"container", "network", "volume"})
"""Kinds of objects with a row, which is kept together with the key."""


class RequestKeys:
    def __init__(self, rows: RequestKeyRows) -> None:
        self._rows = rows
        self._at_work: dict[tuple[str, str], tuple[asyncio.Lock, int]] = {}
        self._until_pruned = 0

    async def once(
        self,
        key: str,
        fingerprint: bytes,
        kind: str,
        make: Callable[[], Awaitable[dict[str, Any]]],
        describe: Callable[[str], dict[str, Any]],
    ) -> dict[str, Any]:
        """The answer of `make`, or the one that the first request with this key has got.

        `describe` makes the answer of an object whose request an agent's death has cut off.

        Raises:
            InvalidInputError: the key. KeyReusedError: it was one of another request.
            ConflictError: what the request has made was removed before it was answered.
        """
        if not 0 < len(key) <= _LONGEST or not all("!" <= letter <= "~" for letter in key):
            raise InvalidInputError(
                f"idempotency key {key[:_LONGEST]!r} must be 1 to {_LONGEST} printable letters; a "
                "UUID does well"
            )
        request = current_request()
        wanted = RequestKey(
            caller=str(request.caller) if request else "",
            key=key,
            fingerprint=fingerprint,
            kind=kind,
        )
        async with self._alone(wanted):
            self._prune()
            row = self._rows.get(wanted.caller, key)
            if row is None:
                return await self._first(wanted, make)
            if row.fingerprint != fingerprint:
                raise KeyReusedError(
                    f"idempotency key {key!r} was one of another request; send a new key with it"
                )
            if row.answer is not None:
                answer: dict[str, Any] = json.loads(row.answer)
                return answer
            return self._described(wanted, row.object, describe)

    def note(self, kind: str, object_: str) -> None:
        """What the request at work makes, where the database knows nothing of it."""
        self._rows.note(kind, object_, time.time_ns())

    async def _first(
        self, wanted: RequestKey, make: Callable[[], Awaitable[dict[str, Any]]]
    ) -> dict[str, Any]:
        try:
            with keyed(wanted):
                answer = await make()
        except CgagentError:
            if wanted.kind not in _IN_DATABASE:  # its note is older than the object
                self._rows.forget(wanted.caller, wanted.key)
            raise
        object_ = str(answer.get("id") or answer["name"])
        self._rows.answered(wanted, object_, json.dumps(answer), time.time_ns())
        return answer

    def _described(
        self, wanted: RequestKey, object_: str, describe: Callable[[str], dict[str, Any]]
    ) -> dict[str, Any]:
        try:
            return describe(object_)
        except CgagentError:
            raise ConflictError(
                f"idempotency key {wanted.key!r} has made {wanted.kind} {object_[:12]}, which is "
                "not there any more; send a new key to make another"
            ) from None

    @contextlib.asynccontextmanager
    async def _alone(self, wanted: RequestKey) -> AsyncIterator[None]:
        """No other request with this key is at work in the body."""
        name = wanted.caller, wanted.key
        lock, waiting = self._at_work.get(name, (asyncio.Lock(), 0))
        self._at_work[name] = lock, waiting + 1
        try:
            async with lock:
                yield
        finally:
            lock, waiting = self._at_work.pop(name)
            if waiting > 1:
                self._at_work[name] = lock, waiting - 1

    def _prune(self) -> None:
        if self._until_pruned == 0:
            self._rows.prune(time.time_ns() - KEPT_S * 10**9, _MOST)
            self._until_pruned = _PRUNE_EVERY
        self._until_pruned -= 1
