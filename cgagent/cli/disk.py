"""``system df``, and ``prune`` of images, containers, volumes and all of them."""

from __future__ import annotations

import time
from datetime import datetime
from typing import TYPE_CHECKING, Any, Final

from cgagent import standard
from cgagent.cli.agent import connect
from cgagent.cli.filters import add_table_format
from cgagent.cli.formats import print_listed
from cgagent.cli.imagelist import names
from cgagent.cli.output import short_id
from cgagent.client.http import query, quote
from cgagent.errors import InvalidInputError
from cgagent.moments import moment
from cgagent.units import parse_size, show_age, show_command, show_size

if TYPE_CHECKING:
    from cgagent.cli.flags import Flags, Namespace
    from cgagent.cli.main import Context

_FILTERS: Final = ("until", "label", "label!")
_HEADINGS: Final = {
    "Type": "TYPE",
    "TotalCount": "TOTAL",
    "Active": "ACTIVE",
    "Size": "SIZE",
    "Reclaimable": "RECLAIMABLE",
}
_IMAGE_HEADINGS: Final = {
    "Repository": "REPOSITORY",
    "Tag": "TAG",
    "ID": "IMAGE ID",
    "CreatedSince": "CREATED",
    "Size": "SIZE",
    "SharedSize": "SHARED SIZE",
    "UniqueSize": "UNIQUE SIZE",
    "Containers": "CONTAINERS",
}
_CONTAINER_HEADINGS: Final = {
    "ID": "CONTAINER ID",
    "Image": "IMAGE",
    "Command": "COMMAND",
    "LocalVolumes": "LOCAL VOLUMES",
    "Size": "SIZE",
    "RunningFor": "CREATED",
    "Status": "STATUS",
    "Names": "NAMES",
}
_BUILD_HEADINGS: Final = {
    "ID": "CACHE ID",
    "CacheType": "CACHE TYPE",
    "Size": "SIZE",
    "CreatedSince": "CREATED",
    "LastUsedSince": "LAST USED",
    "UsageCount": "USAGE",
    "Shared": "SHARED",
}
_VOLUME_HEADINGS: Final = {"Name": "VOLUME NAME", "Links": "LINKS", "Size": "SIZE"}


# -- prune --------------------------------------------------------------------------------------


def prune_images(context: Context) -> int:
    parser = _parser(context, "[-a] [-f] [--filter FILTER]", "Remove images without a name.")
    parser.add_argument("-a", "--all", action="store_true", help="all that no container uses")
    args = parser.parse_args(context.args)
    what = "all images without at least one container associated to them"
    if not _agrees(args, [what if args.all else "all dangling images"]):
        return 0
    done = _post(context, "/v1/images/prune", args.filter, all=args.all or None)
    _tell("Deleted Images:", done["lines"])
    return _reclaimed(done)


def prune_containers(context: Context) -> int:
    parser = _parser(context, "[-f] [--filter FILTER]", "Remove containers that do not run.")
    args = parser.parse_args(context.args)
    if not _agrees(args, ["all stopped containers"]):
        return 0
    done = _post(context, "/v1/containers/prune", args.filter)
    _tell("Deleted Containers:", done["removed"])
    return _reclaimed(done)


def prune_volumes(context: Context) -> int:
    parser = _parser(
        context, "[-a] [-f] [--filter FILTER]", "Remove the nameless volumes that no container has."
    )
    parser.add_argument("-a", "--all", action="store_true", help="those with a name, too")
    args = parser.parse_args(context.args)
    filters = [text for text in args.filter if not text.startswith("all=")]
    every = args.all or any(map(_takes_all, set(args.filter) - set(filters)))
    what = "all" if every else "anonymous"
    if not _agrees(args, [f"{what} local volumes not used by at least one container"]):
        return 0
    done = _post(context, "/v1/volumes/prune", filters, all=every or None)
    _tell("Deleted Volumes:", done["removed"])
    return _reclaimed(done)


def prune_networks(context: Context) -> int:
    parser = _parser(context, "[-f] [--filter FILTER]", "Remove the networks no container is in.")
    args = parser.parse_args(context.args)
    if not _agrees(args, ["all custom networks not used by at least one container"]):
        return 0
    _tell("Deleted Networks:", _post(context, "/v1/networks/prune", args.filter)["removed"])
    return 0


