"""``inspect``: everything about containers, in the shape that docker inspect gives it."""

from __future__ import annotations

import json
import re
import time
from functools import partial
from typing import TYPE_CHECKING, Any, Final

from cgagent.cli.agent import connect
from cgagent.cli.client import quote
from cgagent.errors import InvalidInputError

if TYPE_CHECKING:
    from cgagent.cli.main import Context

_FIELD: Final = re.compile(r"\{\{\s*(json\s+)?((?:\.\w+)+)\s*\}\}")


def inspect(context: Context) -> int:
    parser = context.parser("[-f FORMAT] CONTAINER [CONTAINER...]", "Show all about containers.")
    parser.add_argument(
        "-f", "--format", metavar="FORMAT", help="text with fields, such as {{.State.OOMKilled}}"
    )
    parser.add_argument("containers", nargs="+", metavar="CONTAINER")
    args = parser.parse_args(context.args)
    client = connect(context)
    found = [shape(client.request("GET", f"/v1/containers/{quote(c)}")) for c in args.containers]
    if args.format:
        for item in found:
            print(_FIELD.sub(partial(_field, item), args.format))
    else:
        print(json.dumps(found, indent=4))
    return 0


def _field(item: dict[str, Any], match: re.Match[str]) -> str:
    value: Any = item
    for name in match[2].split(".")[1:]:
        if not isinstance(value, dict) or name not in value:
            raise InvalidInputError(f"--format: there is no field {match[2]}")
        value = value[name]
    if match[1] or isinstance(value, dict | list):
        return json.dumps(value)
    if isinstance(value, bool):
        return str(value).lower()
    return "" if value is None else str(value)


def _time(nanoseconds: int | None) -> str:
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
        "Created": _time(detail["created_ns"]),
        "Path": options["args"][0],
        "Args": options["args"][1:],
        "State": {
            "Status": status,
            "Running": status in {"running", "paused"},
            "Paused": status == "paused",
            "OOMKilled": state["oom_killed"],
            "OOM": state["oom"],
            "Pid": state["pid"] or 0,
            "ExitCode": state["exit_code"] or 0,
            "Error": state["error"] or "",
            "StartedAt": _time(state["started_ns"]),
            "FinishedAt": _time(state["finished_ns"]),
        },
        "Image": detail["image_id"],
        "Name": detail["name"],
        "LogPath": detail["log_path"],
        "Config": {
            "Hostname": options["hostname"],
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
        },
        "HostConfig": {
            "NetworkMode": options["network"],
            "AutoRemove": options["auto_remove"],
            "ReadonlyRootfs": options["read_only"],
            "Init": options["init"],
            "Binds": [
                f"{v['source']}:{v['destination']}{':ro' if v['read_only'] else ''}"
                for v in options["volumes"]
            ],
        },
        "CgroupPath": detail["cgroup_path"],
        "Limits": detail["limits"],
        "LimitsHeld": detail["limits_held"],
        "LimitsDrift": detail["drift"],
    }
