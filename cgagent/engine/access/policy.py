"""The policy file: which caller may do what. Read at the agent's start and on SIGHUP.

    [[rule]]
    users = ["alice", 1001]              # of the unix socket; names, or numbers
    groups = ["dev"]
    certificates = ["ci.example"]        # common names
    tokens = ["builder"]
    allow = "control"                    # or read, or metrics
    images = ["alpine", "registry.example/team/*"]
    cgroup-parents = ["/batch"]
    host-paths = ["/srv/data"]
    volumes = ["team-*"]

The first rule that names a caller holds; one without names is for all. Whom no rule is for may do
nothing. Without a file there is no restriction, and for root on the unix socket there never is.
"""

from __future__ import annotations

import grp
import os
import posixpath
import pwd
import stat
from dataclasses import dataclass
from fnmatch import fnmatchcase
from typing import TYPE_CHECKING, Any, Final

from cgagent.engine.access.caller import TOKEN_SCOPES, Caller, Scope
from cgagent.errors import DeniedError, InvalidInputError
from cgagent.images import reference

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

_LISTS: Final = (
    *("users", "groups", "certificates", "tokens"),
    *("images", "cgroup-parents", "host-paths", "volumes"),
)
_KNOWN: Final = frozenset({*_LISTS, "allow", "privileged"})
_HEX: Final = frozenset("0123456789abcdef")
_BOUNDS: Final = ("images", "cgroup-parents", "host-paths", "volumes")


@dataclass(frozen=True, slots=True, kw_only=True)
class Rule:
    """What some callers may do. None of a list: it is not limited by the rule."""

    uids: frozenset[int] | None = None
    gids: frozenset[int] | None = None
    certificates: frozenset[str] | None = None
    tokens: frozenset[str] | None = None
    allow: Scope = "control"
    privileged: bool = False
    """They may become root on the host; no other bound of a rule would hold then."""
    images: tuple[str, ...] | None = None
    cgroup_parents: tuple[str, ...] | None = None
    """None: the agent's own."""
    host_paths: tuple[str, ...] = ()
    volumes: tuple[str, ...] | None = None

    def is_for(self, caller: Caller) -> bool:
        named = (self.uids, self.gids, self.certificates, self.tokens)
        if all(names is None for names in named):
            return True
        if caller.via == "user":
            by_group = bool(caller.gids & (self.gids or frozenset()))
            return by_group or caller.uid in (self.uids or ())
        names = self.certificates if caller.via == "certificate" else self.tokens
        return caller.name in (names or ())

    def has_image(self, name: str) -> bool:
        """Is it one of those that the rule names?

        By its id none is. Beside a digest a tag says nothing.
        """
        if self.images is None:
            return True
        if _HEX.issuperset(name.removeprefix("sha256:")):  # it may be the beginning of an id
            return name in self.images
        try:
            found = reference.parse(name)
        except InvalidInputError:
            return False
        plain = found.name, found.familiar_name
        tagged = () if found.digest else tuple(f"{one}:{found.tag}" for one in plain)
        return _fits((*plain, *tagged), self.images)

    def has_volume(self, name: str) -> bool:
        return self.volumes is None or _fits((name,), self.volumes)

    def has_group(self, path: str, own: str) -> bool:
        """Is it below a parent that the rule names?"""
        parents = (own,) if self.cgroup_parents is None else self.cgroup_parents
        return any(path.startswith(f"{parent.rstrip('/')}/") for parent in parents)


def _fits(spellings: Iterable[str], patterns: tuple[str, ...]) -> bool:
    return any(fnmatchcase(text, pattern) for text in spellings for pattern in patterns)


EVERYTHING: Final = Rule(allow="admin", privileged=True)


@dataclass(frozen=True, slots=True)
class Policy:
    """`rules` None: there is no file."""

    rules: tuple[Rule, ...] | None = None
    path: str = ""

    def rule_for(self, caller: Caller) -> Rule:
        """Raises DeniedError: no rule is for this caller."""
        if self.rules is None or caller.is_root:
            return EVERYTHING
        for rule in self.rules:
            if rule.is_for(caller):
                return rule
        raise DeniedError(f"{caller}: no rule in {self.path} is for it; root can add one there")


