"""Records, and the codec that turns them into JSON objects and back.

A record class lists its members as annotated names, as a dataclass does, and is made in a fifteenth
of the time. Members are given by keyword and do not change. They may be `str`, `int`, `bool`, an
enumeration, another record, a tuple of these, a dictionary from strings, or None where that is
allowed.

As JSON, a member that has its default is left out. A member that is not known is ignored when it is
read, so that a sender may add one. A `Message` also has its class's name as ``type``, by which one
of several is told from the others.

The supervisor and the zygotes are forks of one another: every object that is touched after a fork
is a page to copy. So all members of one type have one reader, and only members that are there are
looked at.
"""

from __future__ import annotations

import enum
import json
import sys
from functools import cache
from types import UnionType
from typing import (
    TYPE_CHECKING,
    Any,
    ClassVar,
    Final,
    Self,
    dataclass_transform,
    get_args,
    get_origin,
)

from cgagent.errors import InternalError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    Reader = type | Callable[[Any], Any]
    """Of a member's JSON; a type stands for a value of just that type."""

_TYPE: Final = "type"
_PLAIN: Final = frozenset({str, int, bool, dict, type(None)})
_encode: Final = json.JSONEncoder(separators=(",", ":"), check_circular=False).encode


class MessageError(InternalError):
    """Bytes or JSON that are not the record they should be.

    `value` is the whole JSON of it, as far as there is any.
    """

    def __init__(self, message: str) -> None:
        super().__init__(message)
        self.value: Any = None


class _MisfitError(Exception):
    """The JSON of a member is not what it should be; whose member it is, is not known here."""


@dataclass_transform(kw_only_default=True, frozen_default=True)
class Record:
    """See the module."""

    _readers: ClassVar[dict[str, Reader]] = {}
    """By member, in their order."""
    _required: ClassVar[frozenset[str]] = frozenset()

    def __init_subclass__(cls) -> None:
        super().__init_subclass__()
        names = vars(sys.modules[cls.__module__])
        own = {
            name: _reader(eval(hint, names))  # noqa: S307 - an annotation of ours
            for name, hint in vars(cls).get("__annotations__", {}).items()
        }
        cls._readers = {**cls._readers, **own}
        cls._required = frozenset(name for name in cls._readers if not hasattr(cls, name))

    def __init__(self, **members: Any) -> None:
        if not self._required <= members.keys() <= self._readers.keys():
            missing, unknown = self._required - members.keys(), members.keys() - self._readers
            raise TypeError(f"{type(self).__name__} needs {missing or ''}, has no {unknown or ''}")
        vars(self).update(members)

    def __setattr__(self, name: str, _value: object) -> None:
        raise AttributeError(f"{type(self).__name__}.{name} cannot change")

    def __eq__(self, other: object) -> bool:
        if type(other) is not type(self):
            return NotImplemented
        return all(getattr(self, name) == getattr(other, name) for name in self._readers)

    def __hash__(self) -> int:
        return hash((type(self), *(getattr(self, name) for name in self._readers)))

    def __repr__(self) -> str:
        members = ", ".join(f"{name}={getattr(self, name)!r}" for name in self._readers)
        return f"{type(self).__name__}({members})"

    def replace(self, **changes: Any) -> Self:
        """A copy with other values of some members."""
        return type(self)(**{**vars(self), **changes})

    def to_json(self) -> dict[str, Any]:
        return {
            name: value if type(value) in _PLAIN else _plain(value)
            for name, value in vars(self).items()
            if not self._is_default(name, value)
        }

    def _is_default(self, name: str, value: Any) -> bool:
        return name not in self._required and value == getattr(type(self), name)

    def difference(self, before: Self) -> dict[str, Any]:
        """The JSON of the members that were others `before`; None for one that has its default."""
        found = {}
        for name in vars(self) | vars(before):
            value, old = getattr(self, name), getattr(before, name)
            if value is not old and value != old:
                found[name] = None if self._is_default(name, value) else _plain(value)
        return found

    @classmethod
    def from_json(cls, value: Any) -> Self:
        """Raises MessageError: it is no object, or a member is missing or of another type."""
        if type(value) is not dict:
            raise MessageError(f"{cls.__name__} is not a JSON object")
        made = object.__new__(cls)
        members, readers = vars(made), cls._readers
        name = ""
        try:
            for name, item in value.items():
                if name in readers:
                    read = readers[name]
                    members[name] = item if type(item) is read else _read(read, item)
        except _MisfitError as e:
            raise MessageError(f"{cls.__name__}.{name} {e}") from None
        if not cls._required <= members.keys():
            missing = next(name for name in readers if name in cls._required - members.keys())
            raise MessageError(f"{cls.__name__}.{missing} is missing")
        return made


