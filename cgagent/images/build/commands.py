"""RUN, COPY and ADD: what their flags and arguments mean."""

from __future__ import annotations

import csv
import io
import posixpath
import re
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Final, Literal

from cgagent.errors import CgagentError, UnsupportedError
from cgagent.images.build import words
from cgagent.images.build.syntax import Heredoc, Instruction, bad
from cgagent.units import parse_size

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence


MountKind = Literal["bind", "cache", "tmpfs", "secret"]
Network = Literal["default", "none", "host"]

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
_FLAGS: Final = {
    "RUN": frozenset({"mount", "network", "security"}),
    "COPY": frozenset({"from", "chown", "chmod", "link", "exclude"}),
    "ADD": frozenset({"chown", "chmod", "link", "checksum", "exclude", "keep-git-dir"}),
    "FROM": frozenset({"platform"}),
    "HEALTHCHECK": frozenset({"interval", "timeout", "start-period", "start-interval", "retries"}),
}
_MAX_ID: Final = 2**32 - 2
_SHARING: Final = frozenset({"shared", "private", "locked"})
_CHECKSUM: Final = re.compile(r"sha256:[0-9a-f]{64}")
_URL: Final = re.compile(r"https?://", re.IGNORECASE)
_GIT: Final = re.compile(r"(git@|git://|ssh://|https?://[^ ]+\.git(#.*)?$)", re.IGNORECASE)


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


