"""Which rulesets there are: those of the settings' files, and those that were added by requests."""

from __future__ import annotations

import json
import logging
import time
from typing import TYPE_CHECKING, Any, Final

from cgagent.engine.policies import files
from cgagent.engine.policies.running import Running
from cgagent.errors import ConflictError, InvalidInputError, NotFoundError
from cgagent.policy.rulesets.parse import rulesets as parse
from cgagent.store.policies import RulesetRow

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping
    from pathlib import Path

    from cgagent.policy.rulesets.model import Ruleset
    from cgagent.store.policies import PolicyRows

log = logging.getLogger(__name__)

_MOST: Final = 200


class Catalogue:
    def __init__(self, rows: PolicyRows, directory: Path, parent: str) -> None:
        """`directory` has the files of the settings, or is one; `parent` the containers' groups.

        Raises:
            InvalidInputError, ConflictError: a file of the settings has a mistake.
        """
        self._rows = rows
        self._directory = directory
        self._parent = parent
        self._all = self.found()

    def found(self) -> dict[str, Running]:
        """All that there are now, in the database and in files; those of files count more.

        Raises:
            InvalidInputError, ConflictError: a file of the settings has a mistake.
        """
        found: dict[str, Running] = {}
        for row in self._rows.rulesets():
            table = json.loads(row.document)
            try:
                (rules,) = parse({"ruleset": [table]}, "database", self._parent)
            except InvalidInputError as e:  # another version of the agent took it
                log.error("policy %s is not at work; add it anew: %s", row.name, e.message)  # noqa: TRY400
                continue
            found[rules.name] = _running(rules, table, "", row.created_ns)
        for origin, document in files.read(self._directory):
            for rules, table in self.parsed(document, origin):
                known = found.get(rules.name)
                if known is not None and known.origin:
                    raise ConflictError(
                        f"policy {rules.name} is in {known.origin} and in {origin}; rename one"
                    )
                found[rules.name] = _running(rules, table, origin, time.time_ns())
        return found

    def differing(self, found: Mapping[str, Running]) -> list[str]:
        """Names of those that are not at work as they are `found`."""
        names = sorted(self._all.keys() | found.keys())
        return [n for n in names if _what(self._all.get(n)) != _what(found.get(n))]

    def take(self, found: Iterable[Running]) -> None:
        """Have them at work, in the place of those of the same names."""
        self._all.update({one.rules.name: one for one in found})

    def __iter__(self) -> Iterator[Running]:
        return iter([one for _, one in sorted(self._all.items())])  # also in metrics' thread

    def __len__(self) -> int:
        return len(self._all)

    def find(self, name: str) -> Running | None:
        return self._all.get(name)

    def get(self, name: str) -> Running:
        """Raises NotFoundError."""
        found = self._all.get(name)
        if found is None:
            raise NotFoundError(f"policy {name!r} does not exist; see cgagent policy ls")
        return found

    def parsed(self, document: Any, origin: str) -> list[tuple[Ruleset, dict[str, Any]]]:
        """Each ruleset of a document, with its table. Raises InvalidInputError."""
        found = parse(document, origin, self._parent)
        return list(zip(found, document["ruleset"], strict=True))

    def require_free(self, names: Iterable[str], *, replace: bool) -> None:
        """Raises ConflictError: there is one of a name already, or there would be too many."""
        for name in names:
            known = self._all.get(name)
            if known is not None and known.origin:
                raise ConflictError(f"policy {name} is in {known.origin}; change it there")
            if known is not None and not replace:
                raise ConflictError(f"policy {name} exists already; give --replace")
        if len(self._all.keys() | set(names)) > _MOST:
            raise ConflictError(f"there are {_MOST} policies already; remove some")

    def keep(self, new: list[tuple[Ruleset, dict[str, Any]]]) -> None:
        """For the next agent; `put` has them at work."""
        now_ns = time.time_ns()
        self._rows.put(
            [
                RulesetRow(name=rules.name, document=json.dumps(table), created_ns=now_ns)
                for rules, table in new
            ]
        )

    def put(self, new: list[tuple[Ruleset, dict[str, Any]]]) -> list[Running]:
        now_ns = time.time_ns()
        made = [_running(rules, table, "", now_ns) for rules, table in new]
        self.take(made)
        return made

    def withdraw(self, name: str) -> None:
        """It is at work no more; `forget` takes its row."""
        self._all.pop(name, None)

    def forget(self, name: str) -> None:
        self._rows.delete(name)


def _what(running: Running | None) -> tuple[str, dict[str, Any]] | None:
    return None if running is None else (running.origin, running.table)


def _running(rules: Ruleset, table: dict[str, Any], origin: str, created_ns: int) -> Running:
    return Running(rules=rules, table=table, origin=origin, created_ns=created_ns)
