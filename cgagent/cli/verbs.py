"""Commands that have verbs of their own: ``volume ls``, ``cgroup tree``, ``system recover``."""

from __future__ import annotations

from cgagent.cli.main import UsageError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Collection, Mapping

    from cgagent.cli.main import Context


def choose(
    context: Context, verbs: Collection[str], known: str, *, usage: str, description: str
) -> str:
    """The verb, which becomes a part of the command; what follows it are the arguments now.

    `known` names the verbs in the error for any other word.
    """
    context.verbs = verbs
    if not context.args:  # as docker: the help, and no error
        context.parser(usage, description).print_help()
        raise SystemExit(0)
    verb, *rest = context.args
    if verb in {"-h", "--help"}:
        context.parser(usage, description).parse_args(["--help"])
    if verb not in verbs:
        raise UsageError(f"{context.command} {verb!r}: {known} are what there is")
    context.args, context.command, context.verbs = rest, f"{context.command} {verb}", ()
    return verb


def dispatch(context: Context, verbs: Mapping[str, tuple[str, str]], description: str) -> int:
    """Carry out the verb: `verbs` has a module and a function in it for each."""
    known = dict.fromkeys(sorted(verbs))
    module, function = verbs[
        choose(
            context,
            verbs,
            ", ".join(known),
            usage=f"{'|'.join(known)} ...",
            description=description,
        )
    ]
    code: int = getattr(__import__(f"cgagent.cli.{module}", fromlist=[function]), function)(context)
    return code
