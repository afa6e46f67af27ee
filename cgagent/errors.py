"""Every error cgagent raises, and what each means to a caller.

    CgagentError                  kind                 HTTP   exit code
    ├── InvalidInputError         invalid_input        400    125
    │   ├── NotExecutableError    not_executable       400    126
    │   └── CommandNotFoundError  command_not_found    400    127
    ├── DeniedError               denied               403    125
    │   └── UnauthenticatedError  unauthenticated      401    125
    ├── NotFoundError             not_found            404    125
    │   └── NoSuchImageError      no_such_image        404    125
    ├── ConflictError             conflict             409    125
    ├── ChangedError              changed              412    125
    ├── UnsupportedError          unsupported          422    125
    ├── KeyReusedError            key_reused           422    125
    ├── InternalError             internal             500    125
    ├── RemoteError               remote               502    125
    ├── UnavailableError          unavailable          503    125
    ├── DeadlineError             deadline             504    125
    └── NoSpaceError              no_space             507    125

A message is one line in lower case without a full stop: the object, what was being done
to it, the cause, and what to do next, after the first semicolon. So its parts can be told apart
wherever the message comes to (`cause`, `next_step`, `object`):

    container 'web' does not exist; see cgagent ps --all for those that do
    ^ object ─────^ cause ────────^ next step ───────────────────────────^

Every layer imports this module; this module imports nothing, not even typing: it is on the path
of every command line.
"""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import ClassVar, Final

_OBJECTS: Final = frozenset(
    {
        *("container", "image", "network", "volume", "exec", "job", "token", "cgroup"),
        *("process", "registry", "layer", "blob", "port", "address", "subnet", "gateway"),
        *("interface", "bridge", "device", "limit", "signal", "command", "user", "group"),
        *("runtime", "capability", "mount", "context", "directory", "file", "access", "host"),
        *("label", "filter", "tag", "database", "policy", "webhook"),
    }
)
"""The first words of messages that begin with an object's name."""
_QUALIFIERS: Final = frozenset(["name", "id", "option", "mode", "pool", "policy", "with"])
"""Words that may stand between such a word and the name."""


class CgagentError(Exception):
    """Root of the tree. Never raised itself."""

    kind: ClassVar[str] = "internal"

    def __init__(self, message: str) -> None:
        super().__init__(message)
        self.message = message

    @property
    def cause(self) -> str:
        """The message without what to do next."""
        return _parts(self.message)[0]

    @property
    def next_step(self) -> str:
        """What to do next; empty where the message has no advice."""
        return _parts(self.message)[1]

    @property
    def object(self) -> str:
        """The kind and name of what the message begins with: ``container web``; or empty."""
        return _object(self.message)


class InvalidInputError(CgagentError):
    """The request cannot be right on any host: a malformed size, an unknown flag value."""

    kind = "invalid_input"


class NotExecutableError(InvalidInputError):
    """The command exists in the container but cannot be executed."""

    kind = "not_executable"


class CommandNotFoundError(InvalidInputError):
    """The command does not exist in the container."""

    kind = "command_not_found"


class DeniedError(CgagentError):
    """The caller, the kernel or a registry refuses permission."""

    kind = "denied"


class UnauthenticatedError(DeniedError):
    """The caller shows no certificate or token, or none that is taken."""

    kind = "unauthenticated"


class NotFoundError(CgagentError):
    """The named object does not exist."""

    kind = "not_found"


class NoSuchImageError(NotFoundError):
    """The image is not in the local store; a client may pull it and try again."""

    kind = "no_such_image"


class ConflictError(CgagentError):
    """The object's state or name forbids it: a name taken, a running container removed."""

    kind = "conflict"


class ChangedError(CgagentError):
    """The object is not any more as the request says that it has to be (``If-Match``)."""

    kind = "changed"


class UnsupportedError(CgagentError):
    """This host's kernel or this version of cgagent cannot do what was asked."""

    kind = "unsupported"


class KeyReusedError(CgagentError):
    """An ``Idempotency-Key`` that was another request's."""

    kind = "key_reused"


class InternalError(CgagentError):
    """A defect or an unexpected answer from the kernel."""

    kind = "internal"


class RemoteError(CgagentError):
    """A registry answered with something that cannot be used: a wrong digest, a 5xx."""

    kind = "remote"


class UnavailableError(CgagentError):
    """The other end does not answer: no agent, no registry, no supervisor."""

    kind = "unavailable"


class DeadlineError(CgagentError):
    """It did not happen in the time allowed."""

    kind = "deadline"


class NoSpaceError(CgagentError):
    """The disk is full."""

    kind = "no_space"


HTTP_STATUS: dict[str, int] = {
    "invalid_input": 400,
    "not_executable": 400,
    "command_not_found": 400,
    "denied": 403,
    "unauthenticated": 401,
    "not_found": 404,
    "no_such_image": 404,
    "conflict": 409,
    "changed": 412,
    "unsupported": 422,
    "key_reused": 422,
    "internal": 500,
    "remote": 502,
    "unavailable": 503,
    "deadline": 504,
    "no_space": 507,
}

EXIT_CODE: dict[str, int] = {
    **dict.fromkeys(HTTP_STATUS, 125),
    "not_executable": 126,
    "command_not_found": 127,
}


def _tree(cls: type[CgagentError]) -> dict[str, type[CgagentError]]:
    """By kind; a subclass elsewhere that has no kind of its own stands for none."""
    own = cls is not CgagentError and "kind" in vars(cls)
    found = {cls.kind: cls} if own else {}
    for child in cls.__subclasses__():
        found.update(_tree(child))
    return found


def from_kind(kind: str, message: str) -> CgagentError:
    """The error that a kind received over a wire stands for; an unknown kind is internal."""
    return _tree(CgagentError).get(kind, InternalError)(message)


def _parts(message: str) -> tuple[str, str]:
    """What is before and after the first semicolon that is in no quoted name."""
    quote = ""
    for at, letter in enumerate(message):
        if quote:
            quote = "" if letter == quote else quote
        elif letter in "'\"" and not message[:at][-1:].isalnum():  # else it is an apostrophe
            quote = letter
        elif message.startswith("; ", at):
            return message[:at], message[at + 2 :]
    return message, ""


def _object(message: str) -> str:
    is_missing = message.startswith("no such ")  # IMAGE: NAME, in docker's words
    noun, _, rest = message.removeprefix("no such ").partition(" ")
    noun = noun.rstrip(":")
    if noun not in _OBJECTS:
        return ""
    word, _, after = rest.partition(" ")
    while word in _QUALIFIERS:
        rest = after
        word, _, after = rest.partition(" ")
    if rest.startswith(("'", '"')):
        name, end, _ = rest[1:].partition(rest[0])
        return f"{noun} {name}" if name and end else ""
    word = word.rstrip(":;,")
    is_name = is_missing or word.startswith("/") or any(letter.isdecimal() for letter in word)
    return f"{noun} {word}" if is_name else ""
