"""``images``: what there is, as docker lists it: a line for each name."""

from __future__ import annotations

import time
from datetime import datetime
from fnmatch import fnmatchcase
from typing import TYPE_CHECKING, Any, Final

from cgagent.cli.agent import connect
from cgagent.cli.filters import add_filter, add_table_format, has_label
from cgagent.cli.formats import print_listed
from cgagent.cli.output import short_id
from cgagent.cli.units import show_age, show_size
from cgagent.errors import InvalidInputError

if TYPE_CHECKING:
    from collections.abc import Callable

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
_FILTERS: Final = ("dangling", "label", "before", "since", "reference")


def images(context: Context) -> int:
    parser = context.parser(
        "[-q] [-f FILTER] [--digests] [--format FORMAT] [REPOSITORY[:TAG]]", "List images."
    )
    add = parser.add_argument
    add("-a", "--all", action="store_true", help="as without it: there are no hidden ones")
    add("-q", "--quiet", action="store_true", help="only ids")
    add("--no-trunc", action="store_true", help="whole ids")
    add("--digests", action="store_true", help="what a registry calls them, too")
    add_filter(parser, _FILTERS)
    add_table_format(parser, "Repository")
    add("reference", nargs="?", metavar="REPOSITORY[:TAG]", help="only what has such a name")
    args = parser.parse_args(context.args)
    filters = [item.partition("=")[::2] for item in args.filter]
    if args.reference:
        filters.append(("reference", args.reference))
    with_digest = args.digests or ".Digest" in args.format
    found = connect(context).request("GET", "/v1/images")
    _print(_chosen(found, filters, with_digest=with_digest), args)
    return 0


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


# -- filters --------------------------------------------------------------------------------------


def _chosen(
    found: list[Image], filters: list[tuple[str, str]], *, with_digest: bool = False
) -> list[Row]:
    """Each filter holds; of several references any is enough, as docker has it."""
    patterns = [value for name, value in filters if name == "reference"]
    holds = [_filter(name, value, found) for name, value in filters if name != "reference"]
    return [
        (image, *name)
        for image in found
        if all(one(image) for one in holds)
        for name in names(image, with_digest=with_digest)
        if not patterns or any(_is_like(pattern, name) for pattern in patterns)
    ]


def _filter(name: str, value: str, found: list[Image]) -> Callable[[Image], bool]:
    if name == "label":
        return lambda image: has_label(image["config"]["labels"], value)
    if name == "dangling":
        if value.lower() not in {"true", "false", "1", "0"}:
            raise InvalidInputError(f"--filter dangling={value}: it is true or false")
        wanted = value.lower() in {"true", "1"}
        return lambda image: (not image["names"]) is wanted
    if name in {"before", "since"}:
        made = _created(_named(value, found))
        return lambda i: _created(i) < made if name == "before" else _created(i) > made
    raise InvalidInputError(f"--filter {name}={value}: there are {', '.join(_FILTERS)}")


def _created(image: Image) -> float:
    return datetime.fromisoformat(image["created"]).timestamp() if image["created"] else 0.0


def _named(reference: str, found: list[Image]) -> Image:
    digits = reference.removeprefix("sha256:")
    for image in found:
        forms = {f"{repository}:{tag}" for repository, tag, _ in names(image, with_digest=False)}
        is_named = reference in forms or f"{reference}:latest" in forms
        if is_named or (len(digits) > 3 and image["id"].startswith(f"sha256:{digits}")):  # noqa: PLR2004 - no short word is an id
            return image
    raise InvalidInputError(f"--filter: there is no image {reference!r}")


def _is_like(pattern: str, name: tuple[str, str, str]) -> bool:
    """A pattern of a shell's for repository, or repository and tag; ``*`` ends before a slash."""
    repository, tag, digest = name
    forms = (repository, f"{repository}:{tag}", f"{repository}@{digest}")
    wanted = pattern.split("/")
    return any(
        len(parts) == len(wanted) and all(map(fnmatchcase, parts, wanted))
        for parts in (form.split("/") for form in forms)
    )
