"""systemd on hosts with cgroup v1."""

from dataclasses import replace

import pytest

from cgagent.engine.containers.container import Options
from cgagent.engine.options import systemd
from cgagent.engine.options.confinement import Confinement
from cgagent.engine.options.mounts import MountSpec
from cgagent.errors import UnsupportedError

SYSTEMD = Options(image="i", args=("/lib/systemd/systemd",))
INIT = Options(image="i", args=("/sbin/init",), stop_signal="SIGRTMIN+3")
CGROUPS = MountSpec(type="bind", source="/sys/fs/cgroup", destination="/sys/fs/cgroup")


@pytest.mark.parametrize("options", [SYSTEMD, INIT, replace(INIT, stop_signal="37")])
def test_it_is_refused_by_name_where_it_would_stand_still(options):
    with pytest.raises(UnsupportedError, match="is systemd, which needs cgroup v2"):
        systemd.require_possible(options, has_v1=True)
    systemd.require_possible(options, has_v1=False)


@pytest.mark.parametrize(
    "options",
    [
        replace(INIT, stop_signal="SIGTERM"),  # busybox's
        replace(SYSTEMD, args=("systemd-analyze",)),
        replace(SYSTEMD, mounts=(CGROUPS,)),
        replace(SYSTEMD, mounts=(replace(CGROUPS, source="/sys", destination="/sys"),)),
        replace(SYSTEMD, confinement=Confinement(privileged=True)),
        replace(SYSTEMD, confinement=Confinement(cap_add=("SYS_ADMIN",))),
    ],
)
def test_what_may_run(options):
    systemd.require_possible(options, has_v1=True)