def prune_builds(context: Context) -> int:
    parser = _parser(
        context,
        "[-a] [-f] [--filter FILTER] [--keep-storage SIZE]",
        "Remove what builds have cached: results of steps, and directories of type=cache.",
    )
    parser.add_argument(
        "-a", "--all", action="store_true", help="accepted: it is all that there is"
    )
    parser.add_argument(
        "--keep-storage", metavar="SIZE", help="so much of what was used last may stay"
    )
    args = parser.parse_args(context.args)
    if not _agrees(args, ["all build cache"]):
        return 0
    keep = parse_size(args.keep_storage, "--keep-storage") if args.keep_storage else None
    done = _post(context, "/v1/build/prune", args.filter, keep_bytes=keep)
    _tell("Deleted build cache objects:", [short_id(one) for one in done["removed"]])
    return _reclaimed(done)


def prune_system(context: Context) -> int:
    parser = _parser(
        context,
        "[-a] [-f] [--volumes] [--filter FILTER]",
        "Remove stopped containers, unused networks, images without a name, and what is in "
        "lost+found: files whose record could not be read.",
    )
    parser.add_argument("-a", "--all", action="store_true", help="all images without a container")
    parser.add_argument("--volumes", action="store_true", help="nameless volumes, too")
    args = parser.parse_args(context.args)
    what = [
        "all stopped containers",
        "all networks not used by at least one container",
        *(["all anonymous volumes not used by at least one container"] if args.volumes else []),
        "all images without at least one container associated to them"
        if args.all
        else "all dangling images",
        "what is in lost+found",
    ]
    if not _agrees(args, what):
        return 0
    volumes = args.volumes or None
    done = _post(context, "/v1/system/prune", args.filter, all=args.all or None, volumes=volumes)
    _tell("Deleted Containers:", done["containers"])
    _tell("Deleted Networks:", done["networks"])
    _tell("Deleted Volumes:", done["volumes"])
    _tell("Deleted Images:", done["images"])
    for name in done["lost_and_found"]:
        print(f"deleted: {name}")
    return _reclaimed(done)


def _parser(context: Context, usage: str, description: str) -> Flags:
    parser = context.parser(usage, description)
    parser.add_argument("-f", "--force", action="store_true", help="do not ask")
    parser.add_argument(
        "--filter", action="append", default=[], metavar="NAME=VALUE", help=", ".join(_FILTERS)
    )
    return parser


def _post(context: Context, path: str, filters: list[str], **asked: Any) -> dict[str, Any]:
    found = query(**asked)
    words = "&".join(f"filter={quote(_filter(text))}" for text in filters)
    if words:
        found += ("&" if found else "?") + words
    done: dict[str, Any] = connect(context).request("POST", path + found)
    return done


def _takes_all(text: str) -> bool:
    """Docker's filter ``all=true``, which chooses as ``--all`` does."""
    value = text.removeprefix("all=").lower()
    if value not in {"1", "t", "true", "0", "f", "false"}:
        raise InvalidInputError(f"--filter {text}: it is true or false")
    return value in {"1", "t", "true"}


def _filter(text: str) -> str:
    """A time becomes one that means the same to everybody."""
    name, _, value = text.partition("=")
    if name not in _FILTERS:
        raise InvalidInputError(f"--filter {text}: there are {', '.join(_FILTERS)}")
    return f"until={(moment(value, '--filter until') or 0) / 1e9:.9f}" if name == "until" else text


def _agrees(args: Namespace, what: list[str]) -> bool:
    if args.force:
        return True
    if len(what) == 1:
        print(f"WARNING! This will remove {what[0]}.")
    else:
        print("WARNING! This will remove:", *(f"  - {one}" for one in what), "", sep="\n")
    print("Are you sure you want to continue? [y/N] ", end="", flush=True)
    answer = b""
    while not answer.endswith(b"\n") and (more := standard.read(0, 1)):
        answer += more
    return answer.strip().lower() in {b"y", b"yes"}


def _tell(heading: str, lines: list[str]) -> None:
    if lines:
        print(heading, *lines, "", sep="\n")


def _reclaimed(done: dict[str, Any]) -> int:
    print(f"Total reclaimed space: {show_size(done['freed_bytes'])}")
    return 0


# -- df -----------------------------------------------------------------------------------------


def df(context: Context) -> int:
    parser = context.parser("[-v] [--format FORMAT]", "Show what takes how much of the disk.")
    parser.add_argument("-v", "--verbose", action="store_true", help="each thing")
    add_table_format(parser, "Type")
    args = parser.parse_args(context.args)
    found = connect(context).request("GET", "/v1/system/df")
    if args.verbose and args.format.startswith("table"):
        _print_each(found)
    elif args.verbose:
        print_listed([_each(found)], args.format, {})
    else:
        print_listed(_totals(found), args.format, _HEADINGS)
    return 0


