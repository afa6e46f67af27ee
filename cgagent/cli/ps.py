"""``ps``: the containers, as a table or in a form of one's own."""

from __future__ import annotations

import re
import time
from typing import TYPE_CHECKING, Any, Final

from cgagent.cli import statuses
from cgagent.cli.agent import connect
from cgagent.cli.client import query
from cgagent.cli.filters import add_filter, add_table_format, has_label
from cgagent.cli.formats import print_listed
from cgagent.cli.inspect import show_time
from cgagent.cli.output import short_id
from cgagent.cli.units import show_age, show_size
from cgagent.errors import InvalidInputError
from cgagent.standard import printable

if TYPE_CHECKING:
    from collections.abc import Callable

    from cgagent.cli.flags import Namespace
    from cgagent.cli.main import Context

    Item = dict[str, Any]
    Holds = Callable[[Item], bool]

_HEADINGS: Final = {
    "ID": "CONTAINER ID",
    "Image": "IMAGE",
    "Command": "COMMAND",
    "RunningFor": "CREATED",
    "Status": "STATUS",
    "Names": "NAMES",
}
_STATUSES: Final = frozenset({"created", "restarting", "running", "paused", "exited", "frozen"})
_FILTERS: Final = (
    *("id", "name", "label", "status", "exited", "ancestor", "before", "since", "health"),
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
    chosen = [item.partition("=")[::2] for item in args.filter]
    every = args.all or last > 0 or any(name in {"status", "exited"} for name, _ in chosen)
    size = not args.quiet and (args.size or ".Size" in args.format)
    asked = query(all=every or bool(chosen), size=size or None)
    found = connect(context).request("GET", f"/v1/containers{asked}")
    shown = _chosen(found, chosen, every=every)
    _print(shown[:last] if last > 0 else shown, args)
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
    command = " ".join(item["args"])
    if trim and len(command) > 20:  # noqa: PLR2004 - as docker ps
        command = command[:19] + "…"
    state = item["state"]["status"]
    return {
        "ID": short_id(item["id"]) if trim else item["id"],
        "Image": item["image"],
        "Command": f'"{printable(command)}"',
        "CreatedAt": show_time(item["created_ns"]),
        "RunningFor": f"{show_age(time.time() - item['created_ns'] / 1e9)} ago",
        "Status": status(item["state"]),
        "State": statuses.to_docker(state),
        "Names": item["name"],
        "Labels": ",".join(f"{key}={value}" for key, value in item["labels"].items()),
        "Label": item["labels"],
        "Ports": "",
        **_size(item),
    }


def _size(item: Item) -> dict[str, str]:
    if "size_rw_bytes" not in item:
        return {}
    written, whole = item["size_rw_bytes"], item["size_root_fs_bytes"]
    if written is None:  # adopted, or too much to be walked in the time there is
        return {"Size": "--"}
    return {"Size": f"{show_size(written)} (virtual {show_size(whole)})"}


# -- filters --------------------------------------------------------------------------------------


def _chosen(found: list[Item], filters: list[tuple[str, str]], *, every: bool) -> list[Item]:
    """Docker's rule: of one name any value is enough, but each label; of several each holds."""
    wanted: dict[str, list[Holds]] = {}
    for number, (name, value) in enumerate(filters):
        key = f"label {number}" if name == "label" else name
        wanted.setdefault(key, []).append(_filter(name, value, found))
    up = statuses.UP
    return [
        item
        for item in found
        if (every or item["state"]["status"] in up)
        and all(any(holds(item) for holds in one) for one in wanted.values())
    ]


def _filter(name: str, value: str, found: list[Item]) -> Holds:
    simple: dict[str, Callable[[Item], bool]] = {
        "id": lambda c: c["id"].startswith(value),
        "name": lambda c: _matches(value, c["name"]),
        "label": lambda c: has_label(c["labels"], value),
        "exited": lambda c: str(c["state"]["exit_code"]) == value and not _is_up(c),
        "ancestor": lambda c: _is_of(c, value),
        "health": lambda c: (c["state"].get("health") or {"status": "none"})["status"] == value,
    }
    if name == "status":
        if value not in _STATUSES:
            raise InvalidInputError(f"--filter status={value}: {', '.join(sorted(_STATUSES))}")
        meant = statuses.from_docker(value)
        return lambda c: c["state"]["status"] == meant
    if name in {"before", "since"}:
        made = _named(value, found)["created_ns"]
        return lambda c: c["created_ns"] < made if name == "before" else c["created_ns"] > made
    if name not in simple:
        raise InvalidInputError(f"--filter {name}={value}: there are {', '.join(_FILTERS)}")
    return simple[name]


def _is_up(item: Item) -> bool:
    return item["state"]["status"] in statuses.RUNNING


def _matches(pattern: str, name: str) -> bool:
    try:
        return re.search(pattern.removeprefix("/").replace("^/", "^"), name) is not None
    except re.error:
        return pattern in name


def _is_of(item: Item, image: str) -> bool:
    names = {item["image"], item["image"].partition(":")[0]}
    digest = item["image_id"].removeprefix("sha256:")
    return image in names or (len(image) > 3 and digest.startswith(image.removeprefix("sha256:")))  # noqa: PLR2004 - no short word is an id


def _named(reference: str, found: list[Item]) -> Item:
    for item in found:
        if item["name"] == reference or item["id"].startswith(reference):
            return item
    raise InvalidInputError(f"--filter: there is no container {reference!r}")


# -- the column STATUS ----------------------------------------------------------------------------


def status(state: dict[str, Any]) -> str:
    """As docker ps has it, and ``(Frozen)``."""
    now = time.time()
    if state["status"] in statuses.RUNNING:
        frozen = " (Frozen)" if state["status"] == "frozen" else ""
        age = show_age(now - state["started_ns"] / 1e9)
        return f"Up {age}{frozen}{_health(state.get('health'))}"
    if state["status"] in {"exited", "restarting"}:
        ended = show_age(now - (state["finished_ns"] or 0) / 1e9)
        oom = ", OOM killed" if state["oom_killed"] else ""
        code = "?" if state["exit_code"] is None else state["exit_code"]
        word = "Exited" if state["status"] == "exited" else "Restarting"
        return f"{word} ({code}{oom}) {ended} ago"
    return "Created"


def _health(health: dict[str, Any] | None) -> str:
    """Docker's words."""
    if health is None:
        return ""
    return " (health: starting)" if health["status"] == "starting" else f" ({health['status']})"
