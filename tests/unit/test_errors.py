import inspect
import re

import pytest

from cgagent import errors
from cgagent.errors import EXIT_CODE, HTTP_STATUS, CgagentError, InternalError, from_kind

CLASSES = [
    value
    for _, value in inspect.getmembers(errors, inspect.isclass)
    if issubclass(value, CgagentError) and value is not CgagentError
]


def test_every_kind_is_in_both_tables():
    kinds = {cls.kind for cls in CLASSES}
    assert len(kinds) == len(CLASSES)
    assert set(HTTP_STATUS) == set(EXIT_CODE) == kinds


@pytest.mark.parametrize("cls", CLASSES)
def test_the_table_at_the_top_is_true(cls):
    row = re.search(rf"\b{cls.__name__} +(\w+) +(\d+) +(\d+)", errors.__doc__)
    assert row, f"{cls.__name__} is not drawn"
    assert (row[1], int(row[2]), int(row[3])) == (
        cls.kind,
        HTTP_STATUS[cls.kind],
        EXIT_CODE[cls.kind],
    )


@pytest.mark.parametrize("cls", CLASSES)
def test_an_error_comes_back_from_its_kind(cls):
    error = from_kind(cls.kind, "why")
    assert type(error) is cls
    assert error.message == str(error) == "why"


def test_a_kind_that_is_not_known_is_internal():
    assert type(from_kind("new", "why")) is InternalError


def test_a_subclass_elsewhere_does_not_take_a_kind_over():
    class Special(errors.ConflictError):
        pass

    assert type(from_kind("conflict", "")) is errors.ConflictError
