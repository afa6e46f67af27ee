"""Why a group is slow: figures of it, of those above and beside it and of the host, to causes."""

from cgagent.policy.causes.figures import (
    DeviceUse,
    Disk,
    Figures,
    Group,
    Machine,
    Neighbour,
    OomReport,
    Situation,
)
from cgagent.policy.causes.measuring import averaged, between, machine
from cgagent.policy.causes.neighbours import cores_of, largest, memory_of
from cgagent.policy.causes.ranking import causes, verdict
from cgagent.policy.causes.tasks import Ended, ended
from cgagent.policy.causes.values import LEAST_SHARE, Cause, Evidence, Kind

__all__ = [
    "LEAST_SHARE",
    "Cause",
    "DeviceUse",
    "Disk",
    "Ended",
    "Evidence",
    "Figures",
    "Group",
    "Kind",
    "Machine",
    "Neighbour",
    "OomReport",
    "Situation",
    "averaged",
    "between",
    "causes",
    "cores_of",
    "ended",
    "largest",
    "machine",
    "memory_of",
    "verdict",
]
