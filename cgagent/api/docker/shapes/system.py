"""What the agent says of itself and its host under docker's names."""

from __future__ import annotations

import hashlib
import os
import platform
import shutil
import socket
import uuid
from datetime import UTC, datetime
from functools import cache
from typing import TYPE_CHECKING, Any, Final

from cgagent import __version__
from cgagent.api.docker import versions

if TYPE_CHECKING:
    from cgagent.engine.engine import Engine

_ARCHITECTURES: Final = {"x86_64": "amd64", "aarch64": "arm64", "i686": "386", "armv7l": "arm"}
_INDEX: Final = "https://index.docker.io/v1/"


def version() -> dict[str, Any]:
    kernel = os.uname()
    about = {
        "ApiVersion": versions.text(versions.NEWEST),
        "Arch": _ARCHITECTURES.get(kernel.machine, kernel.machine),
        "BuildTime": "",
        "Experimental": "false",
        "GitCommit": "",
        "GoVersion": "",
        "KernelVersion": kernel.release,
        "MinAPIVersion": versions.text(versions.OLDEST),
        "Os": "linux",
    }
    return {
        "Platform": {"Name": "cgagent"},
        "Components": [{"Name": "Engine", "Version": __version__, "Details": about}],
        "Version": __version__,
        **about,
        "Experimental": False,
    }


def info(engine: Engine) -> dict[str, Any]:
    found = engine.info()
    counts = found["containers"]
    paused = sum(container.frozen for container in engine.containers)
    controllers = found["controllers"]
    return {
        "ID": _host_id(),
        "Containers": len(engine.containers),
        "ContainersRunning": counts["running"] - paused,
        "ContainersPaused": paused,
        "ContainersStopped": len(engine.containers) - counts["running"],
        "Images": found["images"],
        "Driver": found["storage_driver"],
        "DriverStatus": [["Chosen", found["storage_driver_reason"]]],
        "DockerRootDir": found["data_root"],
        "Plugins": {
            "Volume": ["local"],
            "Network": ["bridge", "host", "ipvlan", "macvlan", "null"],
            "Authorization": [],
            "Log": ["journald", "json-file", "none"],
        },
        **_limits(controllers),
        "IPv4Forwarding": _reads_one("/proc/sys/net/ipv4/ip_forward"),
        "Debug": False,
        "NFd": len(os.listdir("/proc/self/fd")),
        "OomKillDisable": controllers.get("memory") == "v1",
        "NGoroutines": 1,
        "SystemTime": datetime.fromtimestamp(found["time"], UTC).isoformat().replace("+00:00", "Z"),
        "LoggingDriver": engine.settings.log_driver or "json-file",
        "CgroupDriver": "cgroupfs",
        "CgroupVersion": "1" if controllers.get("memory") == "v1" else "2",
        "NEventsListener": engine.events.listeners,
        "KernelVersion": found["kernel"],
        "OperatingSystem": _release().get("PRETTY_NAME", "Linux"),
        "OSVersion": _release().get("VERSION_ID", ""),
        "OSType": "linux",
        "Architecture": found["machine"],
        "IndexServerAddress": _INDEX,
        "RegistryConfig": _registries(),
        "NCPU": found["cpus"],
        "MemTotal": found["memory_bytes"],
        "GenericResources": [],
        "HttpProxy": os.environ.get("HTTP_PROXY", ""),
        "HttpsProxy": os.environ.get("HTTPS_PROXY", ""),
        "NoProxy": os.environ.get("NO_PROXY", ""),
        "Name": socket.gethostname(),
        "Labels": [],
        "ExperimentalBuild": False,
        "ServerVersion": __version__,
        "Runtimes": {
            "native": {"path": "cgagent"},
            "runc": {"path": shutil.which("runc") or "cgagent"},
            **{n: {"path": words[0]} for n, words in engine.settings.runtimes.items()},
        },
        "DefaultRuntime": engine.settings.default_runtime,
        "Swarm": {
            "NodeID": "",
            "NodeAddr": "",
            "LocalNodeState": "inactive",
            "ControlAvailable": False,
            "Error": "",
            "RemoteManagers": [],
        },
        "LiveRestoreEnabled": True,
        "Isolation": "",
        "InitBinary": "tini",
        "ContainerdCommit": {"ID": ""},
        "RuncCommit": {"ID": ""},
        "InitCommit": {"ID": ""},
        "SecurityOptions": ["name=seccomp,profile=builtin"],
        "ProductLicense": "",
        "DefaultAddressPools": list(map(_pool, engine.settings.address_pools)),
        "FirewallBackend": {"Driver": "nftables"},
        "CDISpecDirs": [],
        "Warnings": [],
    }


def _limits(controllers: dict[str, str]) -> dict[str, bool]:
    return {
        "MemoryLimit": "memory" in controllers,
        "SwapLimit": "memory" in controllers,
        "CpuCfsPeriod": "cpu" in controllers,
        "CpuCfsQuota": "cpu" in controllers,
        "CPUShares": "cpu" in controllers,
        "CPUSet": "cpuset" in controllers,
        "PidsLimit": "pids" in controllers,
    }


def _registries() -> dict[str, Any]:
    official = {"Name": "docker.io", "Mirrors": [], "Secure": True, "Official": True}
    return {
        "InsecureRegistryCIDRs": ["127.0.0.0/8"],
        "IndexConfigs": {"docker.io": official},
        "Mirrors": [],
    }


def _pool(text: str) -> dict[str, Any]:
    """Of ``BASE/PREFIX:PREFIX``."""
    base, _, size = text.rpartition(":")
    return {"Base": base, "Size": int(size)}


def _reads_one(path: str) -> bool:
    try:
        with open(path, encoding="ascii") as file:
            return file.read().strip() == "1"
    except OSError:
        return False


@cache
def _release() -> dict[str, str]:
    try:
        return platform.freedesktop_os_release()
    except OSError:
        return {}


@cache
def _host_id() -> str:
    """An id made of the machine's own, which is nobody's business; clients only compare it."""
    try:
        with open("/etc/machine-id", encoding="ascii") as file:
            own = file.read().strip()
    except OSError:
        own = socket.gethostname()
    return str(uuid.UUID(hashlib.sha256(f"cgagent {own}".encode()).hexdigest()[:32]))
