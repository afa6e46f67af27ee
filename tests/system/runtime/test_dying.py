"""What is killed while its cgroup is frozen: nobody waits for it, and it is reaped in the end."""

import os
import time

import pytest

from cgagent.cgroups import Host
from cgagent.kernel.loop import Loop
from cgagent.runtime.supervisor.dying import kill_and_reap
from tests.world.agent import SLOWNESS
from tests.world.naming import cgroup_path

pytestmark = pytest.mark.system


def test_a_killed_process_in_a_frozen_group_is_reaped_when_that_is_thawed():
    group, loop = Host.detect().group(cgroup_path()), Loop()
    group.create()
    pid = os.fork()
    if not pid:
        time.sleep(1000)
        os._exit(1)
    pidfd = os.pidfd_open(pid)
    try:
        group.join(pid)
        group.freeze(10 * SLOWNESS)
        kill_and_reap(loop, pidfd, is_ours=True)
        group.thaw(10 * SLOWNESS)
        while loop.watched:
            loop.run_once(10 * SLOWNESS)
        with pytest.raises(ChildProcessError):
            os.waitpid(pid, 0)
    finally:
        os.close(pidfd)
        group.kill(10 * SLOWNESS)
        group.remove()
