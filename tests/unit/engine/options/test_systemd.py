"""systemd on hosts with cgroup v1."""

from dataclasses import replace

import pytest

from cgagent.engine.containers.config import ContainerConfig, ResolvedConfig
from cgagent.engine.options import systemd
from cgagent.engine.options.mounts import MountSpec
from cgagent.errors import UnsupportedError

PLAIN = ContainerConfig(image="i")
SYSTEMD = ResolvedConfig(args=("/lib/systemd/systemd",))
INIT = ResolvedConfig(args=("/sbin/init",), stop_signal="SIGRTMIN+3")
CGROUPS = MountSpec(type="bind", source="/sys/fs/cgroup", destination="/sys/fs/cgroup")


@pytest.mark.parametrize("resolved", [SYSTEMD, INIT, replace(INIT, stop_signal="37")])
def test_it_is_refused_by_name_where_it_would_stand_still(resolved):
    with pytest.raises(UnsupportedError, match="is systemd, which needs cgroup v2"):
        systemd.require_possible(PLAIN, resolved, has_v1=True)
    systemd.require_possible(PLAIN, resolved, has_v1=False)


@pytest.mark.parametrize(
    ("config", "resolved"),
    [
        (PLAIN, replace(INIT, stop_signal="SIGTERM")),  # busybox's
        (PLAIN, replace(SYSTEMD, args=("systemd-analyze",))),
        (PLAIN, replace(SYSTEMD, mounts=(CGROUPS,))),
        (PLAIN, replace(SYSTEMD, mounts=(replace(CGROUPS, source="/sys", destination="/sys"),))),
        (replace(PLAIN, privileged=True), SYSTEMD),
        (replace(PLAIN, cap_add=("SYS_ADMIN",)), SYSTEMD),
    ],
)
def test_what_may_run(config, resolved):
    systemd.require_possible(config, resolved, has_v1=True)
