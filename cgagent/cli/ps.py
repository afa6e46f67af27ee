"""``ps``: the containers, as a table or in a form of one's own."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any, Final

from cgagent.cli import statuses
from cgagent.cli.agent import connect
from cgagent.cli.filters import add_filter, add_table_format
from cgagent.cli.formats import print_listed
from cgagent.cli.output import host_port, short_id
from cgagent.client.http import query, quote
from cgagent.standard import printable
from cgagent.units import show_age, show_command, show_size, show_time

if TYPE_CHECKING:
    from cgagent.cli.flags import Namespace
    from cgagent.cli.main import Context

    Item = dict[str, Any]

_HEADINGS: Final = {
    "ID": "CONTAINER ID",
    "Image": "IMAGE",
    "Command": "COMMAND",
    "RunningFor": "CREATED",
    "Status": "STATUS",
    "Ports": "PORTS",
    "Names": "NAMES",
}
_FILTERS: Final = (
    *("id", "name", "label", "status", "exited", "ancestor", "before", "since", "health"),
    *("network", "volume", "publish", "expose", "annotation", "group"),
)


def ps(context: Context) -> int:
    parser = context.parser("[-alqs] [-n N] [-f FILTER] [--format FORMAT]", "List containers.")
    add = parser.add_argument
    add("-a", "--all", action="store_true", help="those that do not run, too")
    add("-q", "--quiet", action="store_true", help="only ids")
    add("-n", "--last", type=int, default=-1, metavar="N", help="the last N made, in any state")
    add("-l", "--latest", action="store_true", help="as --last 1")
    add("-s", "--size", action="store_true", help="what each has written, and with its image")
    add("--no-trunc", action="store_true", help="whole ids and commands")
    add_filter(parser, _FILTERS)
    add_table_format(parser, "Names")
    args = parser.parse_args(context.args)
    last = 1 if args.latest else args.last
    size = not args.quiet and (args.size or ".Size" in args.format)
    asked = query(all=args.all, last=last if last > 0 else None, size=size or None)
    asked += "".join(f"&filter={quote(item)}" for item in args.filter)
    _print(connect(context).request("GET", f"/v1/containers{asked}"), args)
    return 0


def _print(items: list[Item], args: Namespace) -> None:
    identify = str if args.no_trunc else short_id
    if args.quiet:
        for item in items:
            print(identify(item["id"]))
        return
    headings = {**_HEADINGS, "Size": "SIZE"} if args.size else _HEADINGS
    print_listed([_shape(i, trim=not args.no_trunc) for i in items], args.format, headings)


def _shape(item: Item, *, trim: bool) -> Item:
    """Docker's names. `Label` takes a label's name."""
    command = show_command(item["args"])
    if trim and len(command) > 20:  # noqa: PLR2004 - as docker ps
        command = command[:19] + "…"
    state = item["state"]["status"]
    return {
        "ID": short_id(item["id"]) if trim else item["id"],
        "Image": item["image"],
        "Command": f'"{printable(command)}"',
        "CreatedAt": show_time(item["created_ns"]),
        "RunningFor": f"{show_age(time.time() - item['created_ns'] / 1e9)} ago",
        "Status": status(item["state"], item.get("frozen_by", "")),
        "Group": item.get("group", ""),
        "State": statuses.to_docker(state),
        "Names": item["name"],
        "Labels": ",".join(f"{key}={value}" for key, value in item["labels"].items()),
        "Label": item["labels"],
        "LocalVolumes": str(sum(m["type"] == "volume" for m in item["mounts"])),
        "Mounts": ",".join(_mount(m["source"], trim=trim) for m in item["mounts"] if m["source"]),
        "Networks": ",".join(item["networks"]),
        "Ports": ", ".join(map(_port, item["published_ports"])),
        **_size(item),
    }


def _mount(source: str, *, trim: bool) -> str:
    return f"{source[:14]}…" if trim and len(source) > 15 else source  # noqa: PLR2004 - docker's


def _port(p: Item) -> str:
    return f"{host_port(p)}->{p['container_port']}/{p['protocol']}"


def _size(item: Item) -> dict[str, str]:
    if "size_rw_bytes" not in item:
        return {}
    written, whole = item["size_rw_bytes"], item["size_root_fs_bytes"]
    if written is None:  # adopted, or too much to be walked in the time there is
        return {"Size": "--"}
    return {"Size": f"{show_size(written)} (virtual {show_size(whole)})"}


# -- the column STATUS ----------------------------------------------------------------------------


def status(state: dict[str, Any], frozen_by: str = "") -> str:
    """As docker ps has it, and ``(Frozen)`` or ``(Hibernates)``.

    `frozen_by` is the group of containers that is frozen as a whole, and it with that.
    """
    now = time.time()
    if state["status"] in statuses.RUNNING:
        word = "Hibernates" if state.get("sleep") else "Frozen"
        word = f"Frozen with group {frozen_by}" if frozen_by else word
        frozen = f" ({word})" if state["status"] == "frozen" else ""
        age = show_age(now - state["started_ns"] / 1e9)
        return f"Up {age}{frozen}{_health(state.get('health'))}"
    if state["status"] in {"exited", "restarting"}:
        finished = state["finished_ns"]  # None: its last start has failed
        ended = f" {show_age(now - finished / 1e9)} ago" if finished else ""
        oom = ", OOM killed" if state["oom_killed"] else ""
        code = "?" if state["exit_code"] is None else state["exit_code"]
        word = "Exited" if state["status"] == "exited" else "Restarting"
        return f"{word} ({code}{oom}){ended}"
    return "Created"


def _health(health: dict[str, Any] | None) -> str:
    """Docker's words."""
    if health is None:
        return ""
    return " (health: starting)" if health["status"] == "starting" else f" ({health['status']})"
