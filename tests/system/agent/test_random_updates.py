"""Random updates of a running container by its agent: the kernel holds all of one, or none."""

import pytest
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    rule,
    run_state_machine_as_test,
)

from cgagent.api.native.schemas import UpdateBody
from cgagent.cgroups import Host
from cgagent.engine.options import limits as limit_json
from cgagent.errors import CgagentError, InternalError
from tests.world.updates import COUNT, SETTINGS, updates

pytestmark = pytest.mark.system


class Updates(RuleBasedStateMachine):
    """The model is what was asked and taken so far; the kernel's files are read by the test."""

    agent = None
    accepted = 0
    refused = 0

    @initialize()
    def launch(self):
        self.container = self.agent.launch("sleep", "inf")
        path = self.agent.detail(self.container)["cgroup_path"]
        self.group = Host.detect().group(path)
        self.model = limit_json.from_json(self.agent.detail(self.container)["limits"])
        self.held = self.group.held()

    @rule(asked=updates())
    def update(self, asked):
        body = limit_json.to_json(asked)
        try:
            self.agent.post(self.container, "update", body)
        except CgagentError as error:
            assert not isinstance(error, InternalError)  # noqa: PT017 - either outcome is right
            type(self).refused += 1
            assert self.group.held() == self.held
        else:
            type(self).accepted += 1
            asked = UpdateBody(**body).limits()  # without the zeros that ask for nothing
            self.model = self.model.merged(asked)
            self.held = self.group.held()
            assert asked.diff(self.held) == ()

    @invariant()
    def kernel_and_agent_hold_the_model(self):
        if hasattr(self, "held"):
            assert self.model.diff(self.group.held()) == ()
            detail = self.agent.detail(self.container)
            assert limit_json.from_json(detail["limits"]) == self.model
            assert detail["drift"] == []
            assert detail["state"]["status"] == "running"

    def teardown(self):
        if hasattr(self, "container"):
            self.agent.remove(self.container)


def test_random_updates(agent):
    machine = type("OfThisAgent", (Updates,), {"agent": agent})
    run_state_machine_as_test(machine, settings=SETTINGS)
    # Both outcomes must have been seen, or this shows nothing.
    assert machine.accepted > COUNT / 10
    assert machine.refused > COUNT / 20
