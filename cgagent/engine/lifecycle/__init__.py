"""What a container goes through, each change a job.

A failed change leaves nothing half-made. The container's lock is held during each change, so an
exit that comes while a start is being finished is dealt with after it.

    create ──> created ──start──> running ──┬─ stop, kill, its own end ──> exited ──rm──> gone
                                    ^       │                              ^
                                    └───── restarting (its policy) ────────┘ stop, kill

One file for each: `creation`, `starts`, `stops`, `exits`, `restarts`, `removal` with `leftovers`;
`setups` is what the first two share, `signals` and `shared` are what all have in common.
`resources` lists what a container has, and the others walk it. `pool` makes processes ready,
`control` freezes and limits, `entries` keeps commands of exec and moves apart, `adopt` takes
processes of the host, `reconcile` and `recovery` work at the agent's start.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from cgagent.engine.lifecycle.creation import Creation
from cgagent.engine.lifecycle.entries import Entries
from cgagent.engine.lifecycle.exits import Exits
from cgagent.engine.lifecycle.leftovers import Leftovers
from cgagent.engine.lifecycle.removal import Removal
from cgagent.engine.lifecycle.resources import (
    Cgroup,
    Directory,
    Figures,
    MountedVolumes,
    PoolSlot,
    Resources,
    Root,
    RuntimeState,
    Watched,
)
from cgagent.engine.lifecycle.restarts import Restarts
from cgagent.engine.lifecycle.setups import Setups
from cgagent.engine.lifecycle.shared import Shared, require_running, require_there
from cgagent.engine.lifecycle.signals import Signals
from cgagent.engine.lifecycle.starts import Starts
from cgagent.engine.lifecycle.stops import Stops

if TYPE_CHECKING:
    from cgagent.engine.options.logging import LogConfig

__all__ = ["Leftovers", "Lifecycle", "Shared", "require_running", "require_there"]


class Lifecycle:
    """Composes the modules of this package: each attribute is the method of one of them."""

    def __init__(self, shared: Shared, *, stop_timeout_s: float, log_default: LogConfig) -> None:
        signals = Signals(shared)
        setups = Setups(shared)
        self.resources = Resources(
            (
                Directory(shared.bundle),
                Root(shared.images, shared.pool),
                PoolSlot(shared.pool),
                MountedVolumes(shared.volumes, shared.bundle),
                Cgroup(shared.placement, shared.parents, setups),
                Watched(shared.watch, shared.group),
                RuntimeState(shared.runtimes),
                Figures(shared.monitor),
            )
        )
        removal = Removal(shared, signals, self.resources)
        creation = Creation(shared, setups, self.resources, log_default)
        starts = self.starts = Starts(shared, setups, removal, self.resources)
        stops = self.stops = Stops(shared, signals, starts, stop_timeout_s)
        self.restarts = Restarts(shared, starts)

        self.create = creation.create
        self.choose_name = creation.choose_name
        self.rename = creation.rename
        self.make_ready = setups.ready
        self.undo_set_up = setups.undo
        self.unready = setups.unready
        self.try_limits = setups.try_limits
        self.start = starts.start
        self.started = starts.started
        self.stop = stops.stop
        self.kill = stops.kill
        self.restart = stops.restart
        self.wait = signals.wait
        self.hold = signals.hold
        self.exited = Exits(shared, removal, self.restarts, self.resources).exited
        self.remove = removal.remove
        self.forget = removal.forget

        self.groups = shared.groups
        self.entries = Entries()
        self.runtimes = shared.runtimes
        self.bundle = shared.bundle
        self.group = shared.group
        self.mount_points = shared.mount_points
        self.publish = shared.publish
        self.filters = shared.filters
        self.watch = shared.watch
