"""What a stage has come to: the configuration of an image that could be made of it."""

import json

import pytest

from cgagent.engine.build.state import State, entry
from cgagent.engine.build.values import Account
from cgagent.errors import InvalidInputError


def state():
    return State.of_scratch("linux/arm64/v8")


def test_of_scratch_there_is_a_path_and_a_platform():
    found = json.loads(state().document())
    assert (found["os"], found["architecture"], found["variant"]) == ("linux", "arm64", "v8")
    assert found["config"]["Env"][0].startswith("PATH=/")
    assert found["rootfs"]["diff_ids"] == []


def test_a_copy_goes_its_own_way():
    one = state()
    one.arguments["A"] = "1"
    other = one.copied()
    other.settings["Env"].append("B=2")
    other.history.append({})
    assert "B=2" not in one.settings["Env"]
    assert (one.history, other.arguments) == ([], {})


def test_the_environment_counts_before_arguments():
    one = state()
    one.arguments.update(A="argument", B="argument")
    one.settings["Env"].append("A=environment")
    assert (one.variables["A"], one.variables["B"]) == ("environment", "argument")


def test_until_a_step_is_carried_out_it_is_its_base():
    one = state()
    one.base_id = "sha256:base"
    assert one.id == "sha256:base"
    one.base_id = ""
    assert one.id.startswith("sha256:")
    assert len(one.id) == 7 + 64


def test_what_is_empty_is_left_out():
    one = state()
    one.settings.update(Cmd=None, Labels={}, User="x")
    assert set(json.loads(one.document())["config"]) == {"Env", "User", "WorkingDir"}


def test_a_configuration_has_a_bound():
    one = state()
    one.settings["Labels"] = {str(n): "x" * 10_000 for n in range(500)}
    with pytest.raises(InvalidInputError, match="configuration"):
        one.document()


def test_an_entry_of_the_history_has_key_and_account():
    found = entry("RUN x", "sha256:key", "me", Account(wall_s=1.0), is_empty=True)
    assert (found["created_by"], found["author"], found["empty_layer"]) == ("RUN x", "me", True)
    assert found["cgagent.build"]["key"] == "sha256:key"
    assert found["cgagent.build"]["usage"]["wall_s"] == 1.0
    assert "empty_layer" not in entry("RUN x", "k", "", None, is_empty=False)
