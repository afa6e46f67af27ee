"""What a build is asked for, and what it tells while it goes on."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final, Literal, TypeAlias

from cgagent.cgroups import Limits
from cgagent.engine.options.limits import Conveniences

if TYPE_CHECKING:
    from cgagent.engine.options.confinement import Ulimit
    from cgagent.images.candidate import Progress

_SHOWN: Final = 120


@dataclass(frozen=True, slots=True, kw_only=True)
class BuildRequest:
    names: tuple[str, ...] = ()
    """Of the image."""
    dockerfile: str = "Dockerfile"
    """Its path in the context."""
    dockerfile_text: bytes | None = None
    """Instead of one in the context."""
    target: str = ""
    arguments: Mapping[str, str] = field(default_factory=dict)
    labels: Mapping[str, str] = field(default_factory=dict)
    platform: str = ""
    pull: bool = False
    """Also what is here is asked for at its registry."""
    no_cache: bool = False
    cache_from: tuple[str, ...] = ()
    """Images whose steps may be taken over."""
    cache_from_alone: bool = False
    """Nothing else is."""
    network: str = ""
    """Of RUN: ``none``, ``host``, or a network's name; empty: bridge."""
    extra_hosts: tuple[str, ...] = ()
    shm_size_bytes: int | None = None
    ulimits: tuple[Ulimit, ...] = ()
    secrets: Mapping[str, bytes] = field(default_factory=dict, repr=False)
    limits: Limits = field(default_factory=Limits)
    conveniences: Conveniences = field(default_factory=Conveniences)
    cgroup_parent: str = ""
    login: Callable[[str], str | None] = field(default=lambda _: None, repr=False)
    """A header X-Registry-Auth for the registry of an image's name."""
    client_id: str = ""
    """What its client calls it, to cancel it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Account:
    """What a step has used. None: this host does not count it, or there was nothing to count."""

    wall_s: float
    cpu_ns: int | None = None
    memory_peak_bytes: int | None = None
    io_read_bytes: int | None = None
    io_write_bytes: int | None = None

    def to_json(self) -> dict[str, Any]:
        return {
            "wall_s": round(self.wall_s, 6),
            "cpu_ns": self.cpu_ns,
            "memory_peak_bytes": self.memory_peak_bytes,
            "io_read_bytes": self.io_read_bytes,
            "io_write_bytes": self.io_write_bytes,
        }


@dataclass(frozen=True, slots=True, kw_only=True)
class Step:
    """`number` counts from 1, over all stages; 0 is what is done before them."""

    number: int
    total: int
    stage: int
    """The stage's index; stages go on at the same time."""
    shown: str
    """The stage's name or index."""
    text: str

    @property
    def named(self) -> str:
        """For messages."""
        text = self.text if len(self.text) <= _SHOWN else f"{self.text[: _SHOWN - 3]}..."
        return f"step {self.number}/{self.total} ({text})"


@dataclass(frozen=True, slots=True)
class StepBegun:
    step: Step


@dataclass(frozen=True, slots=True)
class StepContainer:
    """A container carries it out; with `is_gone` it was removed."""

    step: Step
    id: str
    is_gone: bool = False


@dataclass(frozen=True, slots=True)
class StepOutput:
    step: Step
    stream: Literal["stdout", "stderr"]
    text: str


@dataclass(frozen=True, slots=True)
class StepPull:
    """How far the pull of its base is."""

    step: Step
    progress: Progress
    tag: str


@dataclass(frozen=True, slots=True)
class StepNote:
    step: Step
    text: str


@dataclass(frozen=True, slots=True, kw_only=True)
class StepDone:
    step: Step
    id: str
    """Of an image that would be made of what there is so far."""
    cached: bool = False
    account: Account | None = None
    """None: it ran nothing."""
    size_bytes: int = 0
    """Of the files in its layer."""


@dataclass(frozen=True, slots=True)
class StageDone:
    stage: int


Told: TypeAlias = (
    StepBegun | StepContainer | StepOutput | StepPull | StepNote | StepDone | StageDone
)
Tell: TypeAlias = Callable[[Told], None]


@dataclass(frozen=True, slots=True, kw_only=True)
class Built:
    image_id: str
    names: tuple[str, ...]
    report: dict[str, Any]
    """See `cgagent.engine.build.accounts.report`."""
    warnings: tuple[str, ...] = ()
