"""Values of the flags about networks and ports: ``--network``, ``--publish`` and those beside them.

Loaded only where one was given. Whether a network is there is for the agent to say.
"""

from __future__ import annotations

import csv
import sys

from cgagent.errors import InvalidInputError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, Final

    from cgagent.cli.flags import Namespace

_DISCARDED: Final = "WARNING: Published ports are discarded when using host network mode"
_KEYS: Final = {
    "name": "network",
    "alias": "aliases",
    "ip": "address",
    "ip6": "address6",
    "link-local-ip": "link_local",
    "mac-address": "mac",
    "gw-priority": "gateway_priority",
    "driver-opt": "driver_options",
}
_OF_THE_FIRST: Final = {  # flag, the endpoint's field
    "network_alias": "aliases",
    "link": "links",
    "ip": "address",
    "ip6": "address6",
    "link_local_ip": "link_local",
    "mac_address": "mac",
}


def request(args: Namespace) -> dict[str, Any]:
    """The fields of a request that the flags fill.

    Raises:
        InvalidInputError: a value of a form that is none.
    """
    found = {
        "networks": networks(args),
        "ports": [port for item in args.publish for port in ports(item)],
        "publish_all": args.publish_all,
        "exposed_ports": args.expose,
    }
    if found["ports"] and any(n["network"] == "host" for n in found["networks"]):
        print(_DISCARDED, file=sys.stderr)
    return {name: value for name, value in found.items() if value}


def networks(args: Namespace) -> list[dict[str, Any]]:
    """List an endpoint for each ``--network``; other flags are about the first one."""
    found = [network(item) for item in args.network]
    given = {f: v for flag, f in _OF_THE_FIRST.items() if (v := getattr(args, flag))}
    if given:
        first = found[0] if found else {"network": "bridge"}
        twice = sorted(given.keys() & first.keys())
        if twice:
            raise InvalidInputError(
                f"--network {first['network']}: {twice[0]} is given by a flag of its own, too"
            )
        found[:1] = [{**first, **given}]
    return found


def network(item: str) -> dict[str, Any]:
    """``NAME``, or docker's long form ``name=NAME,alias=...,ip=...``."""
    if "=" not in item:
        return {"network": item}
    found: dict[str, Any] = {}
    for part in next(csv.reader([item]), []):
        key, separator, value = part.partition("=")
        field = _KEYS.get(key.strip().lower())
        if field is None or not separator:
            raise InvalidInputError(
                f"--network {item!r}: {key!r} is not one of {', '.join(_KEYS)}, each with a value"
            )
        _set(found, field, value, item)
    if "network" not in found:
        raise InvalidInputError(f"--network {item!r}: name=NETWORK is missing")
    return found


def _set(found: dict[str, Any], field: str, value: str, item: str) -> None:
    if field in {"aliases", "link_local"}:
        found.setdefault(field, []).append(value)
    elif field == "driver_options":
        name, _, text = value.partition("=")
        found.setdefault(field, {})[name] = text
    elif field == "gateway_priority":
        try:
            found[field] = int(value)
        except ValueError:
            raise InvalidInputError(f"--network {item!r}: gw-priority is a number") from None
    else:
        found[field] = value


def ports(item: str) -> list[dict[str, Any]]:
    """``[[ADDRESS:]HOST[-LAST]:]CONTAINER[-LAST][/PROTOCOL]``, or a line of ``KEY=VALUE``."""
    rest, _, protocol = item.partition("/")
    front, _, inside = rest.rpartition(":")
    address, _, outside = front.rpartition(":")
    if front.startswith("[") and front.endswith("]"):  # an address alone
        address, outside = front, ""
    own = _range(inside, item, "containerPort")
    host = _range(outside, item, "hostPort") if outside else range(0)
    common = {"protocol": protocol.lower() or "tcp", "host_address": address}
    if len(host) not in {0, len(own)} and len(own) > 1:
        raise InvalidInputError(
            f"invalid ranges specified for container and host Ports: {inside} and {outside} "
            f"(--publish {item})"
        )
    if len(host) > 1 and len(own) == 1:  # any of them
        limits = {"host_port": host[0], "host_port_last": host[-1]}
        return [{"container_port": own[0], **common, **limits}]
    return [
        {"container_port": port, "host_port": host[n] if host else 0, **common}
        for n, port in enumerate(own)
    ]


def _range(text: str, item: str, what: str) -> range:
    first, separator, last = text.partition("-")
    numbers = [first, last if separator else first]
    if not all(n.isascii() and n.isdecimal() and len(n) <= 5 for n in numbers):  # noqa: PLR2004
        raise InvalidInputError(
            f"invalid {what}: {text!r}; write [[ADDRESS:]HOST:]CONTAINER[/PROTOCOL] "
            f"(--publish {item})"
        )
    found = range(int(numbers[0]), int(numbers[1]) + 1)
    if not found or len(found) > 1000:  # noqa: PLR2004 - as many as a request takes
        raise InvalidInputError(
            f"invalid {what}: {text!r} is no range of at most 1000 (--publish {item})"
        )
    return found
