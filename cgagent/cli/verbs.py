"""Commands that have verbs of their own: ``volume ls``, ``cgroup tree``, ``system recover``."""

from __future__ import annotations

from cgagent.cli.main import UsageError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Collection

    from cgagent.cli.main import Context


def choose(
    context: Context, verbs: Collection[str], known: str, *, usage: str, description: str
) -> str:
    """The verb, which becomes a part of the command; what follows it are the arguments now.

    `known` names the verbs in the error for any other word.
    """
    verb, *rest = context.args or [""]
    if verb in {"-h", "--help"}:
        context.parser(usage, description).parse_args(["--help"])
    if verb not in verbs:
        raise UsageError(f"{context.command} {verb!r}: {known} are what there is")
    context.args, context.command = rest, f"{context.command} {verb}"
    return verb
