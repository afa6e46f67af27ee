"""Rulesets from a table: what a TOML file has, or the same as JSON.

    [[ruleset]]
    name = "memory"
    select = { name = "*" }
    when = { detector = "pressure-above", resource = "memory", above = "60%", for = "30s" }

    [[ruleset.grade]]
    action = "kill"

A hyphen and an underscore are the same in names. Every mistake is told with the place of it.
"""

from __future__ import annotations

import re
from itertools import pairwise
from typing import TYPE_CHECKING, Any, Final, get_args

from cgagent.errors import InvalidInputError
from cgagent.policy.rulesets.actions import options_of
from cgagent.policy.rulesets.figures import FIGURES, MOST_OF_HOST, MOST_UNITS, PERCENT
from cgagent.policy.rulesets.model import (
    LASTING,
    SEVERITY,
    Action,
    Against,
    Combined,
    Detector,
    Grade,
    Most,
    Ruleset,
    Selector,
)
from cgagent.policy.rulesets.values import bound, days, duration, joined, percent, plain, span

if TYPE_CHECKING:
    from cgagent.policy.rulesets.figures import Figure
    from cgagent.policy.rulesets.model import Condition

_NAME: Final = re.compile(r"[a-zA-Z0-9][a-zA-Z0-9_-]{0,47}")
TAKEN: Final = frozenset({"auto-size", "boost", "budget"})
"""What the agent itself decides by, for what containers have asked for."""
_DEEPEST: Final = 8
_MOST_RULESETS: Final = 100
_MOST_PARTS: Final = 32
_RULESET: Final = (
    *("name", "description", "select", "when", "against", "grade", "cool_down", "clear_for"),
    "dry_run",
)
_SELECTOR: Final = ("name", "label", "group", "whole", "cgroup", "host")


def rulesets(table: Any, origin: str, parent: str) -> tuple[Ruleset, ...]:
    """All of a document. ``{parent}`` in a cgroup's path stands for `parent`.

    Raises:
        InvalidInputError: it has a mistake; `origin` and the place are in the message.
    """
    found = _table(table, ("ruleset",), origin)
    listed = found.get("ruleset", [])
    if not isinstance(listed, list) or not 0 < len(listed) <= _MOST_RULESETS:
        raise InvalidInputError(
            f"{origin}: it must have 1 to {_MOST_RULESETS} tables [[ruleset]]; see docs/policies.md"
        )
    parsed = tuple(ruleset(one, f"{origin}: ruleset {n}", parent) for n, one in enumerate(listed))
    names = [one.name for one in parsed]
    for name in names:
        if names.count(name) > 1:
            raise InvalidInputError(f"{origin}: two rulesets are called {name}; rename one")
    return parsed


def ruleset(table: Any, where: str, parent: str) -> Ruleset:
    """One. Raises InvalidInputError."""
    found = _table(table, _RULESET, where)
    name = found.get("name")
    if not isinstance(name, str) or not _NAME.fullmatch(name):
        raise InvalidInputError(
            f"{where}: name must be up to 48 letters, digits, '-' and '_', not {name!r}"
        )
    if name in TAKEN:
        raise InvalidInputError(f"{where}: {name} is what --{name} decides by; take another name")
    where = f"{where.rpartition(': ')[0]}: ruleset {name}"
    description = found.get("description", "")
    dry_run = found.get("dry_run", False)
    if not isinstance(description, str) or not isinstance(dry_run, bool):
        raise InvalidInputError(f"{where}: description is a text, and dry-run true or false")
    if "when" not in found:
        raise InvalidInputError(f"{where}: it must have a condition, when")
    against = found.get("against")
    made = Ruleset(
        name=name,
        description=description[:500],
        select=_selector(found.get("select", {"name": "*"}), f"{where}: select", parent),
        when=_condition(found["when"], f"{where}: when", _DEEPEST),
        against=None if against is None else _against(against, f"{where}: against", parent),
        grades=_grades(found.get("grade"), where),
        cool_down_s=duration(found.get("cool_down", 15), f"{where}: cool-down"),
        clear_for_s=duration(found.get("clear_for", 30), f"{where}: clear-for"),
        dry_run=dry_run,
    )
    _check_target(made, where)
    return made


def _table(value: Any, known: tuple[str, ...], where: str) -> dict[str, Any]:
    """Its keys in our spelling."""
    if not isinstance(value, dict):
        raise InvalidInputError(f"{where}: it must be a table, not {plain(value)}")
    found = {str(key).replace("-", "_"): one for key, one in value.items()}
    for key in found:
        if key not in known:
            raise InvalidInputError(f"{where}: unknown {key!r}; known are {joined(known)}")
    return found


