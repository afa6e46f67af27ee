import contextlib
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cgagent.api.bodies import RefusedError, parse

TEXT = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"))
VALUES = st.recursive(
    st.none() | st.booleans() | st.integers(-(10**20), 10**20) | TEXT,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(TEXT, inner, max_size=4),
    max_leaves=20,
)


@given(VALUES)
def test_what_is_sound_is_read_as_it_is(value):
    assert parse(json.dumps(value).encode()) == value


def test_commas_and_brackets_of_a_string_are_no_values():
    words = ["[{," * 40_000, '\\"' * 30_000]
    assert parse(json.dumps(words).encode()) == words


@given(st.binary(max_size=200))
def test_whatever_comes_is_read_or_refused(body):
    with contextlib.suppress(RefusedError):
        parse(body)


@pytest.mark.parametrize(
    ("body", "why"),
    [
        (b'{"a": "\\u0000"}', "NUL"),
        (b'{"\\ud800": 1}', "surrogate"),
        (b'["\xff"]', "not utf-8 at byte 2"),
        (b"[NaN]", "NaN"),
        (b"[1e999]", "too large"),
        (b"[" + b"9" * 400 + b"]", "400 digits"),
        (b"[" * 40 + b"]" * 40, "32 deep"),
        (b"[" * 50_000 + b"]" * 50_000, "32 deep"),
        (b"[" + b"0," * 20_000 + b"0]", "20000 members"),
        (b"[" + b"[]," * 40_000 + b"[]]", "60000 values"),
        (b"{", "json decode error"),
    ],
)
def test_what_is_refused(body, why):
    with pytest.raises(RefusedError, match=why):
        parse(body)
