"""Random updates of a live group: the kernel holds what was asked, or what it held before."""

import subprocess

import pytest
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from cgagent.cgroups import Host, Limits
from cgagent.errors import CgagentError
from tests.world.naming import cgroup_path
from tests.world.updates import COUNT, SETTINGS, updates

pytestmark = pytest.mark.system


class Updates(RuleBasedStateMachine):
    """The model is what was asked and taken so far."""

    accepted = 0
    refused = 0

    @initialize()
    def create(self):
        self.group = Host.detect().group(cgroup_path())
        self.group.create()
        self.process = subprocess.Popen(["sleep", "inf"])
        self.group.join(self.process.pid)
        self.model = Limits()
        self.held = self.group.held()

    @rule(asked=updates())
    def apply(self, asked):
        try:
            self.group.apply(asked)
        except CgagentError as error:
            assert error.message.startswith("limit ")  # noqa: PT017 - either outcome is right
            type(self).refused += 1
            assert self.group.held() == self.held
        else:
            type(self).accepted += 1
            self.model = self.model.merged(asked)
            self.held = self.group.held()
            assert asked.diff(self.held) == ()

    @invariant()
    def the_kernel_holds_the_model(self):
        if hasattr(self, "group"):
            assert self.model.diff(self.group.held()) == ()

    def teardown(self):
        if hasattr(self, "process"):
            assert self.process.poll() is None  # nothing was killed for a limit
            self.process.kill()
            self.process.wait()
        if hasattr(self, "group"):
            self.group.remove()


Updates.TestCase.settings = SETTINGS


class TestUpdates(Updates.TestCase):
    def runTest(self):  # noqa: N802 - unittest's name
        super().runTest()
        # Both outcomes must have been seen, or this shows nothing.
        assert Updates.accepted > COUNT / 10
        assert Updates.refused
