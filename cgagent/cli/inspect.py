"""``inspect``: everything about containers, in the shape that docker inspect gives it."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any, Final

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
    state, options = detail["state"], detail["options"]
    status = {"frozen": "paused"}.get(state["status"], state["status"])
    return {
        "Id": detail["id"],
        "Created": show_time(detail["created_ns"]),
        "Path": options["args"][0],
        "Args": options["args"][1:],
        "State": {
            "Status": status,
            "Running": status in {"running", "paused", "restarting"},
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
        "LogPath": detail["log_path"] if options["log"]["driver"] == "json-file" else "",
        "Config": {
            "Hostname": options["hostname"],
            "Domainname": options["domainname"],
            "User": options["user"],
            "Env": options["env"],
            "Cmd": options["args"],
            "Image": options["image"],
            "WorkingDir": options["working_dir"],
            "OpenStdin": options["stdin"],
            "StdinOnce": options["stdin_once"],
            "Tty": options["tty"],
            "Labels": options["labels"],
            "StopSignal": options["stop_signal"],
            "StopTimeout": options["stop_timeout_s"],
            **_health_check(options["health"]),
        },
        "HostConfig": _host_config(options),
        "Mounts": [_mount(m) for m in detail["mounts"]],
        **_size(detail),
        "CgroupPath": detail["cgroup_path"],
        "Limits": detail["limits"],
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


def _host_config(options: dict[str, Any]) -> dict[str, Any]:
    confined, shared, lookup = (options[k] for k in ("confinement", "namespaces", "lookup"))
    tmpfs = [m for m in options["mounts"] if m["type"] == "tmpfs"]
    return {
        "RestartPolicy": {
            "Name": options["restart"]["name"],
            "MaximumRetryCount": options["restart"]["max_retries"],
        },
        "LogConfig": {"Type": options["log"]["driver"], "Config": options["log"]["options"]},
        "NetworkMode": options["network"],
        "Annotations": options["annotations"],
        "AutoRemove": options["auto_remove"],
        "ReadonlyRootfs": options["read_only"],
        "Init": options["init"],
        "Runtime": options["runtime"] or "native",
        "Binds": [_bind(m) for m in options["mounts"] if m["type"] != "tmpfs"],
        "Tmpfs": {m["destination"]: ",".join(m["tmpfs_options"]) for m in tmpfs},
        "ShmSize": options["shm_size_bytes"] or _SHM_SIZE_BYTES,
        "UsernsMode": shared["user"],
        "Privileged": confined["privileged"],
        "CapAdd": confined["cap_add"],
        "CapDrop": confined["cap_drop"],
        "SecurityOpt": confined["security_opt"],
        "Devices": [
            {
                "PathOnHost": d["path_on_host"],
                "PathInContainer": d["path_in_container"],
                "CgroupPermissions": d["access"],
            }
            for d in confined["devices"]
        ],
        "DeviceCgroupRules": confined["device_cgroup_rules"],
        "Ulimits": [
            {"Name": u["name"], "Soft": u["soft"], "Hard": u["hard"]} for u in confined["ulimits"]
        ],
        "Sysctls": confined["sysctls"],
        "GroupAdd": confined["group_add"],
        "OomScoreAdj": confined["oom_score_adj"] or 0,
        "PidMode": shared["pid"],
        "IpcMode": shared["ipc"],
        "UTSMode": shared["uts"],
        "CgroupParent": options["cgroup_parent"],
        "CgroupnsMode": shared["cgroup"],
        "ExtraHosts": lookup["extra_hosts"],
        "Dns": lookup["dns"],
        "DnsSearch": lookup["dns_search"],
        "DnsOptions": lookup["dns_options"],
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
