"""Values of the layers below that the engine takes and gives as they are.

The API knows the engine alone: what its requests and answers are made of it has from here.
"""

from cgagent.cgroups import Limits
from cgagent.engine.build.values import BuildRequest, Built
from cgagent.engine.networks.endpoint import Endpoint
from cgagent.engine.networks.network import Network, built_in_id
from cgagent.engine.networks.spec import NetworkSpec
from cgagent.images.archives.authoring import Authorship
from cgagent.images.archives.instructions import quoted
from cgagent.images.archives.writing import Form
from cgagent.images.build.syntax import Instruction
from cgagent.images.candidate import Progress
from cgagent.images.check import Report
from cgagent.images.image import HealthCheck, Image
from cgagent.images.reference import Reference
from cgagent.images.reference import parse as parse_reference
from cgagent.images.removal import Removed
from cgagent.metrics import Asked, Rendering
from cgagent.network.files import NameLookup
from cgagent.runtime.logs.reader import LogQuery
from cgagent.runtime.spec import Process

__all__ = [
    "Asked",
    "Authorship",
    "BuildRequest",
    "Built",
    "Endpoint",
    "Form",
    "HealthCheck",
    "Image",
    "Instruction",
    "Limits",
    "LogQuery",
    "NameLookup",
    "Network",
    "NetworkSpec",
    "Process",
    "Progress",
    "Reference",
    "Removed",
    "Rendering",
    "Report",
    "built_in_id",
    "parse_reference",
    "quoted",
]
