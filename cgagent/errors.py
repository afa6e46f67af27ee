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
    ├── UnsupportedError          unsupported          422    125
    ├── InternalError             internal             500    125
    ├── RemoteError               remote               502    125
    ├── UnavailableError          unavailable          503    125
    ├── DeadlineError             deadline             504    125
    └── NoSpaceError              no_space             507    125

A message is one line in lower case without a full stop: the object, what was being done
to it, the cause, and what to do next. Every layer imports this module; this module imports
nothing, not even typing: it is on the path of every command line.
"""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import ClassVar


class CgagentError(Exception):
    """Root of the tree. Never raised itself."""

    kind: ClassVar[str] = "internal"

    def __init__(self, message: str) -> None:
        super().__init__(message)
        self.message = message


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


class UnsupportedError(CgagentError):
    """This host's kernel or this version of cgagent cannot do what was asked."""

    kind = "unsupported"


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
    "unsupported": 422,
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
