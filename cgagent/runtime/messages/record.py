"""Records, and the codec that turns them into JSON objects and back.

A record class lists its members as annotated names, as a dataclass does; making one of these costs
a tenth of what a dataclass costs, and the supervisor has many. Members are given by keyword and do
not change. They may be `str`, `int`, `bool`, an enumeration, another record, a tuple of these, a
dictionary from strings, or None where that is allowed.

As JSON, a member that has its default is left out. A member that is not known is ignored when it is
read, so that a sender may add one. A `Message` also has its class's name as ``type``, by which one
of several is told from the others.
"""

from __future__ import annotations

import enum
import json
import sys
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

    Reader = Callable[[Any, str], Any]
    """Of a member's JSON and the member's name, which is for the message of a `MessageError`."""

_TYPE: Final = "type"


class MessageError(InternalError):
    """Bytes or JSON that are not the record they should be.

    `value` is the whole JSON of it, as far as there is any.
    """

    def __init__(self, message: str) -> None:
        super().__init__(message)
        self.value: Any = None


@dataclass_transform(kw_only_default=True, frozen_default=True)
class _RecordType(type):
    """Makes slots of the annotated members, and finds a reader for each."""

    def __new__(cls, name: str, bases: tuple[type, ...], namespace: dict[str, Any]) -> _RecordType:
        hints = namespace.get("__annotations__", {})
        own = [member for member, hint in hints.items() if not hint.startswith("ClassVar")]
        defaults = {member: namespace.pop(member) for member in own if member in namespace}
        names = vars(sys.modules[namespace["__module__"]])
        readers = {member: _reader(eval(hints[member], names)) for member in own}  # noqa: S307 - ours
        for base in bases:
            if isinstance(base, _RecordType):
                defaults = {**vars(base)["_defaults"], **defaults}
                readers = {**vars(base)["_readers"], **readers}
        namespace |= {"__slots__": tuple(own), "_defaults": defaults, "_readers": readers}
        return super().__new__(cls, name, bases, namespace)


class Record(metaclass=_RecordType):
    """See the module."""

    _defaults: ClassVar[dict[str, Any]]
    _readers: ClassVar[dict[str, Reader]]
    """By member, in their order."""

    def __init__(self, **members: Any) -> None:
        put = object.__setattr__
        for name in self._readers:
            if name in members:
                put(self, name, members.pop(name))
            elif name in self._defaults:
                put(self, name, self._defaults[name])
            else:
                raise TypeError(f"{type(self).__name__} needs {name}")
        if members:
            raise TypeError(f"{type(self).__name__} has no {', '.join(members)}")

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
        return type(self)(**{name: getattr(self, name) for name in self._readers} | changes)

    def to_json(self) -> dict[str, Any]:
        defaults, found = self._defaults, {}
        for name in self._readers:
            value = getattr(self, name)
            if name not in defaults or value != defaults[name]:
                found[name] = _plain(value)
        return found

    def difference(self, before: Record) -> dict[str, Any]:
        """The JSON of the members that were others `before`; None for one that has its default."""
        defaults, found = self._defaults, {}
        for name in self._readers:
            value, old = getattr(self, name), getattr(before, name)
            if value is not old and value != old:
                is_default = name in defaults and value == defaults[name]
                found[name] = None if is_default else _plain(value)
        return found

    @classmethod
    def from_json(cls, value: Any) -> Self:
        """Raises MessageError: it is no object, or a member is missing or of another type."""
        if type(value) is not dict:
            raise MessageError(f"{cls.__name__} is not a JSON object")
        members = {}
        for name, read in cls._readers.items():
            if name in value:
                members[name] = read(value[name], f"{cls.__name__}.{name}")
            elif name not in cls._defaults:
                raise MessageError(f"{cls.__name__}.{name} is missing")
        return cls(**members)


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
    return json.dumps(record.to_json(), separators=(",", ":")).encode()


def decode(data: bytes | str, *kinds: type[Record]) -> Any:
    """One of these `kinds`.

    Raises:
        MessageError: it is none of them.
    """
    value = None
    try:
        value = json.loads(data)
        return kinds[0].from_json(value) if len(kinds) == 1 else _one_of(kinds)(value, "a message")
    except MessageError as e:
        e.value = value
        raise
    except (ValueError, RecursionError) as e:
        raise MessageError(f"a message is not JSON: {e}") from None


def _reader(hint: Any) -> Reader:
    """For members that are annotated so."""
    origin, arguments = get_origin(hint), get_args(hint)
    if origin is UnionType:
        kinds = [argument for argument in arguments if argument is not type(None)]
        read = _reader(kinds[0]) if len(kinds) == 1 else _one_of(kinds)
        return read if len(kinds) == len(arguments) else _or_none(read)
    if origin is tuple:
        return _many(_reader(arguments[0]))
    if origin is dict:
        return _dictionary(_reader(arguments[1]))
    if hint is Any:
        return lambda value, _: value
    if issubclass(hint, Record):
        return lambda value, _: hint.from_json(value)
    return _member_of(hint) if issubclass(hint, enum.Enum) else _exactly(hint)


def _exactly(kind: type) -> Reader:
    def read(value: Any, where: str) -> Any:
        if type(value) is not kind:  # True is no number
            raise MessageError(f"{where} is not of type {kind.__name__}")
        return value

    return read


def _or_none(read: Reader) -> Reader:
    return lambda value, where: None if value is None else read(value, where)


def _many(read_one: Reader) -> Reader:
    def read(value: Any, where: str) -> tuple[Any, ...]:
        if type(value) is not list:
            raise MessageError(f"{where} is not a list")
        return tuple([read_one(item, where) for item in value])

    return read


def _dictionary(read_one: Reader) -> Reader:
    def read(value: Any, where: str) -> dict[str, Any]:
        if type(value) is not dict:
            raise MessageError(f"{where} is not a JSON object")
        return {key: read_one(item, where) for key, item in value.items()}

    return read


def _member_of(kind: type[enum.Enum]) -> Reader:
    def read(value: Any, where: str) -> enum.Enum:
        for member in kind:
            if member.value == value:
                return member
        raise MessageError(f"{where} has no value of {kind.__name__}")

    return read


def _one_of(kinds: Iterable[Any]) -> Reader:
    """Of messages, by their type."""
    by_name = {kind.__name__: kind for kind in kinds}

    def read(value: Any, where: str) -> Any:
        name = value.get(_TYPE) if type(value) is dict else None
        kind = by_name.get(name) if type(name) is str else None
        if kind is None:
            raise MessageError(f"{where} is of no type that is known here: {name!r:.100}")
        return kind.from_json(value)

    return read
