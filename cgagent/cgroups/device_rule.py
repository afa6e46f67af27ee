"""One rule about device nodes, as v1's devices controller and docker spell it."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Final, Literal

from cgagent.errors import InvalidInputError

Kind = Literal["a", "b", "c"]

_RULE: Final = re.compile(r"([bc]) (\*|\d{1,9}):(\*|\d{1,9}) ([rwm]{1,3})")


@dataclass(frozen=True, slots=True)
class DeviceRule:
    """Allow or deny an access (letters of "rwm") to device nodes; None is any number.

    Kind "a" stands for every device and every access, whatever else the rule says.
    """

    kind: Kind
    major: int | None = None
    minor: int | None = None
    access: str = "rwm"
    allow: bool = True

    @classmethod
    def parse(cls, text: str, *, allow: bool = True) -> DeviceRule:
        """A rule as v1 and docker's `--device-cgroup-rule` spell it: "c 1:3 rwm", "a".

        Raises:
            InvalidInputError: another spelling.
        """
        if text in {"a", "a *:* rwm"}:
            return cls("a", allow=allow)
        match = _RULE.fullmatch(text)
        if not match:
            raise InvalidInputError(
                f"device rule {text!r}: give a kind (b, c), MAJOR:MINOR or *, and some of rwm"
            )
        kind: Kind = "b" if match[1] == "b" else "c"
        major, minor = (None if n == "*" else int(n) for n in (match[2], match[3]))
        return cls(kind, major, minor, match[4], allow)

    def __str__(self) -> str:
        if self.kind == "a":
            return "a"
        major, minor = ("*" if n is None else n for n in (self.major, self.minor))
        return f"{self.kind} {major}:{minor} {self.access}"
