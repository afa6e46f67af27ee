"""Bodies of requests under docker's names, read as Go reads JSON.

Names in any case, ``null`` for what is left out, and unknown fields are passed over. Whether a
value can be had is for the engine to say.
"""

from __future__ import annotations

from functools import cache
from typing import Annotated, Any

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, model_validator


class Body(BaseModel):
    model_config = ConfigDict(extra="ignore", strict=True)

    @model_validator(mode="before")
    @classmethod
    def _as_go_reads_it(cls, value: Any) -> Any:
        if not isinstance(value, dict):
            return value
        names = _names(cls)
        return {
            names.get(name.lower(), name): member
            for name, member in value.items()
            if member is not None
        }


@cache
def _names(model: type[Body]) -> dict[str, str]:
    names = (info.alias or name for name, info in model.model_fields.items())
    return {name.lower(): name for name in names}


def _words(value: Any) -> Any:
    """Docker's StrSlice: a text stands for a list of one."""
    return [value] if isinstance(value, str) else value


Words = Annotated[list[str], BeforeValidator(_words)]
Texts = dict[str, str]
Int64 = Annotated[int, Field(ge=-(2**63), lt=2**63)]


def _dropped(value: Any) -> Any:
    """An object whose members may be null."""
    return {k: v for k, v in value.items() if v is not None} if isinstance(value, dict) else value


class HealthcheckBody(Body):
    Test: list[str] = []
    Interval: Int64 = 0
    Timeout: Int64 = 0
    StartPeriod: Int64 = 0
    StartInterval: Int64 = 0
    Retries: Int64 = 0


class ConfigBody(Body):
    """How a container is run; also of an image that is made."""

    Hostname: str = ""
    Domainname: str = ""
    User: str = ""
    ExposedPorts: dict[str, Any] = {}
    Tty: bool = False
    OpenStdin: bool = False
    StdinOnce: bool = False
    Env: list[str] = []
    Cmd: Words = []
    Healthcheck: HealthcheckBody | None = None
    Image: str = ""
    Volumes: dict[str, Any] = {}
    WorkingDir: str = ""
    Entrypoint: Words | None = None
    NetworkDisabled: bool = False
    MacAddress: str = ""
    OnBuild: list[str] = []
    Labels: Texts = {}
    StopSignal: str = ""
    StopTimeout: Int64 | None = None
    Shell: list[str] = []


class RateBody(Body):
    Path: str = ""
    Rate: Int64 = 0


class WeightBody(Body):
    Path: str = ""
    Weight: Int64 = 0


class DeviceBody(Body):
    PathOnHost: str = ""
    PathInContainer: str = ""
    CgroupPermissions: str = ""


class UlimitBody(Body):
    Name: str = ""
    Soft: Int64 = 0
    Hard: Int64 = 0


class ResourcesBody(Body):
    CpuShares: Int64 = 0
    Memory: Int64 = 0
    NanoCpus: Int64 = 0
    CgroupParent: str = ""
    BlkioWeight: Int64 = 0
    BlkioWeightDevice: list[WeightBody] | None = None
    BlkioDeviceReadBps: list[RateBody] | None = None
    BlkioDeviceWriteBps: list[RateBody] | None = None
    BlkioDeviceReadIOps: list[RateBody] | None = None
    BlkioDeviceWriteIOps: list[RateBody] | None = None
    CpuPeriod: Int64 = 0
    CpuQuota: Int64 = 0
    CpuRealtimePeriod: Int64 = 0
    CpuRealtimeRuntime: Int64 = 0
    CpusetCpus: str = ""
    CpusetMems: str = ""
    Devices: list[DeviceBody] = []
    DeviceCgroupRules: list[str] = []
    DeviceRequests: list[Any] = []
    MemoryReservation: Int64 = 0
    MemorySwap: Int64 = 0
    MemorySwappiness: Int64 | None = None
    OomKillDisable: bool | None = None
    PidsLimit: Int64 | None = None
    Ulimits: list[UlimitBody] = []


class RestartPolicyBody(Body):
    Name: str = ""
    MaximumRetryCount: Int64 = 0


class LogConfigBody(Body):
    Type: str = ""
    options: Texts = Field(default={}, alias="Config")  # pydantic has its own Config


class PortBindingBody(Body):
    HostIp: str = ""
    HostPort: str = ""


class BindOptionsBody(Body):
    Propagation: str = ""
    NonRecursive: bool = False
    CreateMountpoint: bool = False
    ReadOnlyNonRecursive: bool = False
    ReadOnlyForceRecursive: bool = False


class DriverConfigBody(Body):
    Name: str = ""
    Options: Texts = {}


class VolumeOptionsBody(Body):
    NoCopy: bool = False
    Labels: Texts = {}
    DriverConfig: DriverConfigBody = DriverConfigBody()
    Subpath: str = ""


