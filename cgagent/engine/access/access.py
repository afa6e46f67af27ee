"""Access as a whole: who is let in, by which rule, and what is told of it."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

from cgagent.engine.access import policy
from cgagent.engine.access.audit import Audit
from cgagent.engine.access.tokens import Tokens
from cgagent.errors import InvalidInputError
from cgagent.store.tokens import TokenRows

if TYPE_CHECKING:
    from cgagent.config import Settings
    from cgagent.engine.access.caller import Caller
    from cgagent.engine.access.policy import Rule
    from cgagent.store.database import Database

log = logging.getLogger(__name__)


class Access:
    def __init__(self, settings: Settings, database: Database) -> None:
        """Raises InvalidInputError: the policy cannot be used."""
        self.tokens = Tokens(TokenRows(database))
        self.audit = Audit(settings.data_root / "audit.log")
        self._path = settings.access_policy
        self._required = settings.access_policy != type(settings)().access_policy
        self._policy = policy.load(self._path, required=self._required)

    def rule_for(self, caller: Caller) -> Rule:
        """Raises DeniedError: the policy has none for them."""
        return self._policy.rule_for(caller)

    def reload(self) -> None:
        """Read the policy again; one that cannot be used leaves the last one in force."""
        try:
            self._policy = policy.load(self._path, required=self._policy.rules is not None)
        except InvalidInputError as e:
            log.error("the access policy of before stays in force: %s", e.message)  # noqa: TRY400
