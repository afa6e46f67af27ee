"""What the supervisor is told of a container's log at a start; `runtime.logs.driver` reads it."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final

from cgagent.engine.options.logging import JOURNALD, NONE, compresses, limits, tag_values
from cgagent.runtime.messages.jobs import JournaldLog, JsonFileLog

if TYPE_CHECKING:
    from pathlib import Path

    from cgagent.engine.containers.container import Record

_OTHER: Final = re.compile(r"[^A-Z0-9_]")
_TAG_FIELD: Final = re.compile(r"{{\s*\.(\w+)\s*}}")


def description(record: Record, path: Path) -> JsonFileLog | JournaldLog | None:
    """None where nothing is kept."""
    config = record.resolved.log
    if config.driver == NONE:
        return None
    if config.driver == JOURNALD:
        return JournaldLog(fields=_journal_fields(record))
    attributes = _chosen(record)
    if "tag" in config.options:
        attributes["tag"] = _tag(record)
    found = limits(config)
    return JsonFileLog(
        path=str(path),
        max_bytes=found["max_bytes"],
        max_files=found["max_files"] or 1,
        attributes=attributes,
        compress=compresses(config),
    )


def _chosen(record: Record) -> dict[str, str]:
    """Labels and variables that are to stand in every entry, as far as there are such."""
    resolved, log = record.resolved, record.resolved.log.options
    variables = dict(item.partition("=")[::2] for item in resolved.env)
    found: dict[str, str] = {}
    for key, values in (("labels", resolved.labels), ("env", variables)):
        found |= {name: values[name] for name in log.get(key, "").split(",") if name in values}
        pattern = log.get(f"{key}-regex")
        if pattern:
            found |= {name: value for name, value in values.items() if re.search(pattern, name)}
    return found


def _tag(record: Record) -> str:
    values = tag_values(record.id, record.name, record.config.image)
    text = record.resolved.log.options.get("tag") or "{{.ID}}"
    return _TAG_FIELD.sub(lambda match: values[match[1]], text)


def _journal_fields(record: Record) -> dict[str, str]:
    """As docker names them; a field's name has capital letters, digits and _ only."""
    tag = _tag(record)
    chosen = {_OTHER.sub("_", n.upper()).lstrip("_"): v for n, v in _chosen(record).items()}
    return {
        **chosen,
        "CONTAINER_ID": record.id[:12],
        "CONTAINER_ID_FULL": record.id,
        "CONTAINER_NAME": record.name,
        "CONTAINER_TAG": tag,
        "SYSLOG_IDENTIFIER": tag,
        "IMAGE_NAME": record.config.image,
    }
