"""The codec of messages: what it writes it reads, and what is none of them is its own error."""

from __future__ import annotations

import contextlib
import enum
import functools
import importlib
import json
import pkgutil
import sys
import typing
from types import UnionType

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cgagent.errors import NotExecutableError
from cgagent.messages.record import Message, MessageError, Record, decode, encode
from cgagent.runtime import messages
from cgagent.runtime.messages import agent, children, held, zygote
from cgagent.runtime.messages.agent import Answer, Ask, Pid, Request, Signal
from cgagent.runtime.messages.outcomes import Exit, Failure

for found in pkgutil.iter_modules(messages.__path__):
    importlib.import_module(f"{messages.__name__}.{found.name}")


def subclasses(cls):
    for child in cls.__subclasses__():
        yield child
        yield from subclasses(child)


OURS = [r for r in dict.fromkeys(subclasses(Record)) if r.__module__.startswith(messages.__name__)]
RECORDS = [r for r in OURS if r not in {Message, Request}]
MESSAGES = [r for r in RECORDS if issubclass(r, Message)]
HEARD = [(Ask,), agent.TOLD, held.CHANGES, (held.Ended,), zygote.REPORTS]
HEARD += [(agent.Prepare, agent.Start), children.REPORTS, children.MAPPED, (children.Go,)]
HEARD += [(r,) for r in RECORDS if r not in MESSAGES]
TEXT = st.text(max_size=8)
DOCUMENTS = st.recursive(
    st.none() | st.booleans() | st.integers() | TEXT,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(TEXT, inner, max_size=3),
    max_leaves=8,
)
SIMPLE = {str: TEXT, int: st.integers(), bool: st.booleans(), typing.Any: DOCUMENTS}


@functools.cache  # to make a strategy costs more than to draw from it
def values(hint):
    """Of a member that is annotated so."""
    origin, arguments = typing.get_origin(hint), typing.get_args(hint)
    if origin is UnionType:
        return st.one_of(*(st.none() if a is type(None) else values(a) for a in arguments))
    if origin is tuple:
        return st.lists(values(arguments[0]), max_size=3).map(tuple)
    if origin is dict:
        return st.dictionaries(TEXT, values(arguments[1]), max_size=3)
    if hint in SIMPLE:
        return SIMPLE[hint]
    return st.sampled_from(hint) if issubclass(hint, enum.Enum) else records(hint)


@functools.cache
def records(kind):
    return st.fixed_dictionaries({n: values(h) for n, h in hints(kind).items()}).map(
        lambda members: kind(**members)
    )


def hints(kind):
    """The members of a record class, none of which has bases with members."""
    names = vars(sys.modules[kind.__module__])
    return {name: eval(hint, names) for name, hint in vars(kind).get("__annotations__", {}).items()}  # noqa: S307


@pytest.mark.parametrize("kind", RECORDS, ids=lambda kind: kind.__name__)
@given(data=st.data())
def test_a_record_comes_back_as_it_was(kind, data):
    record = data.draw(records(kind))
    assert decode(encode(record), kind) == record


@pytest.mark.parametrize("kind", MESSAGES, ids=lambda kind: kind.__name__)
@given(data=st.data())
def test_a_message_is_told_from_all_others(kind, data):
    message = data.draw(records(kind))
    assert decode(encode(message), *MESSAGES) == message


def mutated(draw, value):
    """The JSON value with one thing in it replaced, added or left out."""
    if isinstance(value, dict) and value and draw(st.booleans()):
        key = draw(st.sampled_from(sorted(value)))
        rest = {k: v for k, v in value.items() if k != key}
        return rest if draw(st.booleans()) else {**rest, key: mutated(draw, value[key])}
    if isinstance(value, list) and value and draw(st.booleans()):
        return [mutated(draw, value[0]), *value[1:]]
    return draw(DOCUMENTS)


@pytest.mark.parametrize("kinds", HEARD, ids=lambda kinds: "-".join(k.__name__ for k in kinds))
@given(data=st.data())
def test_a_changed_packet_is_a_message_or_an_error_of_the_codec(kinds, data):
    value = encode_any(data.draw(st.sampled_from(kinds).flatmap(records)))
    packet = json.dumps(mutated(data.draw, value)).encode()
    cut = data.draw(st.integers(0, len(packet)))
    for one in (packet, packet[:cut]):
        try:
            message = decode(one, *kinds)
        except MessageError:
            continue
        assert decode(encode(message), *kinds) == message


def encode_any(record):
    return json.loads(encode(record))


@pytest.mark.parametrize("kinds", HEARD, ids=lambda kinds: "-".join(k.__name__ for k in kinds))
@given(packet=st.binary(max_size=64) | DOCUMENTS.map(lambda d: json.dumps(d).encode()))
def test_any_bytes_are_a_message_or_an_error_of_the_codec(kinds, packet):
    with contextlib.suppress(MessageError):
        decode(packet, *kinds)


@pytest.mark.parametrize("packet", [b"[" * 100_000, b"1" * 10_000, b"\xff", b"", b"NaN"])
def test_json_that_python_refuses_is_an_error_of_the_codec(packet):
    with pytest.raises(MessageError):
        decode(packet, Ask)


def test_what_is_missing_is_named():
    with pytest.raises(MessageError, match=r"Signal\.signal is missing"):
        decode(b'{"type": "Ask", "seq": 1, "request": {"type": "Signal", "key": "x"}}', Ask)


def test_what_is_of_another_type_is_named():
    with pytest.raises(MessageError, match=r"Signal\.group is not of type bool") as raised:
        decode(b'{"seq": 7, "request": {"type":"Signal","key":"x","signal":9,"group":1}}', Ask)
    assert raised.value.value["seq"] == 7, "whoever asked can still be answered"


def test_what_is_not_known_is_ignored():
    asked = {"type": "Signal", "key": "x", "signal": 9, "at": [1]}
    packet = json.dumps({"type": "Ask", "seq": 1, "request": asked, "new": True})
    assert decode(packet, Ask) == Ask(seq=1, request=Signal(key="x", signal=9))


def test_a_message_of_another_kind_is_refused():
    with pytest.raises(MessageError, match="of no type that is known here: 'Signal'"):
        decode(encode(Signal(key="x", signal=9)), Ask, Answer)


def test_what_has_its_default_is_not_written():
    assert json.loads(encode(Exit(pid=1, log_dropped_bytes=0))) == {"pid": 1}


def test_a_record_does_not_change_and_has_only_its_members():
    record = Pid(pid=1)
    with pytest.raises(AttributeError, match=r"Pid\.pid cannot change"):
        record.pid = 2
    with pytest.raises(TypeError, match="Pid needs"):
        Pid()
    with pytest.raises(TypeError, match=r"has no .*more"):
        Pid(pid=1, more=2)
    assert record.replace(pid=2) == Pid(pid=2) != record
    assert repr(record) == "Pid(pid=1)"
    assert hash(record) == hash(Pid(pid=1))


def test_an_error_keeps_its_kind_and_message():
    back = Failure.of(NotExecutableError("command 'x': permission denied")).error()
    assert type(back) is NotExecutableError
    assert back.message == "command 'x': permission denied"
