"""What is in a build context: a list of its files, and what a source of COPY means in it.

Paths are relative, without a slash at their beginning; the context itself is the empty one.
"""

from __future__ import annotations

import hashlib
import json
import posixpath
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, Literal

from cgagent.errors import InvalidInputError, NotFoundError
from cgagent.pathpatterns import deep_glob, glob, is_glob

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Iterator, Mapping

_MAX_LINKS: Final = 40
Kind = Literal["file", "directory", "link", "other"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    kind: Kind
    mode: int
    digest: str = ""
    """Of a file's content."""
    target: str = ""
    """Of a link."""


class Context:
    """An index of its files, with the digests of what is in them."""

    def __init__(self, entries: Mapping[str, Entry]) -> None:
        self.entries = dict(sorted(entries.items()))
        self._children: dict[str, list[str]] = {}
        for path in self.entries:
            if path:
                self._children.setdefault(posixpath.dirname(path), []).append(path)

    @classmethod
    def of(cls, found: Iterable[Mapping[str, Any]]) -> Context:
        """Of the lines that the process tells which has unpacked it."""
        root = {"": Entry(kind="directory", mode=0o755)}
        return cls(
            root
            | {
                one["path"]: Entry(
                    kind=one["kind"],
                    mode=one["mode"],
                    digest=one.get("digest", ""),
                    target=one.get("target", ""),
                )
                for one in found
            }
        )

    def matching(self, source: str, *, deep: bool = False) -> list[str]:
        """The paths, without links on their way, that a source of COPY or ADD means.

        `deep`: a ``**`` in it stands for any number of directories.

        Raises:
            NotFoundError: there is none.
            InvalidInputError: a malformed pattern.
        """
        wanted = posixpath.normpath("/" + source).lstrip("/")
        if deep and "**" in wanted:
            named = self._deeply(wanted)
        elif is_glob(source):
            expression = glob(wanted)
            depth = wanted.count("/")
            named = [
                path
                for path in self.entries
                if path and path.count("/") == depth and expression.fullmatch(path)
            ]
        else:
            named = [wanted]
        found = [real for path in named if (real := self.real(path)) is not None]
        if not found:
            what = "no file matches it" if is_glob(source) else "no such file or directory"
            raise NotFoundError(
                f"{source}: {what} in the build context (or .dockerignore leaves it out)"
            )
        return found

    def _deeply(self, pattern: str) -> list[str]:
        """But for what is in a directory that matches, too."""
        expression = deep_glob(pattern)
        found: dict[str, None] = {}
        for path in self.entries:  # a directory comes before what is in it
            if path and expression.fullmatch(path) and not _is_below(path, found):
                found[path] = None
        return list(found)

    def real(self, path: str) -> str | None:
        """Without links; they lead nowhere out of the context. None: there is nothing."""
        return self._real(path, 0)

    def _real(self, path: str, links: int) -> str | None:
        here = ""
        parts = [part for part in path.split("/") if part]
        for number, part in enumerate(parts):
            here = posixpath.join(here, part)
            entry = self.entries.get(here)
            if entry is None:
                return None
            if entry.kind == "link":
                if links >= _MAX_LINKS:
                    return None
                target = posixpath.join("/", posixpath.dirname(here), entry.target)
                rest = posixpath.join(posixpath.normpath(target), *parts[number + 1 :])
                return self._real(rest, links + 1)
        return here

    def digest(self, paths: Iterable[str]) -> str:
        """Of the names, modes and contents of all that is at these paths, but no times."""
        found = hashlib.sha256()
        for path in paths:
            for inner in self._below(path):
                entry = self.entries[inner]
                name = posixpath.relpath(inner, path or ".") if inner != path else ""
                known = [name, entry.kind, entry.mode, entry.digest, entry.target]
                # a file has its name at its destination, a directory's is not used
                if not name and entry.kind != "directory":
                    known[0] = posixpath.basename(inner)
                found.update(json.dumps(known).encode() + b"\n")
            found.update(b"\n")
        return f"sha256:{found.hexdigest()}"

    def _below(self, path: str) -> Iterator[str]:
        pending = [path]
        while pending:
            here = pending.pop()
            yield here
            pending += self._children.get(here, ())

    def file(self, path: str) -> str:
        """The path of a file, without links.

        Raises:
            NotFoundError, InvalidInputError: there is none.
        """
        real = self.real(posixpath.normpath("/" + path).lstrip("/"))
        if real is None:
            raise NotFoundError(f"{path} is not in the build context")
        if self.entries[real].kind != "file":
            raise InvalidInputError(f"{path} in the build context is no file")
        return real


def _is_below(path: str, directories: Collection[str]) -> bool:
    above = posixpath.dirname(path)
    while above:
        if above in directories:
            return True
        above = posixpath.dirname(above)
    return False
