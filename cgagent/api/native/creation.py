"""The body of ``POST /v1/containers``: a `ContainerConfig`, a name and limits.

It checks shapes; whether a value can be had is for the engine to say.
"""

from __future__ import annotations

from dataclasses import field

from pydantic import ConfigDict
from pydantic.dataclasses import dataclass

from cgagent.api.native.schemas import LimitsBody
from cgagent.engine.containers.config import ContainerConfig, CreateRequest
from cgagent.members import members


@dataclass(frozen=True, kw_only=True, config=ConfigDict(extra="forbid"))
class CreateBody(ContainerConfig):
    name: str | None = None
    platform: str = ""
    limits: LimitsBody = field(default_factory=LimitsBody)

    def request(self) -> CreateRequest:
        return CreateRequest(
            config=ContainerConfig(**members(ContainerConfig, self)),
            limits=self.limits.limits(),
            conveniences=self.limits.conveniences(),
            name=self.name,
            platform=self.platform,
        )
