"""Containers, for programs: made, run, controlled, looked at."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Literal

from cgagent.client.answers import (
    Container,
    ContainerSummary,
    Created,
    Exec,
    Explanation,
    LogEntry,
    Sizing,
    Sleep,
    Stats,
)
from cgagent.client.http import query, quote
from cgagent.client.parts import Part, filters_of, keyed
from cgagent.client.sessions import Completed, Session

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from cgagent.client.parts import Filters

_PAGE = 500


def _path(reference: str, verb: str = "") -> str:
    return f"/v1/containers/{quote(reference)}{verb and '/'}{verb}"


class Containers(Part):
    """A container is referred to by its name, its id, or the beginning of that."""

    def list(
        self,
        *,
        all: bool = False,  # noqa: A002
        filters: Filters | None = None,
    ) -> Sequence[ContainerSummary]:
        """Those that run; with `all`, every one. The newest is first."""
        return list(self.iterate(all=all, filters=filters))

    def iterate(
        self,
        *,
        all: bool = False,  # noqa: A002
        filters: Filters | None = None,
        page: int = _PAGE,
    ) -> Iterator[ContainerSummary]:
        """The same, asked for in pages while they are taken."""
        asked = query(all=all, filter=filters_of(filters), limit=page)
        return map(ContainerSummary.of, self._client.pages(f"/v1/containers{asked}"))

    def get(self, reference: str) -> Container:
        """Raises NotFoundError: there is none."""
        found, headers = self._client.ask("GET", _path(reference))
        return Container.of(found, etag=headers.get("etag", ""))

    def create(
        self,
        image: str,
        command: Sequence[str] = (),
        *,
        name: str | None = None,
        limits: Mapping[str, Any] | None = None,
        idempotency_key: str | None = None,
        **options: Any,
    ) -> Created:
        """`limits` and `options` are the fields of ``POST /v1/containers``, which /docs lists.

        With an `idempotency_key` the same request makes one container, however often it is sent.

        Raises:
            NoSuchImageError: it has to be pulled first. ConflictError: the name is taken.
        """
        body = _body(image, command, limits, options, name=name)
        answer = self._client.ask("POST", "/v1/containers", body, keyed(idempotency_key))
        return Created.of(answer[0])

    def run(
        self,
        image: str,
        command: Sequence[str] = (),
        *,
        input: bytes = b"",  # noqa: A002 - as subprocess has it
        limits: Mapping[str, Any] | None = None,
        **options: Any,
    ) -> Completed:
        """Run a command in a container that is removed afterwards, and wait for its end.

        Raises:
            CommandNotFoundError, NotExecutableError: and the like, for what cannot be started.
        """
        fed = {"stdin": True, "stdin_once": True} if input else {}
        body = _body(image, command, limits, {"auto_remove": True, **fed, **options})
        path = "/v1/containers/run" + query(stdin=bool(input))
        with Session(self._client.upgrade(path, body)) as session:
            return session.communicate(input)

    def start(self, reference: str) -> None:
        self._client.request("POST", _path(reference, "start"))

    def stop(
        self, reference: str, *, timeout_s: float | None = None, signal: str | None = None
    ) -> None:
        """With its stop signal or `signal`, after `timeout_s` with SIGKILL; -1: never."""
        asked = query(timeout_s=timeout_s, signal=signal)
        self._client.request("POST", _path(reference, "stop") + asked)

    def restart(self, reference: str, *, timeout_s: float | None = None) -> None:
        self._client.request("POST", _path(reference, "restart") + query(timeout_s=timeout_s))

    def kill(self, reference: str, signal: str = "SIGKILL") -> None:
        self._client.request("POST", _path(reference, "kill") + query(signal=signal))

    def freeze(self, reference: str, *, lease_s: float | None = None) -> None:
        """With `lease_s` it is thawed by itself after so long."""
        self._client.request("POST", _path(reference, "freeze") + query(lease_s=lease_s))

    def hibernate(
        self,
        reference: str,
        *,
        lease_s: float | None = None,
        reclaim: bool = True,
        force: bool = False,
    ) -> Sleep:
        """Put it to sleep until something comes for it, or for `lease_s` at most.

        Raises:
            ConflictError: something waits for its programs, and it is not by `force`.
        """
        asked = query(lease_s=lease_s, reclaim=reclaim, force=force)
        return Sleep.of(self._client.request("POST", _path(reference, "hibernate") + asked))

    def thaw(self, reference: str) -> None:
        self._client.request("POST", _path(reference, "thaw"))

    def move(self, reference: str, group: str = "") -> Container:
        """Into a group, out of the one that it is in, while it runs on; empty: into none.

        Raises:
            ConflictError: it cannot be moved now, or the group is full.
        """
        body = {"group": group}
        return Container.of(self._client.request("POST", _path(reference, "group"), body))

    def rename(self, reference: str, name: str) -> None:
        self._client.request("POST", _path(reference, "rename") + query(name=name))

    def remove(self, reference: str, *, force: bool = False, volumes: bool = False) -> None:
        """By `force` one that runs, too; with `volumes`, those of its own that have no name."""
        self._client.request("DELETE", _path(reference) + query(force=force, volumes=volumes))

    def wait(
        self,
        reference: str,
        condition: Literal["not-running", "next-exit", "removed"] = "not-running",
    ) -> int | None:
        """The exit code; None where it is not known."""
        asked = _path(reference, "wait") + query(condition=condition)
        code: int | None = self._client.request("POST", asked)["exit_code"]
        return code

    def update(
        self,
        reference: str,
        limits: Mapping[str, Any],
        *,
        restart: Mapping[str, Any] | None = None,
        if_match: str = "",
        force: bool = False,
    ) -> Container:
        """Change limits, and the restart policy.

        Raises:
            ChangedError: it is not any more what had the `etag` that `if_match` is.
        """
        body = dict(limits) if restart is None else {**limits, "restart": dict(restart)}
        condition = (f"If-Match: {if_match}",) if if_match else ()
        path = _path(reference, "update") + query(force=force)
        found, headers = self._client.ask("POST", path, body, condition)
        return Container.of(found, etag=headers.get("etag", ""))

    def logs(
        self,
        reference: str,
        *,
        follow: bool = False,
        tail: int | None = None,
        since_ns: int = 0,
        until_ns: int | None = None,
        stdout: bool = True,
        stderr: bool = True,
    ) -> Iterator[LogEntry]:
        """Entries as they come; with `follow` until it has ended."""
        asked = query(
            follow=follow,
            tail=tail,
            since_ns=since_ns,
            until_ns=until_ns,
            stdout=stdout,
            stderr=stderr,
        )
        return map(LogEntry.of, self._client.lines("GET", _path(reference, "logs") + asked))

    def stats(self, reference: str) -> Stats:
        """The last sample. Raises ConflictError: it does not run."""
        return Stats.of(self._client.request("GET", _path(reference, "stats")))

    def why(
        self, reference: str, *, window_s: float | None = None, since_s: float | None = None
    ) -> Explanation:
        """Why it is slow: looked at for `window_s`, or what is kept since `since_s` (Unix seconds).

        Raises ConflictError: nothing is kept of that time.
        """
        asked = query(window_s=window_s, since=since_s)
        return Explanation.of(self._client.request("GET", _path(reference, "why") + asked))

    def advise(self, *references: str) -> Sequence[Sizing]:
        """Limits that what they have used makes advisable; of all containers by default."""
        asked = query(name=[*references] or None)
        return [Sizing.of(one) for one in self._client.request("GET", f"/v1/advice{asked}")]

    def watch(self, reference: str) -> Iterator[Stats]:
        """Every sample from now on, until it has ended."""
        path = _path(reference, "stats") + query(stream=True)
        return map(Stats.of, self._client.server_sent(path))

    def attach(self, reference: str, *, stdin: bool = False) -> Session:
        """Be connected to its output from now on, and with `stdin` to its input."""
        path = _path(reference, "attach") + query(stdin=stdin)
        return Session(self._client.upgrade(path))

    def exec(
        self,
        reference: str,
        command: Sequence[str],
        *,
        input: bytes = b"",  # noqa: A002
        **options: Any,
    ) -> Completed:
        """Run a command inside, and wait for its end; `options` as the API's body has them."""
        with self.open_exec(reference, command, stdin=bool(input), **options) as session:
            return session.communicate(input)

    def open_exec(
        self, reference: str, command: Sequence[str], *, stdin: bool = True, **options: Any
    ) -> Session:
        """The same, to be talked with while it runs."""
        path = _path(reference, "exec") + query(stdin=stdin)
        return Session(self._client.upgrade(path, {"command": list(command), **options}))

    def execs(self, reference: str) -> Sequence[Exec]:
        """Commands that run inside, or ran and are still known."""
        found = self._client.request("GET", _path(reference, "exec"))
        return [Exec.of(one) for one in found]


def _body(
    image: str,
    command: Sequence[str],
    limits: Mapping[str, Any] | None,
    options: Mapping[str, Any],
    **others: Any,
) -> dict[str, Any]:
    asked = {"image": image, "command": list(command), **options, **others}
    return asked if limits is None else {**asked, "limits": dict(limits)}
