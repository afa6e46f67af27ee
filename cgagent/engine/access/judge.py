"""What a rule of the policy lets its caller do, judged where the engine does it.

Both APIs come to the same jobs and the same resolved configurations, so neither gets past. A rule
without ``privileged`` is about containers: those that it would let its caller make are the ones
that its caller may change, look into and copy from. A job that is not known here is refused.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from cgagent.engine.access.asking import current
from cgagent.engine.access.caller import includes
from cgagent.engine.options import confinement, namespaces
from cgagent.errors import DeniedError
from cgagent.images.image import HOST
from cgagent.runtime.spec.defaults import CAPABILITIES

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from cgagent.engine.access.asking import Asking, Work
    from cgagent.engine.access.policy import Rule
    from cgagent.engine.containers.config import ContainerConfig
    from cgagent.engine.containers.container import Container, Record

_READING: Final = frozenset({"search", "look up"})
"""Jobs that change nothing."""
_BY_IMAGE: Final = frozenset({"pull", "push", "rmi"})
_MAKING_IMAGES: Final = frozenset({"commit", "tag", "load", "import", "build"})
_BRIDGE: Final = "bridge"
_FREE: Final = frozenset(
    {
        "create",
        "search",
        "look up",
        "login",
        "save",
        "network create",
        "network remove",
        "attach",
        "exec",
    }
)
"""Jobs that are judged by what they come to, or are nobody's harm."""

_BEYOND: Final = {
    "fetch": "the agent would fetch it over the host's network; let a RUN do that",
}


class Judge:
    """`find` looks containers up; `own` is the cgroup that containers are in by default."""

    def __init__(self, find: Callable[[str], Container], own: str) -> None:
        self._find = find
        self._own = own.rstrip("/")

    def job(self, name: str, arguments: Mapping[str, str]) -> None:
        """Raises DeniedError: whoever asks may not begin this job."""
        asking = current()
        if asking is None:
            return
        if not includes(asking.rule.allow, "control") and name not in _READING:
            raise _denied(asking, f"{name} is a change")
        if not asking.rule.privileged:
            causes = self._against(asking.rule, name, arguments)
            for cause in (*self._about_parent(asking.rule, arguments), *causes):
                raise _denied(asking, f"{name}: {cause}")

    def record(self, record: Record) -> None:
        """Raises DeniedError: whoever asks may not have such a container."""
        asking = current()
        if asking is not None and not asking.rule.privileged:
            for cause in self._about(asking.rule, record):
                raise _denied(asking, f"container of image {record.config.image}: {cause}")

    def cancel(self, job: Work) -> None:
        """Raises DeniedError: it is another caller's job."""
        asking = current()
        if asking is None or asking.rule.privileged:
            return
        if job.caller != str(asking.caller):
            raise _denied(asking, f"job {job.id} is not its own")

    def _against(self, rule: Rule, name: str, arguments: Mapping[str, str]) -> Iterator[str]:
        if "container" in arguments:
            yield from self._about(rule, self._find(arguments["container"]).record)
        elif "cgroup" in arguments:
            path = arguments["cgroup"]
            if rule.cgroup_parents is None or not rule.has_group(path, self._own):
                yield f"cgroup {path} is below no parent that it may use"
        elif "volume" in arguments:
            if not rule.has_volume(arguments["volume"]):
                yield f"volume {arguments['volume']} is none that it may use"
        elif arguments.get("driver", _BRIDGE) != _BRIDGE:
            yield f"a network of driver {arguments['driver']} has an interface of the host"
        elif name not in _FREE | _BY_IMAGE | _MAKING_IMAGES:
            yield _BEYOND.get(name, "this is about more than its own containers")
        if arguments.get("privileged") == "true":
            yield "the command would be privileged"
        if rule.images is not None:
            yield from _about_images(rule, name, arguments)

    def _about_parent(self, rule: Rule, arguments: Mapping[str, str]) -> Iterator[str]:
        """Of a build, whose own group is made below it."""
        parent = arguments.get("cgroup_parent")
        if parent is not None and not rule.has_group(f"{parent.rstrip('/')}/", self._own):
            yield f"cgroup parent {parent} is none that it may use; give --cgroup-parent"

    def _about(self, rule: Rule, record: Record) -> Iterator[str]:
        """Why a rule does not let its caller have a container."""
        if not rule.has_image(record.config.image):
            yield f"image {record.config.image} is none that it may use"
        if not rule.has_group(record.cgroup_path, self._own):
            parents = ", ".join(rule.cgroup_parents or (self._own,))
            yield f"cgroup {record.cgroup_path} is not below {parents}; give --cgroup-parent"
        yield from _of_the_host(record)
        yield from _mounts(rule, record)
        for kind in namespaces.JOINABLE:
            other = record.resolved.namespaces.joined(kind)
            if other is not None and other != record.id:
                for cause in self._about(rule, self._find(other).record):
                    yield f"it joins container {other[:12]}: {cause}"


def _denied(asking: Asking, cause: str) -> DeniedError:
    asking.denied = cause
    return DeniedError(f"{asking.caller} may not do that: {cause}; see the agent's access policy")


def _about_images(rule: Rule, name: str, arguments: Mapping[str, str]) -> Iterator[str]:
    named = arguments.get("images", "").split(" ") if name == "save" else []
    if name in _BY_IMAGE:
        named.append(arguments.get("image", ""))
    for image in named:
        if not rule.has_image(image):
            yield f"image {image} is none that it may use"
    if name in _MAKING_IMAGES:
        yield "an image could be made under any name"


def _of_the_host(record: Record) -> Iterator[str]:
    """What of a container's configuration makes its root the host's, or comes near to it."""
    if record.adopted is not None:
        yield "it is a process of the host"
    if record.image_id == HOST.id:
        yield "its files are the host's"
    yield from _unconfined(record.config)
    resolved = record.resolved
    modes = {k: getattr(resolved.namespaces, k) for k in ("pid", "ipc", "uts", "cgroup", "network")}
    for kind, mode in {**modes, "user": record.config.userns}.items():
        if mode == namespaces.HOST:
            yield f"it is in the host's {kind} namespace"
    if "/" in resolved.runtime or (resolved.runtime and record.config.annotations):
        yield f"runtime {resolved.runtime} would do on the host what it is told"
    if record.limits.conf:
        yield "it sets files of its cgroup by their names"


def _unconfined(config: ContainerConfig) -> Iterator[str]:
    if config.privileged:
        yield "it is privileged"
    for name in confinement.capabilities(config):
        if name not in CAPABILITIES:
            yield f"it adds capability {name}"
    for option in config.security_opt:
        if not option.startswith("no-new-privileges"):
            yield f"security option {option[:40]} takes a barrier away"
    if config.devices or config.device_cgroup_rules:
        yield "it has devices of the host"
    if config.oom_score_adj is not None and config.oom_score_adj < 0:
        yield "the host's processes would be killed before its own"


def _mounts(rule: Rule, record: Record) -> Iterator[str]:
    """Paths of the host are those of the rule, letter by letter.

    What is below one may become a link, from inside a container; with ``..`` behind it that leads
    anywhere.
    """
    for mount in record.resolved.mounts:
        if mount.type == "bind" and (mount.source.rstrip("/") or "/") not in rule.host_paths:
            yield f"path {mount.source} of the host is none that it may use"
        if mount.type == "volume" and not mount.anonymous and not rule.has_volume(mount.source):
            yield f"volume {mount.source} is none that it may use"
