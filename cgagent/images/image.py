"""What an image is to the rest of cgagent: a frozen value. Parses configs; reads no file.

Format: https://github.com/opencontainers/image-spec/blob/main/config.md
"""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Final

from cgagent.errors import InvalidInputError, UnsupportedError
from cgagent.images import reference
from cgagent.images.manifest import document

if TYPE_CHECKING:
    from collections.abc import Mapping

    from cgagent.store.images import ImageRecord


@dataclass(frozen=True, slots=True)
class HealthCheck:
    """Docker's HEALTHCHECK: how to find out whether a container does its work."""

    test: tuple[str, ...] = ()
    """``NONE``, or ``CMD`` with its arguments, or ``CMD-SHELL`` with a line for a shell."""
    interval_ns: int | None = None
    timeout_ns: int | None = None
    start_period_ns: int | None = None
    start_interval_ns: int | None = None
    retries: int | None = None
    shell: tuple[str, ...] = field(default=(), kw_only=True)
    """Of ``CMD-SHELL``; empty: /bin/sh -c."""


@dataclass(frozen=True, slots=True)
class ImageConfig:
    """How the image's author meant it to be run. Empty where the author said nothing."""

    env: tuple[str, ...] = ()
    """``NAME=VALUE``."""
    entrypoint: tuple[str, ...] = ()
    cmd: tuple[str, ...] = ()
    working_dir: str = ""
    user: str = ""
    """``USER[:GROUP]``, by name or number."""
    labels: Mapping[str, str] = field(default_factory=dict)
    stop_signal: str = ""
    volumes: tuple[str, ...] = ()
    exposed_ports: tuple[str, ...] = ()
    """``PORT/PROTOCOL``."""
    health: HealthCheck | None = None
    shell: tuple[str, ...] = ()
    """Docker's SHELL; empty: /bin/sh -c."""


@dataclass(frozen=True, slots=True)
class Image:
    id: str
    """``sha256:`` and the digest of the config; ``host`` for the machine's own root."""
    names: tuple[str, ...]
    """Canonical references: ``docker.io/library/alpine:latest``, ``...@sha256:...``."""
    config: ImageConfig
    layers: tuple[str, ...]
    """Chain ids, bottom first."""
    size_bytes: int
    """Of the files in all layers."""
    created: datetime | None
    architecture: str = ""
    diff_ids: tuple[str, ...] = ()
    layer_sizes: tuple[int, ...] = ()
    """In bytes, of the files in each layer."""
    manifest: str | None = None
    """The digest of the one that it came with."""
    is_step: bool = False
    """What a step of a build stands on: layers without an image, which nobody else sees."""

    @property
    def tags(self) -> tuple[str, ...]:
        """The names with a tag, in their short form: ``alpine:latest``."""
        return tuple(reference.parse(n).familiar for n in self.names if "@" not in n)

    @property
    def digests(self) -> tuple[str, ...]:
        """The names with a manifest's digest, in their short form: ``alpine@sha256:...``."""
        return tuple(reference.parse(n).familiar for n in self.names if "@" in n)


HOST: Final = Image("host", ("host",), ImageConfig(), (), 0, None)
"""The machine's own root file system: every file of the host is readable inside."""


@dataclass(frozen=True, slots=True)
class ParsedConfig:
    config: ImageConfig
    diff_ids: tuple[str, ...]
    created: datetime | None
    architecture: str


