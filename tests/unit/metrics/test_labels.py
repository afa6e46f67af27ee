"""Which labels of containers become Prometheus', and as what."""

import re

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from cgagent.errors import InvalidInputError
from cgagent.metrics import ChosenLabels

OWN = {"team": "shop", "com.docker.compose.service": "web", "commit": "1f0c"}


def test_those_chosen_by_cadvisors_names():
    chosen = ChosenLabels(("team", "com.docker.compose.service", "owner"))
    assert chosen.of(OWN) == (
        ("container_label_team", "shop"),
        ("container_label_com_docker_compose_service", "web"),
    )
    assert ChosenLabels(()).of(OWN) == ()
    assert chosen.of({}) == ()


def test_a_key_may_be_listed_twice_but_a_name_is_one_keys():
    assert ChosenLabels(("a.b", "a.b")).of({"a.b": "1"}) == (("container_label_a_b", "1"),)
    with pytest.raises(InvalidInputError, match=r"'a\.b' and 'a-b' are both container_label_a_b"):
        ChosenLabels(("a.b", "team", "a-b"))


@given(st.lists(st.text()))
def test_every_name_is_one_that_prometheus_takes(keys):
    try:
        chosen = ChosenLabels(keys)
    except InvalidInputError:
        assume(False)
    for name, value in chosen.of({key: key for key in keys}):
        assert re.fullmatch(r"[a-zA-Z_][a-zA-Z0-9_]*", name)
        assert value in keys
