"""RUN, COPY and ADD: what their flags and arguments mean."""

from __future__ import annotations

import posixpath
import re
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Final, Literal

from cgagent.errors import UnsupportedError
from cgagent.images.build import modes, repositories, runmounts, words
from cgagent.images.build.syntax import Heredoc, Instruction, bad

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from cgagent.images.build.repositories import Repository
    from cgagent.images.build.runmounts import RunMount


Network = Literal["default", "none", "host"]

_FLAGS: Final = {
    "RUN": frozenset({"mount", "network", "security"}),
    "COPY": frozenset({"from", "chown", "chmod", "link", "exclude", "parents"}),
    "ADD": frozenset({"chown", "chmod", "link", "checksum", "exclude", "keep-git-dir"}),
    "FROM": frozenset({"platform"}),
    "HEALTHCHECK": frozenset({"interval", "timeout", "start-period", "start-interval", "retries"}),
}
_CHECKSUM: Final = re.compile(r"sha256:[0-9a-f]{64}")
_URL: Final = re.compile(r"https?://", re.IGNORECASE)


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
    chmod: int | str | None = None
    """A number, or symbols; see `modes`."""
    link: bool = False
    parents: bool = False
    """The directories above a source, from a ``/./`` in it on, are copied with it."""
    checksum: str = ""
    exclude: tuple[str, ...] = ()
    files: tuple[Heredoc, ...] = ()
    is_add: bool = False

    @property
    def urls(self) -> tuple[str, ...]:
        found = (one for one in self.sources if self.is_add and _URL.match(one))
        return tuple(one for one in found if repositories.parse(one) is None)

    @property
    def repositories(self) -> tuple[Repository, ...]:
        found = map(repositories.parse, self.sources if self.is_add else ())
        return tuple(filter(None, found))

    @property
    def local(self) -> tuple[str, ...]:
        """Sources that are paths."""
        urls = self.urls
        paths = (one for one in self.sources if one not in urls)
        return tuple(one for one in paths if not (self.is_add and repositories.parse(one)))


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
            runmounts.parse(instruction, value or "", expand)
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
    parents = switch(instruction, "parents")
    target = f"{given[-1]}/" if parents else given[-1]
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
        chmod=_mode(instruction, flag(instruction, "chmod"), expand),
        link=switch(instruction, "link"),
        parents=parents,
        checksum=expand(flag(instruction, "checksum")),
        exclude=tuple(expand(v or "") for n, v in instruction.flags if n == "exclude"),
        files=files,
        is_add=instruction.name == "ADD",
    )
    _check_add(instruction, made)
    return made


def _check_add(instruction: Instruction, made: Copy) -> None:
    if made.repositories:
        _check_repositories(instruction, made)
    if made.checksum and (len(made.sources) != 1 or not made.urls):
        raise bad(instruction.line, "checksum can't be specified for multiple or local sources")
    if made.checksum and not _CHECKSUM.fullmatch(made.checksum):
        raise bad(instruction.line, f"checksum {made.checksum!r} is not sha256: and 64 digits")


def _check_repositories(instruction: Instruction, made: Copy) -> None:
    for one in made.repositories:
        if one.needs_key:
            raise UnsupportedError(
                f"line {instruction.line}: ADD {one.url}: no key is passed on to fetch it with; "
                "name it by https, or clone it into the build context"
            )
        if one.ref.startswith("-"):
            raise bad(instruction.line, f"ADD {one.url}: {one.ref!r} is no branch, tag or commit")
    if made.chmod is not None or made.exclude or switch(instruction, "keep-git-dir"):
        raise UnsupportedError(
            f"line {instruction.line}: ADD of a repository has no --chmod, --exclude and "
            "--keep-git-dir"
        )


def absolute(directory: str, path: str) -> str:
    """From the root, without dots; a slash at its end stays, and a dot there becomes one."""
    is_directory = path.endswith(("/", "/.", "/..")) or path in {".", "..", ""}
    found = posixpath.normpath(posixpath.join("/", directory, path))
    found = "/" + found.lstrip("/")
    return found + "/" if is_directory and found != "/" else found


def _mode(instruction: Instruction, text: str, expand: Callable[[str], str]) -> int | str | None:
    """What has variables in it is checked when the files are written."""
    found = expand(text)
    try:
        return modes.octal(found)
    except ValueError:
        if not found:
            return None
    try:
        modes.change(found)
    except ValueError as e:
        if "$" not in text:
            raise bad(instruction.line, f"--chmod: {e}") from None
    return found


def sources_of(instruction: Instruction) -> list[str]:
    """The stages or images that an instruction takes files from, as they are written."""
    if instruction.name == "COPY":
        found = flag(instruction, "from")
        return [found] if found else []
    if instruction.name != "RUN":
        return []
    mounts = [value or "" for name, value in instruction.flags if name == "mount"]
    return [o["from"] for text in mounts if (o := runmounts.options(instruction, text)).get("from")]