def _selector(value: Any, where: str, parent: str) -> Selector:
    found = _table(value, _SELECTOR, where)
    for name in ("name", "label", "group", "cgroup"):
        if name in found and not (isinstance(found[name], str) and found[name]):
            raise InvalidInputError(f"{where}: {name} must be a pattern")
    for name in ("host", "whole"):
        if not isinstance(found.get(name, False), bool):
            raise InvalidInputError(f"{where}: {name} must be true or false")
    if found.get("whole") and ("group" not in found or "name" in found):
        raise InvalidInputError(f"{where}: whole groups are selected by group, and label")
    kinds = {"container"} & {"container" for n in ("name", "label", "group") if n in found}
    kinds |= {name for name in ("cgroup", "host") if found.get(name)}
    if len(kinds) != 1:
        raise InvalidInputError(
            f"{where}: it must be of containers (name, label, group), of cgroups (cgroup) or "
            "the host"
        )
    if "cgroup" in found:
        found["cgroup"] = "/" + found["cgroup"].replace("{parent}", parent).strip("/")
    return Selector(**found)


def _condition(value: Any, where: str, depth: int) -> Condition:
    if isinstance(value, dict) and "detector" in value:
        return _detector(value, where)
    found = _table(value, ("all", "any", "for"), where)
    hows = [how for how in ("all", "any") if how in found]
    if len(hows) != 1:
        raise InvalidInputError(f"{where}: it must be a detector, or have all or any")
    how: Any = hows[0]
    listed = found[how]
    if not isinstance(listed, list) or not 0 < len(listed) <= _MOST_PARTS or not depth:
        raise InvalidInputError(
            f"{where}: {how} must be a list of 1 to {_MOST_PARTS}, {_DEEPEST} levels deep at most"
        )
    parts = (_condition(one, f"{where}: {how} {n}", depth - 1) for n, one in enumerate(listed, 1))
    return Combined(how=how, parts=tuple(parts), for_s=duration(found.get("for", 0), where))


def _detector(value: dict[str, Any], where: str) -> Detector:
    name = str(value["detector"]).replace("-", "_")
    figure = FIGURES.get(name)
    if figure is None:
        raise InvalidInputError(f"{where}: detector {name!r} is none of {joined(FIGURES)}")
    where = f"{where}: {name}"
    side = "below" if figure.below else "above"
    bounds = () if figure.units == ("yes",) else (side, "clear")
    options = (*figure.choices, *figure.seconds, *figure.own)
    found = _table(value, ("detector", "for", *bounds, *options), where)
    limit, unit = 0.0, figure.units[0]
    if bounds:
        if side not in found:
            raise InvalidInputError(f"{where}: it must say {side} what, such as {side} = 50")
        limit, unit = bound(found[side], figure.units, f"{where}: {side}")
    clear, clear_unit = bound(found.get("clear", limit), (unit,), f"{where}: clear")
    is_beyond = clear < limit if figure.below else clear > limit
    if is_beyond or clear_unit != unit:
        raise InvalidInputError(f"{where}: clear must be on the other side of {side}")
    return Detector(
        figure=name,
        options=_options(figure, found, where),
        bound=limit,
        unit=unit,
        clear=clear,
        for_s=duration(found.get("for", 0), f"{where}: for"),
    )


def _options(figure: Figure, found: dict[str, Any], where: str) -> dict[str, Any]:
    options: dict[str, Any] = {}
    for name, words in figure.choices.items():
        word = str(found.get(name, words[0])).replace("-", "_")
        if word not in words:
            raise InvalidInputError(f"{where}: {name} {word!r} is none of {joined(words)}")
        options[name] = word
    if options.get("over") == "1s" and options["kind"] == "full":
        raise InvalidInputError(f"{where}: over 1s is known of kind some alone; give 10s")
    for name, usual in figure.seconds.items():
        options[name] = duration(found.get(name, usual), f"{where}: {name}")
    if "cpu" in figure.own:
        options["cpu"] = percent(found.get("cpu", 0.5), f"{where}: cpu")
    if "during" in figure.own:
        options["during"] = span(found.get("during"), f"{where}: during")
        options["days"] = days(found.get("days", "mon-sun"), f"{where}: days")
    return options


