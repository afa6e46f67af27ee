import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cgagent.client import compact_json

VALUES = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
)


@given(VALUES)
def test_what_json_makes_of_it(value):
    assert json.loads(compact_json.dumps(value)) == value
    assert compact_json.loads(json.dumps(value).encode()) == value
    assert compact_json.loads(json.dumps(value, indent=2, ensure_ascii=False).encode()) == value


@given(st.binary() | st.text().map(str.encode))
def test_what_json_refuses_is_refused(data):
    try:
        expected = json.loads(data.decode())
    except ValueError:
        with pytest.raises(ValueError):  # noqa: PT011 - whatever its words
            compact_json.loads(data)
    else:
        assert compact_json.loads(data) == expected or expected != expected  # noqa: PLR0124 - NaN


def test_what_is_no_json():
    with pytest.raises(TypeError, match="object is not JSON"):
        compact_json.dumps({"a": object()})


def raise_type_error():
    raise TypeError("make_encoder() takes 8 arguments")


@pytest.mark.parametrize(
    "make",
    [
        raise_type_error,
        lambda: (lambda _: {}, lambda _: "{}"),
        lambda: (json.loads, json.dumps),  # works, but writes otherwise
    ],
)
def test_an_interpreter_that_is_made_otherwise(make):
    loads, dumps = compact_json._chosen(make)
    assert loads(b'{"a": [1]}') == {"a": [1]}
    assert dumps({"a": [1]}) == '{"a":[1]}'