@dataclass(frozen=True, slots=True, kw_only=True)
class Run:
    args: tuple[str, ...]
    mounts: tuple[RunMount, ...] = ()
    network: Network = "default"
    script: str = ""
    """A program to be run as a file, by what its first line names; `args` is its path then."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Copy:
    """COPY and ADD."""

    sources: tuple[str, ...]
    target: str
    """Absolute; a slash at its end means a directory."""
    origin: str = ""
    """``--from``."""
    chown: str = ""
    chmod: int | None = None
    link: bool = False
    checksum: str = ""
    exclude: tuple[str, ...] = ()
    files: tuple[Heredoc, ...] = ()
    is_add: bool = False

    @property
    def urls(self) -> tuple[str, ...]:
        return tuple(one for one in self.sources if self.is_add and _URL.match(one))


SCRIPT: Final = "/dev/pipes/script"


def check_flags(instruction: Instruction) -> None:
    """Raises InvalidInputError: a flag that the instruction does not have."""
    known = _FLAGS.get(instruction.name, frozenset())
    for name, _ in instruction.flags:
        if name not in known:
            raise bad(instruction.line, f"unknown flag: {name} (of {instruction.name})")


def flag(instruction: Instruction, name: str) -> str:
    """The value of a flag that is given once; empty: it is not given."""
    values = [value for found, value in instruction.flags if found == name]
    if len(values) > 1:
        raise bad(instruction.line, f"duplicate flag specified: {name}")
    if values and values[0] is None:
        raise bad(instruction.line, f"missing a value on flag: {name}")
    return (values[0] or "") if values else ""


def switch(instruction: Instruction, name: str) -> bool:
    values = [value for found, value in instruction.flags if found == name]
    if values and values[-1] not in {None, "true", "false"}:
        raise bad(instruction.line, f"expecting boolean value for flag {name}, not {values[-1]}")
    return bool(values) and values[-1] != "false"


def expander(
    instruction: Instruction, variables: Mapping[str, str], escape: str
) -> Callable[[str], str]:
    """What replaces the variables in one word of the instruction."""
    left = words.MAX_VALUES + len(instruction.arguments)

    def expand(word: str) -> str:
        nonlocal left
        try:
            found = words.expanded(word, variables, escape)
        except words.WordError as e:
            raise bad(instruction.line, f"{instruction.name}: {e}") from None
        left -= max(0, len(found) - len(word))
        if left < 0:
            raise bad(instruction.line, f"{instruction.name}: with its variables it is too long")
        return found

    return expand


# -- RUN ----------------------------------------------------------------------------------------


def run(
    instruction: Instruction, shell: Sequence[str], variables: Mapping[str, str], escape: str
) -> Run:
    """Raises InvalidInputError, UnsupportedError."""
    check_flags(instruction)
    expand = expander(instruction, variables, escape)
    if flag(instruction, "security") not in {"", "sandbox"}:
        raise UnsupportedError(
            f"line {instruction.line}: RUN --security=insecure is not there: a step has no more "
            "rights than a container has by default"
        )
    network = flag(instruction, "network") or "default"
    if network not in {"default", "none", "host"}:
        raise bad(instruction.line, f"unsupported network mode {network!r}: default, none or host")
    made = Run(
        args=(),
        mounts=tuple(
            _mount(instruction, value or "", expand)
            for name, value in instruction.flags
            if name == "mount"
        ),
        network=network,  # type: ignore[arg-type]
    )
    given = instruction.words
    if given is not None:
        return replace(made, args=given)
    heredocs = instruction.heredocs
    if len(heredocs) == 1 and re.fullmatch(r"<<-?\S+", instruction.arguments):
        content = heredocs[0].content
        if content.startswith("#!"):
            return replace(made, args=(SCRIPT,), script=content)
        return replace(made, args=(*shell, content))
    lines = [instruction.arguments, *(f"{h.content}{h.name}" for h in heredocs)]
    return replace(made, args=(*shell, "\n".join(lines)))


def _mount(instruction: Instruction, text: str, expand: Callable[[str], str]) -> RunMount:
    given = _options(instruction, text)
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
        mode=_octal(given["mode"]) if "mode" in given else None,
        uid=_id(expand(given.get("uid", "0"))),
        gid=_id(expand(given.get("gid", "0"))),
        required="required" in given and _bool(given, "required"),
        env=env,
        size_bytes=parse_size(given["size"], "size") if "size" in given else None,
    )


def _octal(text: str) -> int:
    if not re.fullmatch(r"0*[0-7]{1,4}", text):
        raise ValueError(f"mode {text[:20]!r} is not up to four octal digits, such as 0755")
    return int(text, 8)


def _id(text: str) -> int:
    if not re.fullmatch(r"[0-9]{1,10}", text) or int(text) > _MAX_ID:
        raise ValueError(f"id {text[:20]!r} is not a number up to {_MAX_ID}")
    return int(text)


def _options(instruction: Instruction, text: str) -> dict[str, str]:
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


# -- COPY, ADD ----------------------------------------------------------------------------------


def copy(
    instruction: Instruction, directory: str, variables: Mapping[str, str], escape: str
) -> Copy:
    """`directory` is the working directory. Raises InvalidInputError, UnsupportedError."""
    check_flags(instruction)
    expand = expander(instruction, variables, escape)
    raw = instruction.words or tuple(words.split(instruction.arguments, escape))
    if len(raw) < 2:  # noqa: PLR2004 - a source and a destination
        raise bad(instruction.line, f"{instruction.name} requires at least two arguments")
    given = [expand(word) for word in raw]
    files = tuple(
        replace(h, content=words.in_text(h.content, variables, escape)) if h.expands else h
        for h in instruction.heredocs
    )
    sources = tuple(
        word for word, written in zip(given[:-1], raw, strict=False) if not written.startswith("<<")
    )
    target = given[-1]
    is_many = len(sources) + len(files) > 1
    if is_many and not target.endswith("/") and posixpath.basename(target) not in {".", ".."}:
        raise bad(
            instruction.line,
            f"when using {instruction.name} with more than one source file, the destination must "
            "be a directory and end with a /",
        )
    made = Copy(
        sources=sources,
        target=absolute(directory, target),
        origin=flag(instruction, "from"),
        chown=expand(flag(instruction, "chown")),
        chmod=_mode(instruction, expand(flag(instruction, "chmod"))),
        link=switch(instruction, "link"),
        checksum=expand(flag(instruction, "checksum")),
        exclude=tuple(expand(v or "") for n, v in instruction.flags if n == "exclude"),
        files=files,
        is_add=instruction.name == "ADD",
    )
    _check_add(instruction, made)
    return made


def _check_add(instruction: Instruction, made: Copy) -> None:
    for source in made.sources:
        if made.is_add and _GIT.match(source):
            raise UnsupportedError(
                f"line {instruction.line}: ADD {source}: repositories are not fetched; clone it "
                "into the build context, or in a RUN"
            )
    if made.checksum and (len(made.sources) != 1 or not made.urls):
        raise bad(instruction.line, "checksum can't be specified for multiple or local sources")
    if made.checksum and not _CHECKSUM.fullmatch(made.checksum):
        raise bad(instruction.line, f"checksum {made.checksum!r} is not sha256: and 64 digits")


def absolute(directory: str, path: str) -> str:
    """From the root, without dots; a slash at its end stays, and a dot there becomes one."""
    is_directory = path.endswith(("/", "/.", "/..")) or path in {".", "..", ""}
    found = posixpath.normpath(posixpath.join("/", directory, path))
    found = "/" + found.lstrip("/")
    return found + "/" if is_directory and found != "/" else found


def _mode(instruction: Instruction, text: str) -> int | None:
    if not text:
        return None
    try:
        return _octal(text)
    except ValueError:
        raise UnsupportedError(
            f"line {instruction.line}: chmod {text!r}: only a number such as 755 is understood"
        ) from None


def sources_of(instruction: Instruction) -> list[str]:
    """The stages or images that an instruction takes files from, as they are written."""
    if instruction.name == "COPY":
        found = flag(instruction, "from")
        return [found] if found else []
    if instruction.name != "RUN":
        return []
    mounts = [value or "" for name, value in instruction.flags if name == "mount"]
    return [o["from"] for text in mounts if (o := _options(instruction, text)).get("from")]