def load(path: Path, *, required: bool) -> Policy:
    """The policy in a file; of one that is not there, and not `required`, no restriction.

    Raises:
        InvalidInputError: it cannot be read, others than root can write it, or a rule is none.
    """
    import tomllib

    try:
        with path.open("rb") as file:
            status = os.fstat(file.fileno())
            table = tomllib.load(file)
    except FileNotFoundError:
        if required:
            raise InvalidInputError(f"access policy {path} does not exist; make it first") from None
        return Policy()
    except (OSError, ValueError) as e:
        raise InvalidInputError(f"access policy {path} cannot be read: {e}") from None
    if status.st_uid != 0 or status.st_mode & (stat.S_IWGRP | stat.S_IWOTH):
        raise InvalidInputError(
            f"access policy {path} can be written by others than root; chown root and chmod 644"
        )
    rules = table.pop("rule", [])
    if table or not isinstance(rules, list):
        unknown = next(iter(table), "rule")
        raise InvalidInputError(f"access policy {path}: {unknown!r}: it has tables [[rule]] alone")
    return Policy(
        tuple(_rule(one, f"{path}: rule {n}") for n, one in enumerate(rules, 1)), str(path)
    )


def _rule(table: Any, where: str) -> Rule:
    if not isinstance(table, dict):
        raise InvalidInputError(f"{where}: it must be a table, [[rule]]")
    unknown = sorted(table.keys() - _KNOWN)
    if unknown:
        raise InvalidInputError(f"{where}: unknown {unknown[0]!r}; known are {', '.join(_KNOWN)}")
    lists = {name: _list(table, name, where) for name in _LISTS}
    allow, privileged = table.get("allow", "control"), table.get("privileged", False)
    if allow not in TOKEN_SCOPES or not isinstance(privileged, bool):
        raise InvalidInputError(
            f"{where}: allow is one of {', '.join(TOKEN_SCOPES)}, and privileged true or false"
        )
    if privileged and any(lists[name] is not None for name in _BOUNDS):
        raise InvalidInputError(
            f"{where}: who may be privileged gets past {', '.join(_BOUNDS)}; leave one of them out"
        )
    return Rule(
        uids=_ids(lists["users"], lambda name: pwd.getpwnam(name).pw_uid, f"{where}: user"),
        gids=_ids(lists["groups"], lambda name: grp.getgrnam(name).gr_gid, f"{where}: group"),
        certificates=_texts(lists["certificates"]),
        tokens=_texts(lists["tokens"]),
        allow=allow,
        privileged=privileged,
        images=lists["images"],
        cgroup_parents=_paths(lists["cgroup-parents"], f"{where}: cgroup-parents"),
        host_paths=_paths(lists["host-paths"], f"{where}: host-paths") or (),
        volumes=lists["volumes"],
    )


def _list(table: dict[str, Any], name: str, where: str) -> tuple[Any, ...] | None:
    if name not in table:
        return None
    kinds = (str, int) if name in {"users", "groups"} else (str,)
    found = table[name]
    if not isinstance(found, list) or not all(type(one) in kinds for one in found):
        raise InvalidInputError(f"{where}: {name} must be a list of strings")
    return tuple(found)


def _texts(names: tuple[str, ...] | None) -> frozenset[str] | None:
    return None if names is None else frozenset(names)


def _ids(names: tuple[Any, ...] | None, find: Any, where: str) -> frozenset[int] | None:
    """Asked once: a look-up may take long where names come over a network."""
    if names is None:
        return None
    found = set()
    for name in names:
        try:
            found.add(name if isinstance(name, int) else find(name))
        except KeyError:
            raise InvalidInputError(f"{where} {name!r} does not exist on this host") from None
    return frozenset(found)


def _paths(paths: tuple[str, ...] | None, where: str) -> tuple[str, ...] | None:
    for path in paths or ():
        if not path.startswith("/") or posixpath.normpath(path) != (path.rstrip("/") or "/"):
            raise InvalidInputError(f"{where}: {path!r} must be an absolute path without '..'")
    return None if paths is None else tuple(path.rstrip("/") or "/" for path in paths)
