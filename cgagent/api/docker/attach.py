"""``POST /containers/ID/attach``: a connection becomes a container's input and output.

``GET /containers/ID/attach/ws`` does the same with a websocket, whose messages have no frames.
"""

from __future__ import annotations

import os
from dataclasses import dataclass, replace
from functools import partial
from typing import TYPE_CHECKING, Any, Final

from cgagent.api.docker import lookup, streams, versions
from cgagent.api.docker.errors import RefusedError
from cgagent.api.docker.routing import Route
from cgagent.errors import ConflictError

if TYPE_CHECKING:
    from cgagent.api.docker.calls import Call
    from cgagent.api.hijack import Hijack, Take
    from cgagent.api.websocket import Upgrade
    from cgagent.engine.containers.container import Container
    from cgagent.engine.sessions.logs import Past
    from cgagent.engine.sessions.streams import Attachment
    from cgagent.engine.values import LogQuery


_STREAMS: Final = ("stdin", "stdout", "stderr")


@dataclass(frozen=True, slots=True)
class _Asked:
    call: Call
    container: Container
    wanted: dict[str, Any]
    past: LogQuery | None
    """The part of the log that is sent before what comes; None: none of it."""
    websocket: Upgrade | None = None

    @property
    def _framed(self) -> bool:
        return self.websocket is None and not self.container.record.config.tty

    async def connect(self, take: Take) -> Attachment:
        if self.websocket is not None:
            take = self.websocket.taking(take)
        taken = await take(raw=streams.is_told_raw(self.call, tty=not self._framed), apart=True)
        return streams.attachment(taken, tty=not self._framed, **self.wanted)

    async def handle(self, take: Take) -> None:
        if self.past is None and self.call.flag("stream"):
            await self.call.engine.streams.attach(self.container, partial(self.connect, take))
            return
        past = None if self.past is None else self.call.engine.logs.past(self.container, self.past)
        client = await self.connect(take)
        try:
            if past is not None:
                await self._tell(past, client)
        except OSError:
            return  # the client has gone
        finally:
            os.close(client.fd)
            if past is not None:
                past.close()

    async def _tell(self, past: Past, client: Attachment) -> None:
        """Send the log so far and, with `stream`, the output that follows, without a gap.

        It is told again as long as the container writes faster than it is told. A log that somebody
        has removed or emptied has no end that is to be found.
        """

        async def connected() -> Attachment:
            return replace(client, fd=os.dup(client.fd))

        attach = self.call.engine.streams.attach
        while True:
            before = past.place
            entries = streams.pieces(self.call, past.entries(), framed=self._framed)
            await streams.send(client.fd, entries)
            if not self.call.flag("stream"):
                return
            try:
                await attach(self.container, connected, past)
            except ConflictError:
                if past.place == before:
                    await attach(self.container, connected)
                    return
            else:
                return


async def attach(call: Call) -> Hijack:
    """Connect a client: `logs` sends it the output so far, `stream` the output that follows."""
    wanted = {name: call.flag(name) for name in _STREAMS}
    return call.hijack(_asked(call, wanted).handle)


async def attach_websocket(call: Call) -> Hijack:
    from cgagent.api.websocket import Upgrade  # seldom asked for

    upgrade = Upgrade.asked(
        call.request.headers, is_binary=versions.has_binary_messages(call.version)
    )
    chosen = versions.chooses_websocket_streams(call.version)
    wanted = {name: call.flag(name) or not chosen for name in _STREAMS}
    return call.hijack(replace(_asked(call, wanted), websocket=upgrade).handle)


def _asked(call: Call, wanted: dict[str, Any]) -> _Asked:
    container = lookup.container(call)
    if container.record.config.tty:
        wanted["detach_keys"] = call.engine.streams.detach_keys(call.text("detachKeys"))
    if container.frozen and not container.sleeps:  # which the attach wakes
        raise RefusedError(
            409, f"container {container.id} is paused, unpause the container before attach"
        )
    past = streams.log_query(call, follow=False) if call.flag("logs") else None
    return _Asked(call, container, wanted, past)


ROUTES: Final = (
    Route("POST", "/containers/{id}/attach", attach),
    Route("GET", "/containers/{id}/attach/ws", attach_websocket),
)
