"""``system doctor``: what this host can do, what it cannot, and how to switch that on."""

from __future__ import annotations

from typing import TYPE_CHECKING

from cgagent import standard
from cgagent.cli.agent import connect
from cgagent.cli.formats import print_all
from cgagent.cli.output import table

if TYPE_CHECKING:
    from cgagent.cli.main import Context


def doctor(context: Context) -> int:
    """Exit status 1 where something is missing that every container needs."""
    parser = context.parser(
        "[--format FORMAT]",
        "Show what this host can do for containers, and how to switch on what it cannot. The exit "
        "code is 1 where something is missing that every container needs.",
    )
    parser.add_argument("--format", metavar="FORMAT", help="json, or text with fields: {{.name}}")
    form = parser.parse_args(context.args).format
    client = connect(context)
    found = client.request("GET", "/v1/system/abilities")
    code = int(any(one["needed"] and not one["there"] for one in found))
    if form:
        print_all(found, form)
        return code
    rows = [(one["name"], "yes" if one["there"] else "NO", one["detail"]) for one in found]
    print(table(("ABILITY", "THERE", "WHAT THAT MEANS"), rows))
    remedies: dict[str, list[str]] = {}
    for one in found:
        if one["remedy"]:
            remedies.setdefault(one["remedy"], []).append(one["name"])
    for remedy, names in remedies.items():
        print(f"\n{standard.printable(', '.join(names))}:\n    {standard.printable(remedy)}")
    in_the_way = client.request("GET", "/v1/networks/findings")
    if in_the_way:
        print(f"\nnetworks: {len(in_the_way)} things are in the way; see cgagent network doctor")
    return code
