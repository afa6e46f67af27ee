"""``pull``, ``rmi``, ``tag``, and ``image``, whose verbs are these and others."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any, Final

from cgagent import standard
from cgagent.cli.agent import connect
from cgagent.cli.verbs import dispatch
from cgagent.client.http import Client, error_of, query, quote
from cgagent.errors import CgagentError, UnavailableError

if TYPE_CHECKING:
    from collections.abc import Iterator

    from cgagent.cli.main import Context


_VERBS: Final = {
    "build": ("build", "build"),
    "ls": ("imagelist", "images"),
    "list": ("imagelist", "images"),
    "pull": ("images", "pull"),
    "push": ("registries", "push"),
    "rm": ("images", "rmi"),
    "remove": ("images", "rmi"),
    "inspect": ("inspect", "inspect_images"),
    "history": ("history", "history"),
    "tag": ("images", "tag"),
    "save": ("archives", "save"),
    "load": ("archives", "load"),
    "import": ("archives", "import_"),
    "prune": ("disk", "prune_images"),
}


def pull(context: Context) -> int:
    parser = context.parser("[-a] [-q] NAME", "Fetch an image from its registry.")
    add = parser.add_argument
    add("-a", "--all-tags", action="store_true", help="every tag of the repository")
    add("-q", "--quiet", action="store_true", help="no progress")
    add("--platform", metavar="OS/ARCH", help="another one than this machine's")
    add("--disable-content-trust", action="store_true", default=True, help="without effect")
    add("name", metavar="NAME")
    args = parser.parse_args(context.args)
    reference = pull_with_progress(
        connect(context),
        args.name,
        quiet=args.quiet,
        platform=args.platform or "",
        all_tags=args.all_tags,
    )
    print(reference)
    return 0


def rmi(context: Context) -> int:
    parser = context.parser("[-f] IMAGE [IMAGE...]", "Remove images.")
    add = parser.add_argument
    add("-f", "--force", action="store_true", help="several names, or used by a stopped container")
    add("--no-prune", action="store_true", help="accepted; there are no parents without a name")
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


def tag(context: Context) -> int:
    parser = context.parser("SOURCE[:TAG] TARGET[:TAG]", "Give an image one more name.")
    parser.add_argument("source", metavar="SOURCE")
    parser.add_argument("target", metavar="TARGET")
    args = parser.parse_args(context.args)
    body = {"source": args.source, "name": args.target}
    connect(context).request("POST", "/v1/images/tag", body)
    return 0


def image(context: Context) -> int:
    """The management form of the commands about images."""
    return dispatch(context, _VERBS, "Images.")


def pull_with_progress(
    client: Client, name: str, *, quiet: bool = False, platform: str = "", all_tags: bool = False
) -> str:
    """Pull, showing on standard error what happens; the whole name of what was pulled."""
    from cgagent.cli import dockerconfig

    if not quiet:
        print(f"pulling {standard.printable(name)}", file=sys.stderr)
    body = {"name": name, "platform": platform, "all_tags": all_tags}
    headers = dockerconfig.header(name)
    last = follow(client, "/v1/images/pull", body, quiet=quiet, headers=headers)
    reference: str = last["reference"]
    return reference


def follow(
    client: Client,
    path: str,
    body: dict[str, Any],
    *,
    quiet: bool = False,
    headers: tuple[str, ...] = (),
) -> dict[str, Any]:
    """The last message of long work.

    Raises:
        CgagentError: how it failed.
    """
    return followed(client.lines("POST", path, body, headers), quiet=quiet)


def followed(messages: Iterator[Any], *, quiet: bool = False) -> dict[str, Any]:
    """The last message of long work whose answer has begun; raises as `follow` does."""
    from cgagent.cli.progress import show

    try:
        with show() as shown:
            for message in messages:
                if "error" in message:
                    raise error_of(message["error"])
                if "progress" not in message:
                    last: dict[str, Any] = message
                    return last
                if not quiet:
                    shown(message["progress"])
    except KeyboardInterrupt:  # the agent ends the work with the connection
        standard.tell("cancelled")
        raise
    raise UnavailableError("the agent ended the answer early; see its log")
