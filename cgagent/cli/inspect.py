"""``inspect``: everything about containers, in the shape that docker inspect gives it."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any, Final

from cgagent.cli import statuses
from cgagent.cli.agent import connect
from cgagent.cli.client import query, quote
from cgagent.cli.formats import print_all

if TYPE_CHECKING:
    from cgagent.cli.main import Context

_SHM_SIZE_BYTES: Final = 64 * 1024 * 1024  # when nothing was asked for


def inspect(context: Context) -> int:
    parser = context.parser("[-f FORMAT] CONTAINER [CONTAINER...]", "Show all about containers.")
    parser.add_argument(
        "-f", "--format", metavar="FORMAT", help="text with fields, such as {{.State.OOMKilled}}"
    )
    parser.add_argument("-s", "--size", action="store_true", help="with SizeRw and SizeRootFs")
    parser.add_argument("containers", nargs="+", metavar="CONTAINER")
    args = parser.parse_args(context.args)
    client = connect(context)
    asked = query(size=args.size or None)
    paths = [f"/v1/containers/{quote(c)}{asked}" for c in args.containers]
    found = [shape(client.request("GET", path)) for path in paths]
    print_all(found, args.format)
    return 0


def show_time(nanoseconds: int | None) -> str:
    seconds, rest = divmod(nanoseconds or 0, 1_000_000_000)
    if not nanoseconds:
        return "0001-01-01T00:00:00Z"  # Docker's for never
    return f"{time.strftime('%Y-%m-%dT%H:%M:%S', time.gmtime(seconds))}.{rest:09d}Z"


def shape(detail: dict[str, Any]) -> dict[str, Any]:
    """The agent's answer under Docker's names, and two objects of our own."""
    state, config, resolved = (detail[k] for k in ("state", "config", "resolved"))
    status = statuses.to_docker(state["status"])
    return {
        "Id": detail["id"],
        "Created": show_time(detail["created_ns"]),
        "Path": resolved["args"][0],
        "Args": resolved["args"][1:],
        "State": {
            "Status": status,
            "Running": state["status"] in statuses.UP,
            "Paused": status == "paused",
            "Restarting": status == "restarting",
            "OOMKilled": state["oom_killed"],
            "OOM": state["oom"],
            "Pid": state["pid"] or 0,
            "ExitCode": state["exit_code"] or 0,
            "Error": state["error"] or "",
            "StartedAt": show_time(state["started_ns"]),
            "FinishedAt": show_time(state["finished_ns"]),
            **_health(state["health"]),
        },
        "Image": detail["image_id"],
        "Name": detail["name"],
        "RestartCount": detail["restart_count"],
        "LogPath": detail["log_path"] if resolved["log"]["driver"] == "json-file" else "",
        "Config": {
            "Hostname": resolved["hostname"],
            "Domainname": config["domainname"],
            "User": resolved["user"],
            "Env": resolved["env"],
            "Cmd": resolved["args"],
            "Image": config["image"],
            "WorkingDir": resolved["working_dir"],
            "OpenStdin": config["stdin"],
            "StdinOnce": config["stdin_once"],
            "Tty": config["tty"],
            "Labels": resolved["labels"],
            "StopSignal": resolved["stop_signal"],
            "StopTimeout": config["stop_timeout_s"],
            **_health_check(resolved["health"]),
        },
        "HostConfig": _host_config(config, resolved),
        "Mounts": [_mount(m) for m in detail["mounts"]],
        **_size(detail),
        "CgroupPath": detail["cgroup_path"],
        "Limits": detail["limits"],
        "LimitsOverrides": detail["overrides"],
        "LimitsHeld": detail["limits_held"],
        "LimitsDrift": detail["drift"],
    }


def _size(detail: dict[str, Any]) -> dict[str, Any]:
    if "size_rw_bytes" not in detail:
        return {}
    return {"SizeRw": detail["size_rw_bytes"], "SizeRootFs": detail["size_root_fs_bytes"]}


def _health(health: dict[str, Any] | None) -> dict[str, Any]:
    if health is None:
        return {}
    results = [
        {
            "Start": show_time(result["started_ns"]),
            "End": show_time(result["ended_ns"]),
            "ExitCode": result["exit_code"],
            "Output": result["output"],
        }
        for result in health["log"]
    ]
    streak = health["failing_streak"]
    return {"Health": {"Status": health["status"], "FailingStreak": streak, "Log": results}}


def _health_check(check: dict[str, Any] | None) -> dict[str, Any]:
    if check is None:
        return {}
    return {
        "Healthcheck": {
            "Test": check["test"],
            "Interval": check["interval_ns"],
            "Timeout": check["timeout_ns"],
            "StartPeriod": check["start_period_ns"],
            "StartInterval": check["start_interval_ns"],
            "Retries": check["retries"],
        }
    }


def _host_config(config: dict[str, Any], resolved: dict[str, Any]) -> dict[str, Any]:
    shared, mounts = resolved["namespaces"], resolved["mounts"]
    tmpfs = [m for m in mounts if m["type"] == "tmpfs"]
    return {
        "RestartPolicy": {
            "Name": config["restart"]["name"],
            "MaximumRetryCount": config["restart"]["max_retries"],
        },
        "LogConfig": {"Type": resolved["log"]["driver"], "Config": resolved["log"]["options"]},
        "NetworkMode": config["network"],
        "Annotations": config["annotations"],
        "AutoRemove": config["auto_remove"],
        "ReadonlyRootfs": config["read_only"],
        "Init": config["init"],
        "Runtime": resolved["runtime"] or "native",
        "Binds": [_bind(m) for m in mounts if m["type"] != "tmpfs"],
        "Tmpfs": {m["destination"]: ",".join(m["tmpfs_options"]) for m in tmpfs},
        "ShmSize": config["shm_size_bytes"] or _SHM_SIZE_BYTES,
        "UsernsMode": shared["user"],
        "Privileged": config["privileged"],
        "CapAdd": config["cap_add"],
        "CapDrop": config["cap_drop"],
        "SecurityOpt": config["security_opt"],
        "Devices": [
            {
                "PathOnHost": d["path_on_host"],
                "PathInContainer": d["path_in_container"],
                "CgroupPermissions": d["access"],
            }
            for d in config["devices"]
        ],
        "DeviceCgroupRules": config["device_cgroup_rules"],
        "Ulimits": [
            {"Name": u["name"], "Soft": u["soft"], "Hard": u["hard"]} for u in config["ulimits"]
        ],
        "Sysctls": config["sysctls"],
        "GroupAdd": config["group_add"],
        "OomScoreAdj": config["oom_score_adj"] or 0,
        "PidMode": shared["pid"],
        "IpcMode": shared["ipc"],
        "UTSMode": shared["uts"],
        "CgroupParent": resolved["cgroup_parent"],
        "CgroupnsMode": shared["cgroup"],
        "ExtraHosts": config["extra_hosts"],
        "Dns": config["dns"],
        "DnsSearch": config["dns_search"],
        "DnsOptions": config["dns_options"],
    }


def _bind(m: dict[str, Any]) -> str:
    options = [
        *(["ro"] if m["read_only"] else []),
        *([m["propagation"]] if m["propagation"] else []),
        *(["nocopy"] if m["no_copy"] else []),
    ]
    return ":".join((m["source"], m["destination"], *([",".join(options)] if options else [])))


def _mount(m: dict[str, Any]) -> dict[str, Any]:
    named = {"Name": m["source"], "Driver": "local"} if m["type"] == "volume" else {}
    return {
        "Type": m["type"],
        **named,
        "Source": m["mountpoint"],
        "Destination": m["destination"],
        "RW": not m["read_only"],
        "Propagation": m["propagation"] or ("rprivate" if m["type"] == "bind" else ""),
    }