class TmpfsOptionsBody(Body):
    SizeBytes: Int64 = 0
    Mode: Int64 = 0
    Options: list[list[str]] = []


class MountBody(Body):
    Type: str = ""
    Source: str = ""
    Target: str = ""
    ReadOnly: bool = False
    BindOptions: BindOptionsBody = BindOptionsBody()
    VolumeOptions: VolumeOptionsBody = VolumeOptionsBody()
    TmpfsOptions: TmpfsOptionsBody = TmpfsOptionsBody()


class HostConfigBody(ResourcesBody):
    Binds: list[str] = []
    LogConfig: LogConfigBody = LogConfigBody()
    NetworkMode: str = ""
    PortBindings: dict[str, list[PortBindingBody] | None] = {}
    RestartPolicy: RestartPolicyBody = RestartPolicyBody()
    AutoRemove: bool = False
    VolumeDriver: str = ""
    VolumesFrom: list[str] = []
    ConsoleSize: list[Int64] = []
    Annotations: Texts = {}
    CapAdd: Words = []
    CapDrop: Words = []
    CgroupnsMode: str = ""
    Dns: list[str] = []
    DnsOptions: list[str] = []
    DnsSearch: list[str] = []
    ExtraHosts: list[str] = []
    GroupAdd: list[str] = []
    IpcMode: str = ""
    Links: list[str] = []
    OomScoreAdj: Int64 | None = None
    PidMode: str = ""
    Privileged: bool = False
    PublishAllPorts: bool = False
    ReadonlyRootfs: bool = False
    SecurityOpt: list[str] = []
    StorageOpt: Texts = {}
    Tmpfs: Texts = {}
    Umask: Int64 | None = None
    UTSMode: str = ""
    UsernsMode: str = ""
    ShmSize: Int64 = 0
    Sysctls: Texts = {}
    Runtime: str = ""
    Isolation: str = ""
    Mounts: list[MountBody] = []
    MaskedPaths: list[str] | None = None
    ReadonlyPaths: list[str] | None = None
    Init: bool | None = None


class EndpointIPAMBody(Body):
    IPv4Address: str = ""
    IPv6Address: str = ""
    LinkLocalIPs: list[str] = []


class EndpointBody(Body):
    IPAMConfig: EndpointIPAMBody = EndpointIPAMBody()
    Links: list[str] = []
    Aliases: list[str] = []
    MacAddress: str = ""
    DriverOpts: Texts = {}
    GwPriority: Int64 = 0


class NetworkingBody(Body):
    EndpointsConfig: Annotated[dict[str, EndpointBody | None], BeforeValidator(_dropped)] = {}


class CreateBody(ConfigBody):
    HostConfig: HostConfigBody = HostConfigBody()
    Runtime: str = ""
    """Docker's library for Python has it here."""
    NetworkingConfig: NetworkingBody = NetworkingBody()


class UpdateBody(ResourcesBody):
    RestartPolicy: RestartPolicyBody | None = None


class ExecBody(Body):
    Cmd: Words = []
    Env: list[str] = []
    WorkingDir: str = ""
    User: str = ""
    Tty: bool = False
    AttachStdin: bool = False
    AttachStdout: bool = False
    AttachStderr: bool = False
    DetachKeys: str = ""
    Privileged: bool = False
    ConsoleSize: list[Int64] = []


class ExecStartBody(Body):
    Detach: bool = False
    Tty: bool = False
    ConsoleSize: list[Int64] = []


class AuthBody(Body):
    username: str = ""
    password: str = ""
    identitytoken: str = ""
    registrytoken: str = ""
    serveraddress: str = ""


class IPAMPoolBody(Body):
    Subnet: str = ""
    IPRange: str = ""
    Gateway: str = ""
    AuxiliaryAddresses: Texts = {}


class IPAMBody(Body):
    Driver: str = ""
    pools: list[IPAMPoolBody] = Field(default=[], alias="Config")
    Options: Texts = {}


class NetworkCreateBody(Body):
    Name: str = ""
    Driver: str = ""
    Scope: str = ""
    Internal: bool = False
    Attachable: bool = False
    Ingress: bool = False
    ConfigOnly: bool = False
    EnableIPv4: bool = True
    EnableIPv6: bool = False
    IPAM: IPAMBody = IPAMBody()
    Options: Texts = {}
    Labels: Texts = {}


class NetworkConnectBody(Body):
    Container: str = ""
    EndpointConfig: EndpointBody = EndpointBody()


class NetworkDisconnectBody(Body):
    Container: str = ""
    Force: bool = False


class VolumeCreateBody(Body):
    Name: str = ""
    Driver: str = ""
    DriverOpts: Texts = {}
    Labels: Texts = {}
