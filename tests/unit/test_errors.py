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


@pytest.mark.parametrize(
    ("message", "object_", "cause", "next_step"),
    [
        (
            "container 'web' does not exist; see cgagent ps --all for those that do",
            *("container web", "container 'web' does not exist"),
            "see cgagent ps --all for those that do",
        ),
        ("no such image: alpine; 'cgagent pull alpine' fetches it", "image alpine", *(None,) * 2),
        ("container name 'web' is taken; remove it; or wait", "container web", None, None),
        ("container name 'a; b' is not valid: letters", "container a; b", "", ""),
        ('volume "it\'s; x" is in use', "volume it's; x", "", ""),
        ("the agent's log is full; see others' logs; or not", "", None, None),
        ("job 7 (pull) is done: nothing to cancel", "job 7", "", ""),
        ("cgroup /a/b does not exist; see cgagent cgroup tree", "cgroup /a/b", None, None),
        ("network option 'mtu' is not known", "network mtu", "", ""),
        ("network with name back already exists", "", "", ""),
        ("there are 5 tokens already; revoke some", "", None, None),
        ("image names are many", "", "", ""),
        ("container 'odd", "", "", ""),
        ("container", "", "", ""),
        ("", "", "", ""),
    ],
)
def test_the_parts_of_a_message(message, object_, cause, next_step):
    error = errors.ConflictError(message)
    if next_step is None:
        cause, _, next_step = message.partition("; ")
    elif not next_step:
        cause = message
    assert (error.object, error.cause, error.next_step) == (object_, cause, next_step)
