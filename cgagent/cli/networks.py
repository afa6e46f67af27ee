"""``network``: make, list, show and remove networks; containers in and out. ``port``."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from cgagent.cli.agent import connect
from cgagent.cli.containers import each
from cgagent.cli.filters import add_filter, add_table_format
from cgagent.cli.formats import print_all, print_listed
from cgagent.cli.inspect import shaped
from cgagent.cli.output import host_port, short_id
from cgagent.cli.verbs import dispatch
from cgagent.client.http import query, quote
from cgagent.errors import InvalidInputError, NotFoundError
from cgagent.units import show_time

if TYPE_CHECKING:
    from cgagent.cli.main import Context

    Item = dict[str, Any]

_VERBS: Final = {
    "create": ("networks", "create"),
    "ls": ("networks", "list_"),
    "list": ("networks", "list_"),
    "inspect": ("networks", "inspect"),
    "rm": ("networks", "remove"),
    "remove": ("networks", "remove"),
    "connect": ("networks", "connect_"),
    "disconnect": ("networks", "disconnect"),
    "prune": ("disk", "prune_networks"),
    "doctor": ("networks", "doctor"),
}
_HEADINGS: Final = {"ID": "NETWORK ID", "Name": "NAME", "Driver": "DRIVER", "Scope": "SCOPE"}
_FILTERS: Final = ("name", "id", "driver", "label", "type", "dangling", "scope")


def network(context: Context) -> int:
    return dispatch(context, _VERBS, "Networks of containers.")


def create(context: Context) -> int:
    parser = context.parser("[flags] NETWORK", "Make a network; print its id.")
    add = parser.add_argument
    add("-d", "--driver", default="bridge", metavar="DRIVER", help="bridge, macvlan, ipvlan")
    lists = (
        ("--subnet", "CIDR", "its addresses; for IPv4 and IPv6 one each"),
        ("--gateway", "ADDRESS", "the host's own in a subnet; the first is usual"),
        ("--ip-range", "CIDR", "the part of a subnet that containers' addresses are from"),
        ("--aux-address", "NAME=ADDRESS", "one that is somebody else's"),
        ("--label", "NAME=VALUE", "label"),
    )
    for flag, metavar, text in lists:
        add(flag, action="append", default=[], metavar=metavar, help=text)
    of_driver = "of the driver: mtu, icc, parent, macvlan_mode, ..."
    add("-o", "--opt", action="append", default=[], metavar="NAME=VALUE", help=of_driver)
    add("--internal", action="store_true", help="no way out of it, and none in")
    add("--ipv6", action="store_true", help="with an IPv6 subnet, too")
    add("--attachable", action="store_true", help="without effect: every network is")
    add("network", metavar="NETWORK")
    args = parser.parse_args(context.args)
    body = {
        "name": args.network,
        "driver": args.driver,
        "subnets": _subnets(args),
        "internal": args.internal,
        "ipv6": args.ipv6,
        "labels": _pairs(args.label),
        "options": _pairs(args.opt),
    }
    print(connect(context).request("POST", "/v1/networks", body)["id"])
    return 0


def _subnets(args: Any) -> list[Item]:
    """The n-th gateway, range and so on belong to the subnet that has their address."""
    import ipaddress

    try:
        subnets = [ipaddress.ip_network(text) for text in args.subnet]
        found: list[Item] = [{"subnet": str(subnet)} for subnet in subnets]

        def of(address: str) -> Item:
            place = ipaddress.ip_network(address)
            for subnet, item in zip(subnets, found, strict=True):
                if subnet.version == place.version and place.subnet_of(subnet):  # type: ignore[arg-type]
                    return item
            raise InvalidInputError(f"no matching subnet for {address}; give one with --subnet")

        for text in args.gateway:
            of(text)["gateway"] = text
        for text in args.ip_range:
            of(text)["ip_range"] = text
        for text in args.aux_address:
            name, separator, address = text.partition("=")
            if not separator:
                raise InvalidInputError(f"--aux-address {text!r}: write NAME=ADDRESS")
            of(address).setdefault("aux_addresses", {})[name] = address
    except ValueError as e:
        raise InvalidInputError(f"network create: {e}") from None
    return found


def _pairs(items: list[str]) -> dict[str, str]:
    return dict(item.partition("=")[::2] for item in items)


def list_(context: Context) -> int:
    parser = context.parser("[-q] [-f FILTER] [--format FORMAT]", "List networks.")
    parser.add_argument("-q", "--quiet", action="store_true", help="only ids")
    parser.add_argument("--no-trunc", action="store_true", help="whole ids")
    add_filter(parser, _FILTERS)
    add_table_format(parser, "Name")
    args = parser.parse_args(context.args)
    found = connect(context).request("GET", "/v1/networks" + query(filter=args.filter))
    identify = str if args.no_trunc else short_id
    if args.quiet:
        for item in found:
            print(identify(item["id"]))
        return 0
    rows = [_row(item, identify(item["id"])) for item in sorted(found, key=lambda i: i["name"])]
    print_listed(rows, args.format, _HEADINGS)
    return 0


def _row(item: Item, id_: str) -> Item:
    return {
        "ID": id_,
        "Name": item["name"],
        "Driver": item["driver"],
        "Scope": "local",
        "IPv6": str(item["ipv6"]).lower(),
        "Internal": str(item["internal"]).lower(),
        "CreatedAt": show_time(item["created_ns"]),
        "Labels": ",".join(f"{key}={value}" for key, value in item["labels"].items()),
        "Label": item["labels"],
    }


def inspect(context: Context) -> int:
    parser = context.parser("[-f FORMAT] NETWORK [NETWORK...]", "Show all about networks.")
    parser.add_argument("-f", "--format", metavar="FORMAT", help="such as {{.Name}}")
    parser.add_argument("-v", "--verbose", action="store_true", help="without effect")
    parser.add_argument("networks", nargs="+", metavar="NETWORK")
    args = parser.parse_args(context.args)
    client = connect(context)
    found = [client.request("GET", f"/v1/networks/{quote(n)}") for n in args.networks]
    print_all([shaped(client, "network", n) for n in found], args.format)
    return 0


def remove(context: Context) -> int:
    parser = context.parser("[-f] NETWORK [NETWORK...]", "Remove networks.")
    parser.add_argument("-f", "--force", action="store_true", help="one that is not there is fine")
    parser.add_argument("networks", nargs="+", metavar="NETWORK")
    args = parser.parse_args(context.args)
    client = connect(context)

    def one(name: str) -> None:
        try:
            client.request("DELETE", f"/v1/networks/{quote(name)}")
        except NotFoundError:
            if not args.force:
                raise

    return each(args.networks, one)


def connect_(context: Context) -> int:
    parser = context.parser("[flags] NETWORK CONTAINER", "Bring a container into a network.")
    add = parser.add_argument
    add("--alias", action="append", default=[], metavar="NAME", help="a further name there")
    add("--link", action="append", default=[], metavar="CONTAINER[:ALIAS]", help="a name for it")
    add("--ip", metavar="ADDRESS", help="IPv4 address")
    add("--ip6", metavar="ADDRESS", help="IPv6 address")
    local = "one more address, of 169.254.0.0/16 or fe80::/10"
    add("--link-local-ip", action="append", default=[], metavar="ADDRESS", help=local)
    add("--gw-priority", type=int, metavar="N", help="the highest has the default route")
    add("--driver-opt", action="append", default=[], metavar="NAME=VALUE", help="an option")
    add("network", metavar="NETWORK")
    add("container", metavar="CONTAINER")
    args = parser.parse_args(context.args)
    body = {
        "container": args.container,
        "aliases": args.alias,
        "links": args.link,
        "address": args.ip,
        "address6": args.ip6,
        "link_local": args.link_local_ip,
        "gateway_priority": args.gw_priority,
        "driver_options": _pairs(args.driver_opt),
    }
    given = {name: value for name, value in body.items() if value}
    connect(context).request("POST", f"/v1/networks/{quote(args.network)}/connect", given)
    return 0


def disconnect(context: Context) -> int:
    parser = context.parser("[-f] NETWORK CONTAINER", "Take a container out of a network.")
    parser.add_argument("-f", "--force", action="store_true", help="one that is not in it is fine")
    parser.add_argument("network", metavar="NETWORK")
    parser.add_argument("container", metavar="CONTAINER")
    args = parser.parse_args(context.args)
    body = {"container": args.container, "force": args.force}
    connect(context).request("POST", f"/v1/networks/{quote(args.network)}/disconnect", body)
    return 0


def doctor(context: Context) -> int:
    """Exit status 1 where something is in the way."""
    parser = context.parser("", "Find what of this host is in containers' networks' way.")
    parser.parse_args(context.args)
    found = connect(context).request("GET", "/v1/networks/findings")
    for finding in found:
        print(f"{finding['object']}: {finding['cause']}")
        for command in finding["commands"]:
            print(f"    {command}")
    if not found:
        print("nothing is in the way")
    return 1 if found else 0


def port(context: Context) -> int:
    parser = context.parser(
        "CONTAINER [PORT[/PROTOCOL]]", "Show which ports of the host a container answers."
    )
    parser.add_argument("container", metavar="CONTAINER")
    parser.add_argument("port", nargs="?", metavar="PORT[/PROTOCOL]")
    args = parser.parse_args(context.args)
    detail = connect(context).request("GET", f"/v1/containers/{quote(args.container)}")
    published = detail["published_ports"]
    if args.port is None:
        for p in published:
            print(f"{p['container_port']}/{p['protocol']} -> {host_port(p)}")
        return 0
    number, _, protocol = args.port.partition("/")
    wanted = (number, protocol or "tcp")
    found = [p for p in published if (str(p["container_port"]), p["protocol"]) == wanted]
    if not found:
        raise NotFoundError(f"no public port '{'/'.join(wanted)}' published for {args.container}")
    for p in found:
        print(host_port(p))
    return 0
