"""Before the routes of both APIs: who asks, whether they may, and what is told of it.

    Host, Origin ─> certificate, token or user ─> scope ─> rule of the policy ─> the routes
          │                    │                    │              │                  │
         403                  401                  403            403       the log of changes

What a rule says of containers and images is judged behind the routes, in the engine's jobs.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from starlette.datastructures import Headers

from cgagent.api.access import needs, peers
from cgagent.api.access.attempts import Attempts
from cgagent.api.errors import answer
from cgagent.api.hijack import EXTENSION as HIJACK
from cgagent.api.subprotocols import token_of
from cgagent.api.web import page
from cgagent.engine.access import asking, includes
from cgagent.errors import HTTP_STATUS, CgagentError, DeniedError, UnauthenticatedError

if TYPE_CHECKING:
    from starlette.responses import Response
    from starlette.types import ASGIApp, Message, Receive, Scope, Send

    from cgagent.api.access.origins import Origins
    from cgagent.api.access.peers import Peer
    from cgagent.engine.access import Access, Asking, Caller
    from cgagent.engine.access import Scope as AccessScope
    from cgagent.engine.access.policy import Rule

_PATH_MAX: Final = 300
_ERROR_MAX: Final = 300
_TAKEN: Final = 101
_WITHOUT_BODY: Final = frozenset({204, 304})
_STRANGER: Final = "stranger"


class AccessLayer:
    """Around the application of the listeners of control."""

    def __init__(self, app: ASGIApp, access: Access, origins: Origins) -> None:
        self._app = app
        self._access = access
        self._tokens = Attempts(access.tokens.caller)
        self._origins = origins

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        peer: Peer = scope["extensions"][peers.EXTENSION]
        if page.is_page(scope["path"]):
            await self._page(peer, scope, receive, send)
            return
        need = needs.of(scope["method"], scope["path"])
        caller = None
        try:
            headers = Headers(scope=scope)
            self._origins.check(headers, by_name=peer.uid is None)
            caller = self._caller(peer, headers)
            rule = self._permitted(caller, need)
        except CgagentError as e:
            self._tell_refusal(e, caller, peer, scope)
            await _refusal(e, caller, scope)(scope, receive, send)
            return
        with asking(caller, rule) as request:
            if includes(need, "control"):
                await self._watched(request, scope, receive, send)
            else:
                await self._app(scope, receive, send)

    async def _page(self, peer: Peer, scope: Scope, receive: Receive, send: Send) -> None:
        """Files for everybody who has the right name of ours; a link to them may be anywhere."""
        try:
            self._origins.check_host(Headers(scope=scope), by_name=peer.uid is None)
        except DeniedError as e:
            self._tell_refusal(e, None, peer, scope)
            refused = _refusal(e, None, scope)
            refused.headers.update(page.HEADERS)
            await refused(scope, receive, send)
            return
        await page.serve(scope, receive, send)

    def _caller(self, peer: Peer, headers: Headers) -> Caller:
        """Raises UnauthenticatedError."""
        kind, _, token = headers.get("authorization", "").partition(" ")
        shown = token.strip() if kind.lower() == "bearer" else token_of(headers)
        if peer.uid is None and shown:
            return self._tokens.caller(shown, peer.address)
        found = peer.caller()
        if found is None:
            raise UnauthenticatedError(
                "this listener wants a client certificate, or 'Authorization: Bearer TOKEN'; make "
                "a token on the agent's host: cgagent token create"
            )
        return found

    def _permitted(self, caller: Caller, need: AccessScope) -> Rule:
        """Raises DeniedError."""
        if not includes(caller.scope, need):
            raise DeniedError(f"{caller} is for {caller.scope}, and this needs {need}")
        rule = self._access.rule_for(caller)
        if not includes(rule.allow, need):
            raise DeniedError(
                f"{caller} may {rule.allow} by the access policy, and this needs {need}"
            )
        return rule

    def _tell_refusal(
        self, error: CgagentError, caller: Caller | None, peer: Peer, scope: Scope
    ) -> None:
        who = {"via": _STRANGER, **peer.logged()} if caller is None else caller.logged()
        self._access.audit.refused(
            _STRANGER if caller is None else str(caller),
            **_entry(who, scope, HTTP_STATUS[error.kind]),
            error=error.message[:_ERROR_MAX],
        )

    async def _watched(self, request: Asking, scope: Scope, receive: Receive, send: Send) -> None:
        """The change is told of before its client has all of the answer."""
        status = 0
        is_told = False

        def tell() -> None:
            nonlocal is_told
            is_told = True
            entry = _entry(request.caller.logged(), scope, status)
            if request.denied:
                entry["error"] = request.denied[:_ERROR_MAX]
            self._access.audit.tell(**entry, jobs=[_done(job) for job in request.jobs])

        async def sent(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                is_whole = status in _WITHOUT_BODY or scope["method"] == "HEAD"
            else:
                is_whole = not message.get("more_body")
            if is_whole and not is_told:
                tell()
            await send(message)

        try:
            await self._app(scope, receive, sent)
        finally:
            if not status and scope["extensions"].get(HIJACK, {}).get("taken"):
                status = _TAKEN
            if not is_told:
                tell()


def _refusal(error: CgagentError, caller: Caller | None, scope: Scope) -> Response:
    """The answer, for which no body is read; who is not known is hung up on."""
    headers = {"Connection": "close"} if caller is None else {}
    if isinstance(error, UnauthenticatedError):
        headers["WWW-Authenticate"] = 'Bearer realm="cgagent"'
    return answer(error, scope["path"], headers=headers)


def _entry(who: dict[str, Any], scope: Scope, status: int) -> dict[str, Any]:
    """`status` 0: it was cut off before there was an answer. A query may have secrets in it."""
    path = scope["path"][:_PATH_MAX]
    return {"caller": who, "method": scope["method"], "path": path, "status": status}


def _done(job: Any) -> dict[str, Any]:
    error = {"error": job.error[:_ERROR_MAX]} if job.error else {}
    return {"name": job.name, **job.arguments, "status": job.status, **error}
