"""A container as it was asked for, and what that came to.

`ContainerConfig` is the request in Docker's terms, kept whole as long as the container is there:
the body of ``POST /v1/containers`` is one, and so is what the database has. `ResolvedConfig` has
what the user left open, after the image, the agent's settings and other containers were asked; it
is made once, at creation. What needs no resolving is read from the `ContainerConfig` itself: a new
option is a flag, a field here, and its use.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Annotated

from cgagent.bounds import BOUNDED
from cgagent.cgroups import Limits
from cgagent.engine.options.confinement import Confinement
from cgagent.engine.options.limits import Conveniences
from cgagent.engine.options.logging import LogConfig
from cgagent.engine.options.mounts import Mount, MountSpec, Storage
from cgagent.engine.options.namespaces import NamespaceModes, Namespaces
from cgagent.engine.options.networking import Networking, PortSpec
from cgagent.engine.options.restart import RestartPolicy
from cgagent.images.image import HealthCheck  # noqa: TC001 - pydantic reads it
from cgagent.network.files import NameLookup

if TYPE_CHECKING:
    from cgagent.images.image import Image


@dataclass(frozen=True, kw_only=True)
class ContainerConfig(Storage, Confinement, NamespaceModes, Networking, NameLookup):
    """A container as its user asks for it; the image decides what is None, or empty and no value.

    An instance in a container's record has names in canonical spelling, and its restart policy is
    the one that an update gave it last.
    """

    image: str
    command: tuple[str, ...] = ()
    entrypoint: tuple[str, ...] | None = None
    env: tuple[str, ...] = ()
    """``NAME=VALUE``; a name alone takes the image's away."""
    working_dir: str | None = None
    user: str | None = None
    hostname: str | None = None
    domainname: str = ""
    labels: dict[str, str] = field(default_factory=dict)
    auto_remove: bool = False
    stdin: bool = False
    stdin_once: bool = False
    tty: bool = False
    console_size: tuple[int, int] | None = None
    """Rows and columns of the terminal at its start."""
    init: bool = False
    """A small init is its first process, which reaps children and passes signals on."""
    stop_signal: str | None = None
    stop_timeout_s: float | None = None
    """Between the stop signal and SIGKILL; None: the agent's setting; -1: for ever."""
    hibernate_after_s: float | None = None
    """It is put to sleep after so long without work; None: never."""
    health: HealthCheck | None = None
    """The image's check, or Docker's default, fills in what this one leaves out."""
    restart: RestartPolicy = RestartPolicy()  # noqa: RUF009 - frozen
    log: LogConfig | None = None
    """None: the agent's setting."""
    runtime: str = ""
    """An OCI runtime: ``native``, a name of the configuration's, or a path; empty: the default."""
    isolation: str = ""
    """Docker's word for how a container is kept apart: on Linux ``default``, or empty."""
    annotations: Annotated[dict[str, str], BOUNDED] = field(default_factory=dict)
    """Annotations are passed on in the container's OCI configuration, for runtimes and hooks."""
    reclaim: str = ""
    """``auto`` or ``auto:psi=0.1%``: memory it does not need is taken back; empty: it is not."""
    boost: str = ""
    """``cpus=4,memory=1g,for=30s``: wider limits for the first time of a run; empty: none."""
    budget: str = ""
    """``cpu=1h/24h,io=50g/1d:freeze``: what it may use in a time; empty: whatever it likes."""
    auto_size: str = ""
    """``memory=128m..1g,cpu=0.1..2``: limits that follow what it needs; empty: they do not."""
    cgroup_parent: str = ""
    """A path; a relative one, and empty, is below the agent's own parent."""
    group: str = ""
    """A group of containers, in the place of a `cgroup_parent`; empty: none."""


@dataclass(frozen=True, slots=True, kw_only=True)
class BuildStep:
    """What the agent itself gives a step's container, whoever may ask for what."""

    image: Image
    """The layers that it stands on, which no name leads to."""
    mounts: tuple[Mount, ...] = ()
    """Of the build's own files."""
    secrets: tuple[str, ...] = field(default=(), repr=False)
    """``NAME=VALUE``: variables of its command that no record, answer or file has."""


@dataclass(frozen=True, slots=True, kw_only=True)
class CreateRequest:
    """A container that is to be made."""

    config: ContainerConfig
    limits: Limits = Limits()  # noqa: RUF009 - frozen
    conveniences: Conveniences = Conveniences()  # noqa: RUF009 - frozen
    name: str | None = None
    """None: one that is free."""
    platform: str = ""
    """``OS/ARCH[/VARIANT]`` that the image has to be for; empty: whatever it is for."""
    step: BuildStep | None = None
    """Of a container that carries out a step of a build."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ResolvedConfig:
    """The values that a `ContainerConfig` leaves to others, each filled in."""

    args: tuple[str, ...]
    env: tuple[str, ...] = ()
    working_dir: str = "/"
    user: str = ""
    hostname: str = ""
    labels: dict[str, str] = field(default_factory=dict)
    stop_signal: str = "SIGTERM"
    health: HealthCheck | None = None
    """None: there is no check."""
    log: LogConfig = LogConfig()  # noqa: RUF009 - frozen
    mounts: tuple[MountSpec, ...] = ()
    """Each volume has its name, and those that the image declares are among them."""
    ports: tuple[PortSpec, ...] = ()
    """Published on the host: those asked for, and with `publish_all` those exposed."""
    namespaces: Namespaces = Namespaces()  # noqa: RUF009 - frozen
    """Other containers by their ids."""
    runtime: str = ""
    """Another OCI runtime than our own: its name or path; see `cgagent.engine.options.runtimes`."""
    cgroup_parent: str = ""
    """The path of the cgroup above the container's; empty means the agent's own parent."""
    is_step: bool = False
    """Of a build: what it writes becomes a layer, which is put on disk as layers are."""
