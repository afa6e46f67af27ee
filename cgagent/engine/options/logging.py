"""``--log-driver`` and ``--log-opt``: what they may be."""

from __future__ import annotations

import os
import re
from dataclasses import dataclass, field
from typing import Final

from cgagent.errors import InvalidInputError, UnavailableError, UnsupportedError
from cgagent.runtime.logs.journald import JOURNAL_SOCKET

JSON_FILE: Final = "json-file"
JOURNALD: Final = "journald"
NONE: Final = "none"
_ANY: Final = frozenset(
    {"tag", "labels", "labels-regex", "env", "env-regex", "mode", "max-buffer-size"}
)
_OPTIONS: Final = {
    JSON_FILE: frozenset({"max-size", "max-file", "compress"}) | _ANY,
    JOURNALD: _ANY,
    NONE: frozenset[str](),
}
DRIVERS: Final = tuple(_OPTIONS)
_TRUE: Final = frozenset({"1", "t", "T", "TRUE", "true", "True"})
_FALSE: Final = frozenset({"0", "f", "F", "FALSE", "false", "False"})
_SIZE: Final = re.compile(r"(\d+(?:\.\d+)?) ?([kmgtp]?)b?", re.IGNORECASE)
_FACTORS: Final = {"": 1, "k": 10**3, "m": 10**6, "g": 10**9, "t": 10**12, "p": 10**15}
_TAG_FIELD: Final = re.compile(r"{{\s*\.(\w+)\s*}}")


@dataclass(frozen=True, slots=True)
class LogConfig:
    """Where a container's output is kept. Options as docker spells them."""

    driver: str = ""
    """Empty: the agent's setting, or json-file."""
    options: dict[str, str] = field(default_factory=dict)

    @classmethod
    def parse(cls, driver: str, items: tuple[str, ...]) -> LogConfig:
        """Of settings: a driver and ``KEY=VALUE`` each. Raises InvalidInputError."""
        pairs = [item.partition("=") for item in items]
        return checked(cls(driver, {key: value for key, _, value in pairs}), None)

    def require_readable(self) -> None:
        """Raises UnsupportedError: nothing that could be shown is kept."""
        if self.driver == JSON_FILE:
            return
        hint = "; see journalctl CONTAINER_NAME=NAME" if self.driver == JOURNALD else ""
        raise UnsupportedError(
            f"configured logging driver does not support reading ({self.driver}){hint}"
        )


def checked(asked: LogConfig | None, default: LogConfig | None) -> LogConfig:
    """What was asked for, the rest from the default; a default's options go with its driver.

    Raises:
        InvalidInputError: an unknown driver or option, or a bad value.
    """
    base = default or LogConfig()
    config = asked or base
    usual = base.driver or JSON_FILE
    if config.driver in {"", usual}:
        config = LogConfig(usual, {**base.options, **config.options})
    known = _OPTIONS.get(config.driver)
    if known is None:
        raise InvalidInputError(
            f"log driver {config.driver!r} is not known; there are {', '.join(_OPTIONS)}"
        )
    for name in config.options:
        if name not in known:
            raise InvalidInputError(f"unknown log opt {name!r} for {config.driver} log driver")
    if config.driver == JSON_FILE:
        limits(config)
        compresses(config)
    _check_patterns(config.options)
    _check_mode(config.options)
    _check_tag(config.options.get("tag", ""))
    return config


def limits(config: LogConfig) -> dict[str, int | None]:
    """Docker's rules: powers of 1000, one file by default. Raises InvalidInputError."""
    size = config.options.get("max-size")
    files = config.options.get("max-file", "1")
    if not files.isdecimal() or int(files) < 1:
        raise InvalidInputError(f"log opt max-file {files!r}: it cannot be less than 1")
    unlimited = size is None or re.fullmatch(r"-\d+", size.strip())
    return {"max_bytes": None if unlimited else _bytes(size or ""), "max_files": int(files)}


def _bytes(text: str, name: str = "max-size") -> int:
    match = _SIZE.fullmatch(text.strip())
    value = int(float(match[1]) * _FACTORS[match[2].lower()]) if match else 0
    if value <= 0:
        raise InvalidInputError(
            f"log opt {name} {text!r} must be a positive number, with k, m or g after it"
        )
    return value


def compresses(config: LogConfig) -> bool:
    """Whether files that are rotated away are compressed. Raises InvalidInputError."""
    text = config.options.get("compress", "false")
    if text in _FALSE or config.driver != JSON_FILE:
        return False
    if text not in _TRUE:
        raise InvalidInputError(f"log opt compress {text!r} is neither true nor false")
    found = limits(config)
    if found["max_bytes"] is None or found["max_files"] == 1:
        raise InvalidInputError(
            "log opt compress: there is nothing to compress without a max-size and a max-file of "
            "2 or more; give both"
        )
    return True


def _check_patterns(options: dict[str, str]) -> None:
    for name in ("labels-regex", "env-regex"):
        try:
            re.compile(options.get(name, ""))
        except (re.error, OverflowError, RecursionError) as e:
            raise InvalidInputError(
                f"log opt {name} {options[name]!r} is no regular expression: {e}"
            ) from None


def _check_mode(options: dict[str, str]) -> None:
    """Either way a container waits for its log no longer than a write to a file takes."""
    mode = options.get("mode", "blocking")
    if mode not in {"", "blocking", "non-blocking"}:
        raise InvalidInputError(f"log opt mode {mode!r} is neither blocking nor non-blocking")
    if "max-buffer-size" in options:
        if mode != "non-blocking":
            raise InvalidInputError("log opt max-buffer-size needs mode=non-blocking")
        _bytes(options["max-buffer-size"], "max-buffer-size")


def _check_tag(tag: str) -> None:
    for name in _TAG_FIELD.findall(tag):
        if name not in tag_values("", "", ""):
            raise InvalidInputError(
                f"log opt tag {tag!r}: {{{{.{name}}}}} is not known; there are "
                + ", ".join(tag_values("", "", ""))
            )


def tag_values(id_: str, name: str, image: str) -> dict[str, str]:
    return {"ID": id_[:12], "FullID": id_, "Name": name, "ImageName": image}


def require_present(config: LogConfig) -> None:
    """Raises UnavailableError: the log's other end is not there."""
    if config.driver == JOURNALD and not os.path.exists(JOURNAL_SOCKET):
        raise UnavailableError(
            f"log driver journald: there is no {JOURNAL_SOCKET} on this host; "
            "use another driver or start systemd-journald"
        )
