"""The contents of a container's /etc/hosts and /etc/resolv.conf."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

Mode = Literal["none", "host"]


def hosts(mode: Mode, hostname: str) -> str:
    """The host's own file where the network is the host's."""
    if mode == "host":
        return _read("/etc/hosts")
    return (
        f"127.0.0.1\tlocalhost\n::1\tlocalhost ip6-localhost ip6-loopback\n127.0.1.1\t{hostname}\n"
    )


def resolv_conf(mode: Mode) -> str:
    """Without a network there is nobody to ask."""
    return _read("/etc/resolv.conf") if mode == "host" else ""


def _read(path: str) -> str:
    try:
        return Path(path).read_text(errors="replace")
    except FileNotFoundError:
        return ""
