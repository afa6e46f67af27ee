"""``images``, ``pull``, ``load``, ``rmi``."""

from __future__ import annotations

import os
import sys
from typing import TYPE_CHECKING, Any

from cgagent import standard
from cgagent.cli.agent import connect
from cgagent.cli.client import Client, query, quote
from cgagent.cli.output import short_id, table
from cgagent.cli.units import show_size
from cgagent.errors import CgagentError, InvalidInputError, from_kind

if TYPE_CHECKING:
    from cgagent.cli.main import Context


def images(context: Context) -> int:
    parser = context.parser("[-q]", "List images.")
    parser.add_argument("-q", "--quiet", action="store_true", help="only ids")
    parser.add_argument("--no-trunc", action="store_true", help="whole ids")
    args = parser.parse_args(context.args)
    identify = str if args.no_trunc else short_id
    found = connect(context).request("GET", "/v1/images")
    if args.quiet:
        for image in found:
            print(identify(image["id"]))
        return 0
    rows = [
        (*_name(name), identify(image["id"]), show_size(image["size_bytes"]))
        for image in found
        for name in image["names"] or [""]
    ]
    print(table(("REPOSITORY", "TAG", "IMAGE ID", "SIZE"), rows))
    return 0


def _name(name: str) -> tuple[str, str]:
    """Repository and tag in their familiar form."""
    if not name:
        return "<none>", "<none>"
    short = name.removeprefix("docker.io/").removeprefix("library/")
    repository, _, tag = short.rpartition(":")
    if "@" in short or not repository or "/" in tag:
        return short.partition("@")[0], "<none>"
    return repository, tag


def pull(context: Context) -> int:
    parser = context.parser("NAME", "Fetch an image from its registry.")
    parser.add_argument("name", metavar="NAME")
    args = parser.parse_args(context.args)
    image = pull_with_progress(connect(context), args.name)
    print(image["id"])
    return 0


def load(context: Context) -> int:
    parser = context.parser("-i FILE", "Take the images out of an archive.")
    parser.add_argument("-i", "--input", metavar="FILE", help="the archive, tar or tar.gz")
    parser.add_argument("file", nargs="?", metavar="FILE")
    args = parser.parse_args(context.args)
    path = args.input or args.file
    if not path:
        parser.error("an archive is needed: cgagent load -i FILE")
    if not os.access(path, os.R_OK):
        cause = "cannot be read" if os.path.exists(path) else "does not exist"
        raise InvalidInputError(f"archive {path} {cause}")
    if not os.path.isfile(path):  # the agent reads it more than once
        raise InvalidInputError(f"archive {path} is no regular file: save it to one first")
    body = {"path": os.path.realpath(path)}
    result = _follow(connect(context), "/v1/images/load", body)
    for image in result["images"]:
        for name in image["names"]:
            repository, tag = _name(name)
            print(f"Loaded image: {repository}:{tag}")
        if not image["names"]:
            print(f"Loaded image ID: {image['id']}")
    return 0


def rmi(context: Context) -> int:
    parser = context.parser("[-f] IMAGE [IMAGE...]", "Remove images.")
    parser.add_argument("-f", "--force", action="store_true", help="with all its names")
    parser.add_argument("images", nargs="+", metavar="IMAGE")
    args = parser.parse_args(context.args)
    client = connect(context)
    code = 0
    for name in args.images:
        try:
            path = f"/v1/images/{quote(name)}" + query(force=args.force or None)
            for line in client.request("DELETE", path)["lines"]:
                print(line)
        except CgagentError as e:
            standard.tell(e.message)
            code = 1
    return code


def pull_with_progress(client: Client, name: str) -> dict[str, Any]:
    """Pull, showing on standard error what happens."""
    print(f"pulling {standard.printable(name)}", file=sys.stderr)
    image: dict[str, Any] = _follow(client, "/v1/images/pull", {"name": name})["image"]
    return image


def _follow(client: Client, path: str, body: dict[str, Any]) -> dict[str, Any]:
    """The last message of long work.

    Raises:
        CgagentError: how it failed.
    """
    from cgagent.cli.progress import show

    with show() as shown:
        for message in client.lines("POST", path, body):
            if "error" in message:
                raise from_kind(message["error"]["kind"], message["error"]["message"])
            if "progress" not in message:
                last: dict[str, Any] = message
                return last
            shown(message["progress"])
    raise from_kind("unavailable", "the agent ended the answer early; see its log")