def _against(value: Any, where: str, parent: str) -> Against:
    extra = ("except", "most", "prefer", "avoid", "at_least", "spread")
    found = _table(value, (*_SELECTOR, *extra), where)
    most = found.get("most", "memory")
    if most not in get_args(Most):
        raise InvalidInputError(f"{where}: most {most!r} is none of {joined(get_args(Most))}")
    own = {key: one for key, one in found.items() if key in _SELECTOR}
    select = _selector(own or {"name": "*"}, where, parent)
    if select.host:
        raise InvalidInputError(f"{where}: nothing can be done about the whole host")
    selectors = {
        name: None if key not in found else _part(found[key], select, f"{where}: {key}", parent)
        for name, key in (("beside", "except"), ("prefer", "prefer"), ("avoid", "avoid"))
    }
    units = (MOST_UNITS[most], *([PERCENT] if most in MOST_OF_HOST else []))
    least, unit = bound(found.get("at_least", 0), units, f"{where}: at-least")
    is_amount = unit == units[0]
    spread = found.get("spread", False)
    if not isinstance(spread, bool):
        raise InvalidInputError(f"{where}: spread {plain(spread)} is neither true nor false")
    return Against(
        select=select,
        most=most,
        at_least=least if is_amount else 0.0,
        at_least_percent=0.0 if is_amount else least,
        spread=spread,
        **selectors,
    )


def _part(value: Any, select: Selector, where: str, parent: str) -> Selector:
    """Some of whom `select` selects. Raises InvalidInputError: none of them could be meant."""
    part = _selector(value, where, parent)
    if part.whole != select.whole and not (part.cgroup or select.cgroup):
        meant = "whole groups" if select.whole else "containers"
        raise InvalidInputError(f"{where}: it must be of {meant}, as nothing else is acted on")
    return part


def _grades(value: Any, where: str) -> tuple[Grade, ...]:
    if not isinstance(value, list) or not 0 < len(value) <= _MOST_PARTS:
        raise InvalidInputError(f"{where}: it must have 1 to {_MOST_PARTS} [[ruleset.grade]]")
    grades = tuple(_grade(one, f"{where}: grade {n}") for n, one in enumerate(value, 1))
    for number, (gentle, harsh) in enumerate(pairwise(grades), 1):
        if SEVERITY[gentle.action] > SEVERITY[harsh.action]:
            raise InvalidInputError(
                f"{where}: grade {number + 1}: {harsh.action} is gentler than {gentle.action} "
                "before it; order grades from gentle to harsh"
            )
    return grades


def _grade(value: Any, where: str) -> Grade:
    action = str(value.get("action")).replace("-", "_") if isinstance(value, dict) else ""
    if action not in SEVERITY:
        raise InvalidInputError(f"{where}: action {action!r} is none of {joined(SEVERITY)}")
    known: Any = action
    where = f"{where}: {action}"
    found = _table(value, ("action", "after", "for", "unless", *options_of(known)), where)
    if known not in LASTING and found.keys() & {"for", "unless"}:
        raise InvalidInputError(f"{where}: for and unless are for what can be undone")
    for_s = None
    if "for" in found and "for" not in options_of(known):
        for_s = duration(found["for"], f"{where}: for")
        if not for_s:
            raise InvalidInputError(f"{where}: for: it must be some time")
    unless = None
    if "unless" in found:
        unless = _condition(found["unless"], f"{where}: unless", _DEEPEST)
    options = {
        name: parse(found[name], f"{where}: {name}")
        for name, parse in options_of(known).items()
        if name in found
    }
    _check_options(known, options, where)
    return Grade(
        action=known,
        after_s=duration(found.get("after", 0), f"{where}: after"),
        for_s=for_s,
        unless=unless,
        options=options,
    )


_NEEDED: Final[dict[Action, tuple[tuple[str, ...], str]]] = {
    "webhook": (("url",), "one"),
    "reclaim": (("amount",), "one"),
    "raise": (("limit", "by", "to"), "all"),
    "weight": (("cpu", "io"), "one"),
    "io_cap": (("read", "write", "read_iops", "write_iops"), "one"),
    "cpuset": (("leave", "keep"), "only one"),
    "cpu_cap": (("cpus",), "one"),
    "freeze": (("for",), "one"),
}


def _check_options(action: Action, options: dict[str, Any], where: str) -> None:
    names, how = _NEEDED.get(action, ((), "all"))
    given = [name in options for name in names]
    fits = {"all": all(given), "one": any(given), "only one": sum(given) == 1}
    if given and not fits[how]:
        word = " and ".join(names) if how == "all" else " or ".join(names)
        both = ", and not both" if how == "only one" and all(given) else ""
        raise InvalidInputError(f"{where}: it must have {word}{both}")


def _check_target(made: Ruleset, where: str) -> None:
    """Is there somebody whom each grade can be about?"""
    select = made.against.select if made.against else made.select
    acting = [grade.action for grade in made.grades if grade.action not in {"event", "webhook"}]
    if select.host and acting:
        raise InvalidInputError(
            f"{where}: {acting[0]} cannot be about the whole host; say against whom it is"
        )
    unfit = {"raise", "restart"} if select.cgroup else {"restart"} if select.whole else set()
    for action in acting:
        if action in unfit:
            whom = "containers" if action == "restart" else "containers and whole groups"
            raise InvalidInputError(f"{where}: {action} is for {whom} alone")
