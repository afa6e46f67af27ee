"""``inspect``: everything about containers, images, volumes or networks, as docker's API has it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from cgagent import standard
from cgagent.cli.agent import connect
from cgagent.cli.formats import print_all
from cgagent.client.http import query, quote
from cgagent.errors import InvalidInputError, NotFoundError

if TYPE_CHECKING:
    from cgagent.cli.main import Context
    from cgagent.client.http import Client

_TYPES: Final = ("container", "image", "volume")


def inspect(context: Context) -> int:
    return _inspect(context, "CONTAINER|IMAGE|VOLUME", "Show all about containers or others.")


def inspect_containers(context: Context) -> int:
    """``container inspect``."""
    return _inspect(context, "CONTAINER", "Show all about containers.", type_="container")


def inspect_images(context: Context) -> int:
    """``image inspect``."""
    return _inspect(context, "IMAGE", "Show all about images.", type_="image")


def _inspect(context: Context, what: str, description: str, type_: str | None = None) -> int:
    parser = context.parser(f"[-f FORMAT] {what} [{what}...]", description)
    add = parser.add_argument
    add("-f", "--format", metavar="FORMAT", help="text with fields, such as {{.State.OOMKilled}}")
    if type_ != "image":
        add("-s", "--size", action="store_true", help="with SizeRw and SizeRootFs")
    if type_ is None:
        add("--type", choices=list(_TYPES), help="what the names are of")
    add("--native", action="store_true", help="as the agent says it, not in docker's shape")
    add("names", nargs="+", metavar=what)
    args = parser.parse_args(context.args)
    types = [type_ or args.type] if type_ or args.type else list(_TYPES)
    client = connect(context)
    asked = query(size=(type_ != "image" and args.size) or None)
    found, code = [], 0
    for name in args.names:
        try:
            found.append(_look_up(client, types, name, asked, native=args.native))
        except NotFoundError as e:
            standard.tell(e.message)
            code = 1
    print_all(found, args.format)
    return code


def _look_up(
    client: Client, types: list[str], name: str, asked: str, *, native: bool
) -> dict[str, Any]:
    """The first thing of that name.

    Raises:
        NotFoundError: there is none.
    """
    missing = None
    for type_ in types:
        with_size = asked if type_ == "container" else ""
        path = f"/v1/{type_}s/{quote(name)}{with_size}"
        try:
            found: dict[str, Any] = client.request("GET", path)
        except NotFoundError as e:
            missing = missing or e
            continue
        except InvalidInputError:
            if type_ != "image" or len(types) == 1:
                raise
            continue  # no image can have such a name
        return found if native else shaped(client, type_, found, with_size)
    raise missing or NotFoundError(f"{name} does not exist")


def shaped(client: Client, type_: str, native: dict[str, Any], asked: str = "") -> dict[str, Any]:
    """As docker's API has it, and a few things of our own."""
    path = _DOCKERS[type_].format(quote(native["name" if type_ == "volume" else "id"]))
    found: dict[str, Any] = client.request("GET", path + asked)
    return {**found, **_OWN[type_](native, found)}


def _of_container(native: dict[str, Any], found: dict[str, Any]) -> dict[str, Any]:
    for place in native["networks"]:
        shown = found["NetworkSettings"]["Networks"].get(place["network"], {})
        shown["HostInterface"] = place["host_interface"] or ""
    return {
        "State": {**found["State"], "OOM": native["state"]["oom"]},
        "CgroupPath": native["cgroup_path"],
        "Group": native["group"],
        "FrozenBy": native["frozen_by"],
        "Limits": native["limits"],
        "LimitsOverrides": native["overrides"],
        "LimitsHeld": native["limits_held"],
        "LimitsDrift": native["drift"],
        "Budgets": native["budgets"],
        "Sizes": native["sizes"],
    }


def _of_image(native: dict[str, Any], _found: dict[str, Any]) -> dict[str, Any]:
    return {"Manifest": native["manifest"]}


def _of_volume(native: dict[str, Any], _found: dict[str, Any]) -> dict[str, Any]:
    return {"Anonymous": native["anonymous"], "Containers": native["containers"]}


def _of_network(native: dict[str, Any], _found: dict[str, Any]) -> dict[str, Any]:
    return {"Interface": native["interface"]}


_DOCKERS: Final = {
    "container": "/containers/{}/json",
    "image": "/images/{}/json",
    "volume": "/volumes/{}",
    "network": "/networks/{}",
}
_OWN: Final = {
    "container": _of_container,
    "image": _of_image,
    "volume": _of_volume,
    "network": _of_network,
}
