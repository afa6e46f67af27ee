"""The body of ``POST /v1/containers``: docker's settings of a container, in snake case.

It checks shapes; whether a value can be had is for the engine to say.
"""

from __future__ import annotations

from typing import Annotated, Final, Literal

from pydantic import Field

from cgagent.api.native.schemas import LimitsBody, RestartBody, Strict
from cgagent.engine.options.confinement import Confinement, Ulimit
from cgagent.engine.options.devices import Device
from cgagent.engine.options.logging import LogConfig
from cgagent.engine.options.mounts import MountSpec, parse_bind, parse_tmpfs
from cgagent.engine.options.namespaces import Namespaces
from cgagent.engine.options.request import Request
from cgagent.engine.values import HealthCheck, NameLookup

_MOST: Final = 1000
_Strings = Annotated[list[str], Field(max_length=_MOST)]
_Settings = Annotated[dict[str, str], Field(max_length=_MOST)]
"""Each member of such a list is work for the agent or the kernel; words of a command are not."""


class MountBody(Strict):
    type: Literal["bind", "volume", "tmpfs"]
    destination: str
    source: str = ""
    """A path of the host; or a volume's name, empty for one of this container's own."""
    read_only: bool = False
    propagation: str = ""
    recursive: bool = True
    create_source: bool = False
    no_copy: bool = False
    labels: dict[str, str] = {}
    tmpfs_options: _Strings = []

    def spec(self) -> MountSpec:
        values = self.model_dump(exclude={"tmpfs_options"})
        return MountSpec(**values, tmpfs_options=tuple(self.tmpfs_options))


class DeviceBody(Strict):
    path_on_host: str
    path_in_container: str
    access: str = "rwm"


class UlimitBody(Strict):
    name: str
    soft: int
    hard: int


class _Storage(Strict):
    binds: _Strings = []
    """Docker's ``-v``: ``[SOURCE:]DESTINATION[:OPTIONS]``."""
    mounts: Annotated[list[MountBody], Field(max_length=_MOST)] = []
    tmpfs: _Settings = {}
    """Options by destination."""
    shm_size_bytes: Annotated[int, Field(ge=0)] | None = None
    read_only: bool = False

    def specs(self) -> tuple[MountSpec, ...]:
        return (
            *map(parse_bind, self.binds),
            *(m.spec() for m in self.mounts),
            *(parse_tmpfs(where, how) for where, how in self.tmpfs.items()),
        )


class _Confined(Strict):
    privileged: bool = False
    cap_add: _Strings = []
    cap_drop: _Strings = []
    security_opt: _Strings = []
    """A seccomp profile by its text: ``seccomp={...}``."""
    devices: Annotated[list[DeviceBody], Field(max_length=_MOST)] = []
    device_cgroup_rules: _Strings = []
    ulimits: Annotated[list[UlimitBody], Field(max_length=_MOST)] = []
    sysctls: _Settings = {}
    group_add: _Strings = []
    oom_score_adj: int | None = None

    def confinement(self) -> Confinement:
        return Confinement(
            privileged=self.privileged,
            cap_add=tuple(self.cap_add),
            cap_drop=tuple(self.cap_drop),
            security_opt=tuple(self.security_opt),
            devices=tuple(Device(**d.model_dump()) for d in self.devices),
            device_cgroup_rules=tuple(self.device_cgroup_rules),
            ulimits=tuple(Ulimit(**u.model_dump()) for u in self.ulimits),
            sysctls=self.sysctls,
            group_add=tuple(self.group_add),
            oom_score_adj=self.oom_score_adj,
        )


class _Shared(Strict):
    """Namespaces: a mode of docker's each; empty: one of the container's own."""

    pid: str = ""
    ipc: str = ""
    uts: str = ""
    cgroupns: str = ""
    userns: str = ""

    def namespaces(self) -> Namespaces:
        return Namespaces(
            pid=self.pid,
            ipc=self.ipc or "private",
            uts=self.uts,
            cgroup=self.cgroupns or "private",
            user=self.userns,
        )


class _Named(Strict):
    hostname: str | None = None
    domainname: str = ""
    network: Literal["none", "host"] = "none"
    extra_hosts: _Strings = []
    dns: _Strings = []
    dns_search: _Strings = []
    dns_options: _Strings = []

    def lookup(self) -> NameLookup:
        return NameLookup(
            extra_hosts=tuple(self.extra_hosts),
            dns=tuple(self.dns),
            dns_search=tuple(self.dns_search),
            dns_options=tuple(self.dns_options),
        )


class LogBody(Strict):
    driver: str = ""
    """Empty: the agent's setting."""
    options: _Settings = {}


class HealthBody(Strict):
    """What is left out, the image's check says, or docker's default."""

    test: list[str] = []
    """``NONE``; ``CMD`` and arguments; or ``CMD-SHELL`` and a line."""
    interval_ns: int | None = None
    timeout_ns: int | None = None
    start_period_ns: int | None = None
    start_interval_ns: int | None = None
    retries: int | None = None

    def check(self) -> HealthCheck:
        return HealthCheck(**{**self.model_dump(), "test": tuple(self.test)})


class CreateBody(_Storage, _Confined, _Shared, _Named):
    image: str
    command: list[str] = []
    entrypoint: list[str] | None = None
    name: str | None = None
    env: list[str] = []
    working_dir: str | None = None
    user: str | None = None
    labels: dict[str, str] = {}
    limits: LimitsBody = LimitsBody()
    auto_remove: bool = False
    stdin: bool = False
    stdin_once: bool = False
    stop_signal: str | None = None
    stop_timeout_s: float | None = None
    tty: bool = False
    console_size: tuple[int, int] | None = None
    init: bool = False
    health: HealthBody | None = None
    restart: RestartBody = RestartBody()
    log: LogBody | None = None
    runtime: str = ""
    """An OCI runtime: ``native``, a name of the configuration's, or a path; empty: the default."""
    annotations: _Settings = {}
    """Annotations are passed on in the container's OCI configuration."""
    cgroup_parent: str = ""
    """A path; a relative one, and empty, is below the agent's own parent."""

    def request(self) -> Request:
        return Request(
            image=self.image,
            command=tuple(self.command),
            entrypoint=None if self.entrypoint is None else tuple(self.entrypoint),
            name=self.name,
            env=tuple(self.env),
            working_dir=self.working_dir,
            user=self.user,
            hostname=self.hostname,
            domainname=self.domainname,
            network=self.network,
            mounts=self.specs(),
            shm_size_bytes=self.shm_size_bytes,
            confinement=self.confinement(),
            namespaces=self.namespaces(),
            lookup=self.lookup(),
            labels=self.labels,
            limits=self.limits.limits(),
            conveniences=self.limits.conveniences(),
            auto_remove=self.auto_remove,
            stdin=self.stdin,
            stdin_once=self.stdin_once,
            read_only=self.read_only,
            stop_signal=self.stop_signal,
            stop_timeout_s=self.stop_timeout_s,
            tty=self.tty,
            console_size=self.console_size,
            init=self.init,
            health=None if self.health is None else self.health.check(),
            restart=self.restart.policy(),
            log=None if self.log is None else LogConfig(self.log.driver, self.log.options),
            runtime=self.runtime,
            cgroup_parent=self.cgroup_parent,
            annotations=self.annotations,
        )
