"""Values of the layers below that the engine takes and gives as they are.

The API knows the engine alone: what its requests and answers are made of it has from here.
"""

from cgagent.cgroups import Limits
from cgagent.images.check import Report
from cgagent.images.image import HealthCheck, Image
from cgagent.images.install import Progress
from cgagent.metrics import Asked, Rendering
from cgagent.network.files import NameLookup
from cgagent.runtime.logs.reader import LogQuery
from cgagent.runtime.spec import Process

__all__ = [
    "Asked",
    "HealthCheck",
    "Image",
    "Limits",
    "LogQuery",
    "NameLookup",
    "Process",
    "Progress",
    "Rendering",
    "Report",
]
