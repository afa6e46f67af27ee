"""``images``: what there is, as docker lists it: a line for each name."""

from __future__ import annotations

import time
from datetime import datetime
from typing import TYPE_CHECKING, Any, Final

from cgagent.cli.agent import connect
from cgagent.cli.filters import add_filter, add_table_format
from cgagent.cli.formats import print_listed
from cgagent.cli.output import short_id, table
from cgagent.client.http import quote
from cgagent.units import show_age, show_size

if TYPE_CHECKING:
    from cgagent.cli.flags import Namespace
    from cgagent.cli.main import Context

    Image = dict[str, Any]
    Row = tuple[Image, str, str, str]
    """An image under one of its names: repository, tag, digest."""

NONE: Final = "<none>"
_HEADINGS: Final = {
    "Repository": "REPOSITORY",
    "Tag": "TAG",
    "Digest": "DIGEST",
    "ID": "IMAGE ID",
    "CreatedSince": "CREATED",
    "Size": "SIZE",
}
_FILTERS: Final = ("dangling", "label", "before", "since", "until", "reference")


def images(context: Context) -> int:
    parser = context.parser(
        "[-q] [-f FILTER] [--digests] [--format FORMAT] [REPOSITORY[:TAG]]", "List images."
    )
    add = parser.add_argument
    add("-a", "--all", action="store_true", help="as without it: there are no hidden ones")
    add("-q", "--quiet", action="store_true", help="only ids")
    add("--no-trunc", action="store_true", help="whole ids")
    add("--digests", action="store_true", help="what a registry calls them, too")
    add("--tree", action="store_true", help="with their layers, and how many images have each")
    add_filter(parser, _FILTERS)
    add_table_format(parser, "Repository")
    add("reference", nargs="?", metavar="REPOSITORY[:TAG]", help="only what has such a name")
    args = parser.parse_args(context.args)
    filters = [*args.filter, *([f"reference={args.reference}"] if args.reference else [])]
    asked = "&".join(f"filter={quote(item)}" for item in filters)
    client = connect(context)
    found = client.request("GET", f"/v1/images?{asked}")
    if args.tree:
        _print_tree(found, client.request("GET", "/v1/images") if filters else found)
        return 0
    with_digest = args.digests or ".Digest" in args.format
    _print([(i, *name) for i in found for name in names(i, with_digest=with_digest)], args)
    return 0


def _print_tree(images: list[Image], everything: list[Image]) -> None:
    """Each image with its layers, bottom first; a shared one says with how many others."""
    holders: dict[str, int] = {}
    for image in everything:
        for chain_id in image["layers"]:
            holders[chain_id] = holders.get(chain_id, 0) + 1
    rows = []
    for image in images:
        labels = [f"{repository}:{tag}" for repository, tag, _ in names(image, with_digest=False)]
        rows.append((", ".join(labels), short_id(image["id"]), show_size(image["size_bytes"]), ""))
        layers = list(zip(image["layers"], image["layer_sizes_bytes"], strict=True))
        for n, (chain_id, size) in enumerate(layers, 1):
            others = holders[chain_id] - 1
            branch = "└─" if n == len(layers) else "├─"
            shared = f"shared with {others} other image{'s' * (others > 1)}" if others else ""
            rows.append((f"{branch} layer {n}", short_id(chain_id), show_size(size), shared))
    print(table(("IMAGE", "ID", "SIZE", "SHARED"), rows))


def _print(rows: list[Row], args: Namespace) -> None:
    if args.quiet:
        for id_ in dict.fromkeys(image["id"] for image, *_ in rows):
            print(id_ if args.no_trunc else short_id(id_))
        return
    headings = {n: title for n, title in _HEADINGS.items() if n != "Digest" or args.digests}
    items = [_shape(*row, trim=not args.no_trunc) for row in rows]
    print_listed(items, args.format, headings)


def _shape(image: Image, repository: str, tag: str, digest: str, *, trim: bool) -> dict[str, str]:
    """Docker's names."""
    created = image["created"] and datetime.fromisoformat(image["created"])
    return {
        "ID": short_id(image["id"]) if trim else image["id"],
        "Repository": repository,
        "Tag": tag,
        "Digest": digest,
        "CreatedSince": f"{show_age(time.time() - created.timestamp())} ago" if created else "N/A",
        "CreatedAt": str(created) if created else "N/A",
        "Size": show_size(image["size_bytes"]),
    }


def names(image: Image, *, with_digest: bool) -> list[tuple[str, str, str]]:
    """Repository, tag and digest of each name; a digest where it is asked for, or all there is."""
    tags: dict[str, list[str]] = {}
    digests: dict[str, list[str]] = {}
    for name in image["names"]:
        repository, tag, digest = split(name)
        tags.setdefault(repository, []).extend([tag] * (tag != NONE or digest == NONE))
        digests.setdefault(repository, []).extend([digest] * (digest != NONE))
    found = [
        (repository, tag, digest)
        for repository, its in tags.items()
        for tag in its or [NONE]
        for digest in (digests[repository] if with_digest else []) or [NONE]
    ]
    return found or [(NONE, NONE, NONE)]


def split(name: str) -> tuple[str, str, str]:
    """Repository, tag and digest in their familiar form."""
    short, _, digest = name.removeprefix("docker.io/").removeprefix("library/").partition("@")
    repository, separator, tag = short.rpartition(":")
    if not separator or "/" in tag:
        repository, tag = short, NONE
    return repository or NONE, tag, digest or NONE
