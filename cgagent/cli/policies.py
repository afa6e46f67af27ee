"""``policy``: rulesets by which the agent acts by itself, and what they decided."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any, Final

from cgagent.cli.agent import connect
from cgagent.cli.containers import each
from cgagent.cli.output import table
from cgagent.cli.verbs import dispatch
from cgagent.client.http import query, quote
from cgagent.errors import InvalidInputError
from cgagent.standard import printable
from cgagent.units import show_time

if TYPE_CHECKING:
    from cgagent.cli.main import Context

_VERBS: Final = {
    "add": ("policies", "add"),
    "ls": ("policies", "list_"),
    "list": ("policies", "list_"),
    "inspect": ("policies", "inspect"),
    "rm": ("policies", "remove"),
    "remove": ("policies", "remove"),
    "test": ("policies", "test"),
    "log": ("policies", "log"),
}
_HOLDS: Final = {True: "holds", False: "does not hold", None: "cannot be told"}


def policy(context: Context) -> int:
    return dispatch(context, _VERBS, "Rulesets by which the agent acts by itself.")


def add(context: Context) -> int:
    parser = context.parser(
        "[--dry-run] [--replace] FILE...",
        "Put the rulesets of files at work; print their names. docs/policies.md has the words.",
    )
    add_flag = parser.add_argument
    add_flag("--dry-run", action="store_true", help="say what would be done, and do nothing")
    add_flag("--replace", action="store_true", help="in the place of those of the same names")
    add_flag("files", nargs="+", metavar="FILE", help="TOML, or JSON where it ends in .json")
    args = parser.parse_args(context.args)
    documents = [_document(path) for path in args.files]
    if args.dry_run:
        for one in (one for document in documents for one in document["ruleset"]):
            one["dry-run"] = True
            one.pop("dry_run", None)
    client = connect(context)
    for document in documents:
        path = "/v1/policies" + query(replace=args.replace or None)
        for made in client.request("POST", path, document):
            print(made["name"])
    return 0


def _document(path: str) -> dict[str, Any]:
    import tomllib

    try:
        with open(path, "rb") as file:
            text = file.read().decode()
        found: Any = json.loads(text) if path.endswith(".json") else tomllib.loads(text)
        json.dumps(found, default=_no_json, allow_nan=False)
    except (OSError, ValueError) as e:
        cause = getattr(e, "strerror", None) or e
        raise InvalidInputError(f"file {path}: it cannot be read: {cause}") from None
    listed = found.get("ruleset") if isinstance(found, dict) else None
    if not isinstance(listed, list) or not all(isinstance(one, dict) for one in listed):
        raise InvalidInputError(f"file {path}: it has no [[ruleset]]; see docs/policies.md")
    return {"ruleset": listed}


def _no_json(value: Any) -> Any:
    """Of TOML's values dates and times are none."""
    raise ValueError(f"{value} is a date or a time; write it in quotes")


def list_(context: Context) -> int:
    context.parser("", "List rulesets, by name.").parse_args(context.args)
    rows = [
        (
            one["name"],
            str(one["watched"]),
            str(one["in_force"]),
            ", ".join(one["actions"]),
            _state(one),
        )
        for one in connect(context).request("GET", "/v1/policies")
    ]
    print(table(("NAME", "WATCHED", "IN FORCE", "ACTIONS", "STATE"), rows))
    return 0


def _state(one: dict[str, Any]) -> str:
    if one["unknown"]:
        return "cannot be evaluated"
    return "dry run" if one["dry_run"] else "at work"


def inspect(context: Context) -> int:
    parser = context.parser("NAME...", "Show rulesets with what is in force of them, as JSON.")
    parser.add_argument("names", nargs="+", metavar="NAME")
    names = parser.parse_args(context.args).names
    client = connect(context)
    found = [client.request("GET", f"/v1/policies/{quote(name)}") for name in names]
    print(json.dumps(found, indent=2))
    return 0


def remove(context: Context) -> int:
    parser = context.parser("NAME...", "Undo what rulesets hold anybody to, and forget them.")
    parser.add_argument("names", nargs="+", metavar="NAME")
    names = parser.parse_args(context.args).names
    client = connect(context)
    return each(names, lambda name: client.request("DELETE", f"/v1/policies/{quote(name)}"))


def test(context: Context) -> int:
    parser = context.parser(
        "NAME", "Look once and do nothing: what its detectors find, and what would be done to whom."
    )
    parser.add_argument("name", metavar="NAME")
    name = parser.parse_args(context.args).name
    found = connect(context).request("GET", f"/v1/policies/{quote(name)}/test")
    if not found["targets"]:
        print("it looks at nothing that runs now")
    for target in found["targets"]:
        print(printable(f"{target['target']}: the condition {_HOLDS[target['holds']]}"))
        for detector in target["detectors"]:
            print(printable(f"  {detector['text']}"))
        victims = [_victim(one) for one in target["victims"][:5]]
        print(printable(f"  would act on: {', '.join(victims) or 'nobody'}"))
    for number, grade in enumerate(found["grades"], 1):
        options = ", ".join(f"{name}={value}" for name, value in grade["options"].items())
        after = f"after {grade['after_s']:g} s" if grade["after_s"] else "at once"
        until = f" for {grade['for_s']:g} s" if grade["for_s"] else ""
        own = ", by a condition of its own" if grade["has_condition"] else ""
        what = f"{grade['action']} {options}".rstrip()
        print(printable(f"grade {number}, {after}: {what}{until}{own}"))
    return 0


def _victim(one: dict[str, Any]) -> str:
    more = ", ".join(filter(None, (one["figure"], one["mark"])))
    return f"{one['target']} ({more})" if more else str(one["target"])


def log(context: Context) -> int:
    parser = context.parser(
        "[--policy NAME] [--container CONTAINER] [--group GROUP] [-n COUNT]",
        "Show what rulesets decided and the figures it was decided on, the oldest first.",
    )
    flag = parser.add_argument
    flag("--policy", metavar="NAME", help="of this one alone")
    flag("--container", metavar="CONTAINER", help="about this one alone")
    flag("--group", metavar="GROUP", help="about this group as one alone")
    flag("-n", "--tail", metavar="COUNT", type=int, default=50, help="so many at most (50)")
    args = parser.parse_args(context.args)
    path = "/v1/decisions" + query(
        policy=args.policy, container=args.container, group=args.group, limit=args.tail
    )
    for one in reversed(connect(context).request("GET", path)):
        when = show_time(one["time_ns"])
        about = f" {one['target']}" if one["target"] else ""
        line = f"{when} {one['policy']}: {one['action']}{about}: {one['outcome']}: {one['reason']}"
        print(printable(line))
    return 0
