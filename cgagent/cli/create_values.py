"""Values of flags that have a form of their own. Each function is called after a request's field.

What the values may be is for the agent to say; here they only get their shape.
"""

from __future__ import annotations

import csv
import os

from cgagent.errors import InvalidInputError
from cgagent.units import parse_duration, parse_size

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, Final


_YES: Final = {"": True, "true": True, "1": True, "false": False, "0": False}
_MOUNT_KEYS: Final = {
    "type": "type",
    **dict.fromkeys(("source", "src"), "source"),
    **dict.fromkeys(("target", "dst", "destination"), "destination"),
    **dict.fromkeys(("readonly", "ro"), "read_only"),
    "bind-propagation": "propagation",
    "bind-nonrecursive": "recursive",
    "bind-recursive": "recursive",
    "volume-nocopy": "no_copy",
    "volume-label": "labels",
    "tmpfs-size": "tmpfs_options",
    "tmpfs-mode": "tmpfs_options",
}
_BLANKS: Final = " \t"
"""In lines of files; docker's. Other characters are what names and values consist of."""
_SWITCHES: Final = ("readonly", "ro", "volume-nocopy", "bind-nonrecursive")
_NOT_YET: Final = ("volume-driver", "volume-opt", "volume-subpath", "bind-create-src")


def mounts(items: list[str]) -> list[dict[str, Any]]:
    return [_mount(item) for item in items]


def _mount(item: str) -> dict[str, Any]:
    """Docker's ``--mount``: a line of comma-separated values, each KEY or KEY=VALUE."""
    found: dict[str, Any] = {"type": "volume"}
    parts = [part.partition("=") for part in _comma_separated(item)]
    keys = [key.strip().lower() for key, _, _ in parts]
    for key, (_, separator, value) in zip(keys, parts, strict=True):
        _set(found, item, key, value, is_bare=not separator)
    if "destination" not in found:
        raise InvalidInputError(f"--mount {item!r}: target is required")
    if found["type"] not in {"bind", "volume", "tmpfs"}:
        raise InvalidInputError(f"--mount {item!r}: type is one of bind, volume, tmpfs")
    for prefix in ("bind", "volume", "tmpfs"):
        if found["type"] != prefix and any(key.startswith(f"{prefix}-") for key in keys):
            raise InvalidInputError(
                f"--mount {item!r}: cannot mix '{prefix}-*' options with mount type "
                f"{found['type']!r}"
            )
    if found["type"] == "bind":
        if not found.get("source"):
            raise InvalidInputError(f"--mount {item!r}: source is required for a bind mount")
        found["source"] = os.path.abspath(os.path.expanduser(found["source"]))
    return found


def _comma_separated(item: str) -> list[str]:
    try:
        return next(csv.reader([item]), [])
    except csv.Error as e:
        raise InvalidInputError(f"--mount {item!r}: {str(e).partition(' -')[0]}") from None


def _set(found: dict[str, Any], item: str, key: str, value: str, *, is_bare: bool) -> None:
    if key == "volume-driver" and value in {"", "local"}:
        return
    if key == "consistency":  # of docker's on a Mac
        return
    if key in _NOT_YET:
        raise InvalidInputError(f"--mount {item!r}: {key} {value} is not there yet")
    field = _MOUNT_KEYS.get(key)
    if field is None:
        raise InvalidInputError(f"--mount {item!r}: unexpected key {key!r}")
    if is_bare and key not in _SWITCHES:
        raise InvalidInputError(f"--mount {item!r}: invalid field {key!r} must be a key=value pair")
    if field == "labels":
        name, _, text = value.partition("=")
        found.setdefault("labels", {})[name] = text
    elif field == "tmpfs_options":
        found.setdefault(field, []).append(_tmpfs_option(key, value))
    elif key == "bind-recursive":
        found[field] = _recursive(item, value)
    elif key in _SWITCHES:
        found[field] = _switch(item, key, value) is not (field == "recursive")
    else:
        found[field] = value


def _switch(item: str, key: str, value: str) -> bool:
    chosen = _YES.get(value.lower())
    if chosen is None:
        raise InvalidInputError(f"--mount {item!r}: invalid value for {key}: {value!r}")
    return chosen


def _recursive(item: str, value: str) -> bool:
    if value not in {"enabled", "disabled"}:
        raise InvalidInputError(f"--mount {item!r}: bind-recursive is enabled or disabled")
    return value == "enabled"


def _tmpfs_option(key: str, value: str) -> str:
    if key == "tmpfs-size":
        return f"size={parse_size(value, '--mount tmpfs-size')}"
    return f"mode={value}"