class Message(Record):
    """A record that can be sent by itself: its ``type`` says which one it is."""

    def to_json(self) -> dict[str, Any]:
        return {_TYPE: type(self).__name__, **super().to_json()}


def _plain(value: Any) -> Any:
    """The JSON of a member. A dictionary is JSON as it is."""
    if isinstance(value, Record):
        return value.to_json()
    if isinstance(value, tuple):
        return [_plain(item) for item in value]
    return value.value if isinstance(value, enum.Enum) else value


def encode(record: Record) -> bytes:
    return _encode(record.to_json()).encode()


def decode(data: bytes | str, *kinds: type[Record]) -> Any:
    """One of these `kinds`.

    Raises:
        MessageError: it is none of them.
    """
    value = None
    try:
        value = json.loads(data)
        return kinds[0].from_json(value) if len(kinds) == 1 else _one_of(kinds)(value)
    except MessageError as e:
        e.value = value
        raise
    except _MisfitError as e:
        raise MessageError(f"a message {e}") from None
    except (ValueError, RecursionError) as e:
        raise MessageError(f"a message is not JSON: {e}") from None


@cache
def _reader(hint: Any) -> Reader:
    """For members that are annotated so."""
    origin, arguments = get_origin(hint), get_args(hint)
    if origin is UnionType:
        kinds = tuple(argument for argument in arguments if argument is not type(None))
        read = _reader(kinds[0]) if len(kinds) == 1 else _one_of(kinds)
        return read if len(kinds) == len(arguments) else _or_none(read)
    if origin is tuple:
        return _many(_reader(arguments[0]))
    if origin is dict:
        return _dictionary(_reader(arguments[1]))
    if hint is Any:
        return lambda value: value
    kind: type = hint
    if issubclass(kind, Record):
        return kind.from_json
    return _member_of(kind) if issubclass(kind, enum.Enum) else kind


def _read(read: Reader, value: Any) -> Any:
    if not isinstance(read, type):
        return read(value)
    if type(value) is not read:  # True is no number
        raise _MisfitError(f"is not of type {read.__name__}")
    return value


def _or_none(read: Reader) -> Reader:
    return lambda value: None if value is None else _read(read, value)


def _many(read_one: Reader) -> Reader:
    def read(value: Any) -> tuple[Any, ...]:
        if type(value) is not list:
            raise _MisfitError("is not a list")
        return tuple([_read(read_one, item) for item in value])

    return read


def _dictionary(read_one: Reader) -> Reader:
    def read(value: Any) -> dict[str, Any]:
        if type(value) is not dict:
            raise _MisfitError("is not a JSON object")
        return {key: _read(read_one, item) for key, item in value.items()}

    return read


def _member_of(kind: type[enum.Enum]) -> Reader:
    members = {member.value: member for member in kind}

    def read(value: Any) -> enum.Enum:
        if type(value) is not str or value not in members:
            raise _MisfitError(f"has no value of {kind.__name__}")
        return members[value]

    return read


@cache
def _one_of(kinds: Iterable[Any]) -> Callable[[Any], Any]:
    """Of messages, by their type."""
    by_name = {kind.__name__: kind for kind in kinds}

    def read(value: Any) -> Any:
        name = value.get(_TYPE) if type(value) is dict else None
        kind = by_name.get(name) if type(name) is str else None
        if kind is None:
            raise _MisfitError(f"is of no type that is known here: {name!r:.100}")
        return kind.from_json(value)

    return read
