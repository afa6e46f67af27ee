"""RUN --mount: what a step finds mounted, as its flags say it."""

from __future__ import annotations

import csv
import io
import posixpath
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, Literal

from cgagent.errors import CgagentError, UnsupportedError
from cgagent.images.build.modes import octal
from cgagent.images.build.syntax import Instruction, bad
from cgagent.units import parse_size

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

MountKind = Literal["bind", "cache", "tmpfs", "secret"]

_KINDS: Final[tuple[MountKind, ...]] = ("bind", "cache", "tmpfs", "secret")
_OPTIONS: Final[Mapping[MountKind, frozenset[str]]] = {
    "bind": frozenset({"target", "source", "from", "rw"}),
    "cache": frozenset({"target", "source", "from", "id", "ro", "sharing", "mode", "uid", "gid"}),
    "tmpfs": frozenset({"target", "size"}),
    "secret": frozenset({"target", "id", "required", "mode", "uid", "gid", "env"}),
}
_SAME: Final = {
    "dst": "target",
    "destination": "target",
    "src": "source",
    "readonly": "ro",
    "readwrite": "rw",
}
_MAX_ID: Final = 2**32 - 2
_SHARING: Final = frozenset({"shared", "private", "locked"})


@dataclass(frozen=True, slots=True, kw_only=True)
class RunMount:
    type: MountKind
    target: str
    id: str = ""
    source: str = ""
    origin: str = ""
    """``from``: a stage or an image; empty: the build context, and of a cache nothing."""
    read_only: bool = False
    sharing: str = "shared"
    mode: int | None = None
    uid: int = 0
    gid: int = 0
    required: bool = False
    env: str = ""
    """A variable that has the secret; with no target it is no file then."""
    size_bytes: int | None = None


def parse(instruction: Instruction, text: str, expand: Callable[[str], str]) -> RunMount:
    """Raises InvalidInputError, UnsupportedError."""
    given = options(instruction, text)
    kind = given.pop("type", "bind")
    if kind == "ssh":
        raise UnsupportedError(
            f"line {instruction.line}: RUN --mount=type=ssh is not there: nothing passes an "
            "agent's socket on; a key can come as a secret"
        )
    if kind not in _KINDS:
        raise bad(instruction.line, f"unsupported mount type {kind!r}: {', '.join(_KINDS)}")
    allowed = _OPTIONS[kind]
    for name in given:
        if name not in allowed and not (name in {"ro", "rw"} and kind in {"bind", "cache"}):
            raise bad(instruction.line, f"unexpected key {name!r} for mount type {kind!r}")
    target = expand(given.get("target", ""))
    env = given.get("env", "")
    if not target and kind != "secret":
        raise bad(instruction.line, f"mount type {kind!r} requires a target")
    try:
        return _checked(kind, given, target, env, expand)
    except CgagentError as e:
        raise bad(instruction.line, f"mount {target or text}: {e.message}") from None
    except ValueError as e:
        raise bad(instruction.line, f"mount {target or text}: {e}") from None


def _checked(
    kind: MountKind, given: Mapping[str, str], target: str, env: str, expand: Callable[[str], str]
) -> RunMount:
    secret_id = given.get("id", "") or posixpath.basename(target)
    if kind == "secret" and not secret_id:
        raise ValueError("a secret needs an id or a target")
    if kind == "secret" and not target and not env:
        target = f"/run/secrets/{secret_id}"
    if kind == "cache" and given.get("source") and not given.get("from"):
        raise ValueError("its source is a path in what from= names, which is missing")
    sharing = given.get("sharing", "shared")
    if sharing not in _SHARING:
        raise ValueError(f"sharing {sharing!r} is none of {', '.join(sorted(_SHARING))}")
    read_only = _bool(given, "ro") if "ro" in given else kind == "bind"
    return RunMount(
        type=kind,
        target=target,
        id=expand(secret_id if kind == "secret" else given.get("id", "")),
        source=expand(given.get("source", "")),
        origin=expand(given.get("from", "")),
        read_only=read_only and not ("rw" in given and _bool(given, "rw")),
        sharing=sharing,
        mode=octal(given["mode"]) if "mode" in given else None,
        uid=_id(expand(given.get("uid", "0"))),
        gid=_id(expand(given.get("gid", "0"))),
        required="required" in given and _bool(given, "required"),
        env=env,
        size_bytes=parse_size(given["size"], "size") if "size" in given else None,
    )


def _id(text: str) -> int:
    if not re.fullmatch(r"[0-9]{1,10}", text) or int(text) > _MAX_ID:
        raise ValueError(f"id {text[:20]!r} is not a number up to {_MAX_ID}")
    return int(text)


def options(instruction: Instruction, text: str) -> dict[str, str]:
    given: dict[str, str] = {}
    try:
        fields = next(csv.reader(io.StringIO(text)), [])
    except csv.Error as e:
        raise bad(instruction.line, f"mount {text[:60]}: {e}") from None
    for field in fields:
        name, separator, value = field.partition("=")
        name = name.strip().lower()
        name = _SAME.get(name, name)
        if not separator and name not in {"ro", "rw", "required"}:
            raise bad(instruction.line, f"invalid field {field!r} must be a key=value pair")
        given[name] = value if separator else "true"
    return given


def _bool(given: Mapping[str, str], name: str) -> bool:
    value = given[name].lower()
    if value not in {"true", "false", "1", "0"}:
        raise ValueError(f"{name} {value!r} is neither true nor false")
    return value in {"true", "1"}