def parse_config(raw: bytes, what: str) -> ParsedConfig:
    """The fields of a config that cgagent uses.

    Raises:
        InvalidInputError: not JSON, or a field of the wrong type, which is named.
        UnsupportedError: an image for another operating system.
    """
    found = document(raw, f"{what}: its config")
    fields = _Fields(found, what)
    os_name = fields.text("os")
    if os_name not in ("linux", ""):
        raise UnsupportedError(f"{what} is made for {os_name}, not for linux")
    run = _Fields(fields.object("config"), what)
    return ParsedConfig(
        ImageConfig(
            env=run.texts("Env"),
            entrypoint=run.texts("Entrypoint"),
            cmd=run.texts("Cmd"),
            working_dir=run.text("WorkingDir"),
            user=run.text("User"),
            labels=run.mapping("Labels"),
            stop_signal=run.text("StopSignal"),
            volumes=tuple(run.object("Volumes")),
            exposed_ports=tuple(run.object("ExposedPorts")),
            health=_health(run.object("Healthcheck"), what),
            shell=run.texts("Shell"),
        ),
        _diff_ids(fields.object("rootfs"), what),
        _time(fields.text("created")),
        fields.text("architecture"),
    )


def _health(found: dict[str, Any], what: str) -> HealthCheck | None:
    """0 is Docker's for: not said."""
    if not found:
        return None
    fields = _Fields(found, what)
    return HealthCheck(
        test=fields.texts("Test"),
        interval_ns=fields.integer("Interval") or None,
        timeout_ns=fields.integer("Timeout") or None,
        start_period_ns=fields.integer("StartPeriod") or None,
        start_interval_ns=fields.integer("StartInterval") or None,
        retries=fields.integer("Retries") or None,
    )


_JSON_NAMES: Final = {"str": "string", "dict": "object", "list": "array", "int": "number"}


class _Fields:
    """Fields of a JSON object by their expected type; ``null`` and absence are empty."""

    def __init__(self, found: dict[str, Any], what: str) -> None:
        self._found = found
        self._what = what

    def text(self, key: str) -> str:
        return str(self._typed(key, str, ""))

    def integer(self, key: str) -> int:
        return int(self._typed(key, int, 0))

    def object(self, key: str) -> dict[str, Any]:
        return dict(self._typed(key, dict, {}))

    def texts(self, key: str) -> tuple[str, ...]:
        found = self._typed(key, list, [])
        if not all(isinstance(item, str) and "\0" not in item for item in found):
            raise self._bad(key, "a list of strings")
        return tuple(found)

    def mapping(self, key: str) -> dict[str, str]:
        found = self.object(key)
        if not all(isinstance(value, str) for value in found.values()):
            raise self._bad(key, "an object of strings")
        return found

    def _typed(self, key: str, kind: type, empty: Any) -> Any:
        found = self._found.get(key)
        if found is None:
            return empty
        if not isinstance(found, kind) or (isinstance(found, str) and "\0" in found):
            raise self._bad(key, f"a JSON {_JSON_NAMES[kind.__name__]}")
        return found

    def _bad(self, key: str, expected: str) -> InvalidInputError:
        return InvalidInputError(f"{self._what}: {key} in its config is not {expected}")


def _diff_ids(rootfs: dict[str, Any], what: str) -> tuple[str, ...]:
    found = rootfs.get("diff_ids")
    found = [] if found is None else found
    if not isinstance(found, list) or not all(
        isinstance(diff_id, str) and reference.is_digest(diff_id) for diff_id in found
    ):
        raise InvalidInputError(f"{what}: diff_ids in its config are not sha256 digests")
    return tuple(found)


def _time(text: str) -> datetime | None:
    try:
        parsed = datetime.fromisoformat(text)
    except ValueError:
        return None  # for people to read only: not worth refusing an image
    return parsed if parsed.tzinfo else parsed.replace(tzinfo=UTC)


def image_of(record: ImageRecord) -> Image:
    parsed = parse_config(record.config, f"image {record.id}")
    return Image(
        id=record.id,
        names=record.names,
        config=parsed.config,
        layers=tuple(layer.chain_id for layer in record.layers),
        size_bytes=sum(layer.size_bytes for layer in record.layers),
        created=parsed.created,
        architecture=parsed.architecture,
        diff_ids=parsed.diff_ids,
        layer_sizes=tuple(layer.size_bytes for layer in record.layers),
        manifest=record.manifest,
    )
