"""The kernel's file systems of a container to come, mounted before its job is known.

Nearly every container has the same /proc, /dev and /sys, with all that is below them. A zygote of
the pool mounts them ahead of time, where only its own mount namespace sees it. A job that wants
exactly these has them bound into its root; for any other they are left behind with the host's
tree, and its own are mounted.

    stage = make(mounts)                 in the zygote, before the job
    steps.Setup(..., stage=stage)        at the job: `steps.take_stage`
"""

from __future__ import annotations

import os
from dataclasses import replace
from typing import TYPE_CHECKING, Final

from cgagent.kernel import beneath
from cgagent.kernel import mount as km
from cgagent.runtime.container import devices, steps
from cgagent.runtime.container.mounts import Mount
from cgagent.runtime.container.staged import Stage

if TYPE_CHECKING:
    from cgagent.runtime.messages.agent import BindSource, KernelMounts

_ROOT: Final = {"destination": "/", "type": "tmpfs", "source": "stage", "options": ["mode=700"]}
_STEPS: Final = (
    steps.open_sources,
    steps.mount_root,
    steps.mount_all,
    steps.make_devices,
    steps.hide_paths,
)


def make(mounts: KernelMounts) -> Stage:
    """In the mount namespace of the caller, which the host's sees nothing of from now on.

    The directory of the host is covered by it. ``linux.namespaces`` are those the caller is in.
    """
    config = mounts.config
    # not private: what the host unmounts must go from here, too
    km.mount(None, "/", None, km.MS_SLAVE | km.MS_REC)
    # first, while the mount table is the host's: the sources are its files
    trees = [(Mount.from_oci(source.mount), _open(source)) for source in mounts.sources]
    setup = steps.Setup(config, [_ROOT], mounts.directory)
    for step in _STEPS:
        step(setup)
    tops: list[Mount] = []
    for m, _ in setup.mounts:
        if not any(m.destination.startswith(t.destination + "/") for t in tops):
            tops.append(m)
    opened = tuple((m, beneath.open_in_root(setup.root_fd, m.destination, os.O_PATH)) for m in tops)
    dev = beneath.open_in_root(setup.root_fd, devices.DEV, os.O_RDONLY | os.O_DIRECTORY)
    kept = tuple((m, _attached(tree, setup.root_fd, m)) for m, tree in trees if tree is not None)
    os.close(setup.root_fd)
    return Stage(config, opened, dev, kept)


def _open(source: BindSource) -> int | None:
    """Its tree, attached nowhere yet; None for what is no bind mount."""
    now = replace(Mount.from_oci(source.mount), source=source.now)
    return now.open_source(km.MS_PRIVATE)


def _attached(tree: int, root_fd: int, mount: Mount) -> int:
    """The same descriptor: before Linux 6.15 nothing can be cloned that is attached nowhere."""
    mount.apply(root_fd, tree)
    return tree