def tmpfs(items: list[str]) -> dict[str, str]:
    return {where: how for where, _, how in (item.partition(":") for item in items)}


def devices(items: list[str]) -> list[dict[str, str]]:
    """``HOST[:CONTAINER[:ACCESS]]``, or ``HOST:ACCESS``."""
    return [_device(item) for item in items]


def _device(item: str) -> dict[str, str]:
    parts = item.split(":")
    if len(parts) > 3 or not parts[0]:  # noqa: PLR2004 - host, container, access
        raise InvalidInputError(f"--device {item!r} must be HOST[:CONTAINER[:rwm]]")
    if len(parts) == 2 and not set(parts[1]) - set("rwm"):  # noqa: PLR2004
        parts.insert(1, "")
    host, inside, access = (*parts, "", "")[:3]
    return {
        "path_on_host": os.path.abspath(host),
        "path_in_container": inside or host,
        "access": access or "rwm",
    }


def ulimits(items: list[str]) -> list[dict[str, Any]]:
    """The last of a name counts."""
    found = [_ulimit(item) for item in items]
    return list({u["name"]: u for u in found}.values())


def _ulimit(item: str) -> dict[str, Any]:
    name, separator, limit = item.partition("=")
    soft, both, hard = limit.partition(":")
    try:
        if not separator or not name or "_" in limit:
            raise ValueError
        return {"name": name, "soft": int(soft), "hard": int(hard if both else soft)}
    except ValueError:
        raise InvalidInputError(f"invalid ulimit argument: {item!r}; NAME=SOFT[:HARD]") from None


def health(given: dict[str, str], *, disabled: bool) -> dict[str, Any]:
    """Of the ``--health-`` flags. 0 is docker's for: as the image says."""
    if disabled and given:
        raise InvalidInputError("--no-healthcheck conflicts with --health-* options")
    found: dict[str, Any] = {"test": ["NONE"]} if disabled else {}
    for field, text in given.items():
        name = field.removeprefix("health_")
        flag = f"--{field.replace('_', '-')}"
        if name == "cmd":
            found["test"] = ["CMD-SHELL", text] if text else []
        elif name == "retries":
            found["retries"] = _retries(text) or None
        else:
            found[f"{name}_ns"] = round(parse_duration(text, flag) * 1e9) or None
    return found


def _retries(text: str) -> int:
    if not text.isdecimal():
        raise InvalidInputError(f"--health-retries {text!r} must be a number")
    return int(text)


def sysctls(items: list[str]) -> dict[str, str]:
    found = {}
    for item in items:
        name, separator, value = item.partition("=")
        if not separator or not name:
            raise InvalidInputError(f"--sysctl {item!r} must be NAME=VALUE")
        found[name] = value
    return found


def root_limit_bytes(items: list[str]) -> int:
    """Docker's ``--storage-opt``, of which the size is known."""
    sizes = []
    for item in items:
        name, _, value = item.partition("=")
        if name != "size":
            raise InvalidInputError(f"--storage-opt {item!r}: only size=SIZE is known")
        sizes.append(parse_size(value, "--storage-opt size"))
    return sizes[-1]


def security_opt(items: list[str]) -> list[str]:
    """With the text of a seccomp profile in place of its file's name."""
    return [_security(item) for item in items]


def _security(item: str) -> str:
    name, _, value = item.partition("=")
    if name != "seccomp" or value in {"unconfined", "builtin"}:
        return item
    return "seccomp=" + _text(value, "--security-opt seccomp")


def lines(files: list[str], what: str) -> list[str]:
    """Of ``--env-file`` and ``--label-file``: blank lines and comments left out.

    A name of a variable alone takes the value from our own environment, if it has one.
    """
    found = []
    for path in files:
        for number, line in enumerate(_text(path, f"--{what}-file").split("\n"), 1):
            text = line.removesuffix("\r").lstrip(_BLANKS)
            if not text or text.startswith("#"):
                continue
            name, separator, _ = text.partition("=")
            if not name or any(c in _BLANKS for c in name):
                raise InvalidInputError(
                    f"--{what}-file {path} line {number}: {name!r} is not a name"
                )
            if separator or what == "label":
                found.append(text)
            elif name in os.environ:
                found.append(f"{name}={os.environ[name]}")
    return found


def _text(path: str, flag: str) -> str:
    try:
        with open(path, encoding="utf-8-sig", newline="") as f:
            return f.read()
    except OSError as e:
        raise InvalidInputError(f"{flag} {path}: {str(e.strerror).lower()}") from None
    except UnicodeDecodeError:
        raise InvalidInputError(f"{flag} {path}: it is not UTF-8 text") from None
