"""Each member of these is work for the agent and the kernel: there is a bound on their number."""

import pytest
from pydantic import ValidationError

from cgagent.api.native.creation import CreateBody

WORDS = {"command", "entrypoint", "env", "labels"}


def collections():
    for name, field in CreateBody.model_fields.items():
        default = field.get_default(call_default_factory=True)
        if isinstance(default, list | dict) and name not in WORDS:
            yield pytest.param(name, type(default), id=name)


@pytest.mark.parametrize(("name", "kind"), list(collections()))
def test_what_is_work_is_bounded(name, kind):
    many = {str(n): "" for n in range(1001)} if kind is dict else [f"x{n}" for n in range(1001)]
    with pytest.raises(ValidationError, match="at most 1000 items"):
        CreateBody(image="i", **{name: many})


@pytest.mark.parametrize("name", sorted(WORDS - {"labels"}))
def test_words_are_not(name):
    assert CreateBody(image="i", **{name: ["x"] * 5000})