def _totals(found: dict[str, Any]) -> list[dict[str, str]]:
    images, containers, volumes = found["images"], found["containers"], found["volumes"]
    written = [(c["size_rw_bytes"] or 0, c["running"]) for c in containers]
    kept = [(v["size_bytes"], v["containers"] > 0) for v in volumes]
    built = [(b["size_bytes"], b["in_use"]) for b in found["builds"]]
    return [
        _total(
            "Images",
            (len(images), sum(i["containers"] > 0 for i in images)),
            found["layers_bytes"],
            found["reclaimable_bytes"],
        ),
        _total("Containers", *_sums(written)),
        _total("Local Volumes", *_sums(kept)),
        _total("Build Cache", *_sums(built)),
    ]


def _sums(sizes: list[tuple[int, bool]]) -> tuple[tuple[int, int], int, int]:
    """Counts of all and of those in use, bytes of all and of the others."""
    counts = len(sizes), sum(used for _, used in sizes)
    return counts, sum(size for size, _ in sizes), sum(size for size, used in sizes if not used)


def _total(name: str, counts: tuple[int, int], size: int, reclaimable: int) -> dict[str, str]:
    share = f" ({100 * reclaimable // size}%)" if size else ""
    return {
        "Type": name,
        "TotalCount": str(counts[0]),
        "Active": str(counts[1]),
        "Size": show_size(size),
        "Reclaimable": show_size(reclaimable) + share,
    }


def _each(found: dict[str, Any]) -> dict[str, list[dict[str, str]]]:
    """The rows have docker's names of the columns."""
    return {
        "Images": [row for image in found["images"] for row in _image_rows(image)],
        "Containers": [_container_row(container) for container in found["containers"]],
        "Volumes": [_volume_row(volume) for volume in found["volumes"]],
        "BuildCache": [_build_row(one) for one in found["builds"]],
    }


def _print_each(found: dict[str, Any]) -> None:
    each = _each(found)
    print("Images space usage:\n")
    print_listed(each["Images"], "table", _IMAGE_HEADINGS)
    print(
        f"\nLayers: {show_size(found['layers_bytes'])} unpacked, and what they came in: "
        f"{show_size(found['blobs_bytes'])}"
    )
    print("\nContainers space usage:\n")
    print_listed(each["Containers"], "table", _CONTAINER_HEADINGS)
    print("\nLocal Volumes space usage:\n")
    print_listed(each["Volumes"], "table", _VOLUME_HEADINGS)
    print("\nBuild cache usage:\n")
    print_listed(each["BuildCache"], "table", _BUILD_HEADINGS)


def _image_rows(image: dict[str, Any]) -> list[dict[str, str]]:
    created = image["created"] and datetime.fromisoformat(image["created"]).timestamp()
    rest = {
        "ID": short_id(image["id"]),
        "CreatedSince": f"{show_age(time.time() - created)} ago" if created else "N/A",
        "Size": show_size(image["size_bytes"]),
        "SharedSize": show_size(image["shared_bytes"]),
        "UniqueSize": show_size(image["unique_bytes"]),
        "Containers": str(image["containers"]),
    }
    return [
        {"Repository": repository, "Tag": tag, **rest}
        for repository, tag, _ in names(image, with_digest=False)
    ]


def _container_row(container: dict[str, Any]) -> dict[str, str]:
    size = container["size_rw_bytes"]
    return {
        "ID": short_id(container["id"]),
        "Image": container["image"],
        "Command": show_command(container["command"])[:20],
        "LocalVolumes": str(container["volumes"]),
        "Size": "--" if size is None else show_size(size),
        "RunningFor": f"{show_age(time.time() - container['created_ns'] / 1e9)} ago",
        "Status": container["status"],
        "Names": container["name"],
    }


def _volume_row(volume: dict[str, Any]) -> dict[str, str]:
    return {
        "Name": volume["name"],
        "Links": str(volume["containers"]),
        "Size": show_size(volume["size_bytes"]),
    }


def _build_row(one: dict[str, Any]) -> dict[str, str]:
    now = time.time()
    return {
        "ID": short_id(one["id"]),
        "CacheType": "exec.cachemount" if one["kind"] == "cache mount" else "regular",
        "Size": show_size(one["size_bytes"]),
        "CreatedSince": f"{show_age(now - one['created_s'])} ago",
        "LastUsedSince": f"{show_age(now - one['used_s'])} ago",
        "UsageCount": str(one["uses"]),
        "Shared": str(one["shared"]).lower(),
        "Description": one["description"],
    }
