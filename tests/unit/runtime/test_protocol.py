import itertools

import pytest

from cgagent.errors import ConflictError
from cgagent.runtime.protocol import Exchange, State

LIFE = (("start", State.STARTING), ("running", State.RUNNING), ("exited", State.EXITED))
ALLOWED = {
    State.CREATED: {"attach", "prepare", "start", "forget"},
    State.STARTING: {"forget"},
    State.RUNNING: {"attach", "signal"},
    State.EXITED: {"forget"},
}


def exchange_in(state):
    exchange = Exchange("key")
    for what, reached in itertools.takewhile(lambda _: exchange.state is not state, LIFE):
        exchange.advance(what)
        assert exchange.state is reached
    return exchange


@pytest.mark.parametrize("state", State)
@pytest.mark.parametrize("op", ["attach", "prepare", "start", "signal", "forget"])
def test_what_may_be_asked_when(state, op):
    exchange = exchange_in(state)
    if op in ALLOWED[state]:
        exchange.check(op)
    else:
        with pytest.raises(ConflictError, match=rf"task key is {state.value}: {op} is not"):
            exchange.check(op)
    assert exchange.state is state


@pytest.mark.parametrize("state", State)
@pytest.mark.parametrize("what", ["start", "running", "exited"])
def test_things_happen_in_one_order_only(state, what):
    exchange = exchange_in(state)
    due = {State.CREATED: "start", State.STARTING: "running", State.RUNNING: "exited"}
    if due.get(state) == what:
        exchange.advance(what)
    else:
        with pytest.raises(ConflictError, match=f"task key is {state.value}, not {what}"):
            exchange.advance(what)
        assert exchange.state is state
