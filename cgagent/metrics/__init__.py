"""Samples of every container, and their exposition to Prometheus.

Samples flow from the kernel through the sampler to whoever asks, and never back: nothing here
changes a container. It knows containers and groups only as `Target`s.
"""

from cgagent.metrics.disks import Disk
from cgagent.metrics.dockerstats import docker_stats
from cgagent.metrics.exposition import Asked, Metrics, Rendering
from cgagent.metrics.groups import GroupStanding
from cgagent.metrics.history import COLUMNS, row_of
from cgagent.metrics.hostload import CpuTime, HostLoad
from cgagent.metrics.labels import ChosenLabels
from cgagent.metrics.network import Interface
from cgagent.metrics.rates import Rates, between
from cgagent.metrics.sampler import Sampler
from cgagent.metrics.samples import (
    BudgetUse,
    HostSample,
    PolicyCounts,
    PortUse,
    Reclaimed,
    Sample,
    SamplerState,
    Standing,
    Target,
    cgroup_of_id,
    id_of_cgroup,
)
from cgagent.metrics.sizes import Sizes
from cgagent.metrics.standing import STATES
from cgagent.metrics.walker import Counted, ToCount, Walker, disk_usage

__all__ = [
    "COLUMNS",
    "STATES",
    "Asked",
    "BudgetUse",
    "ChosenLabels",
    "Counted",
    "CpuTime",
    "Disk",
    "GroupStanding",
    "HostLoad",
    "HostSample",
    "Interface",
    "Metrics",
    "PolicyCounts",
    "PortUse",
    "Rates",
    "Reclaimed",
    "Rendering",
    "Sample",
    "Sampler",
    "SamplerState",
    "Sizes",
    "Standing",
    "Target",
    "ToCount",
    "Walker",
    "between",
    "cgroup_of_id",
    "disk_usage",
    "docker_stats",
    "id_of_cgroup",
    "row_of",
]
