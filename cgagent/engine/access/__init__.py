"""Who may change what: callers, their tokens, the policy file, and the log of changes."""

from cgagent.engine.access.access import Access
from cgagent.engine.access.asking import Asking, asking, current
from cgagent.engine.access.caller import Caller, Scope, includes

__all__ = ["Access", "Asking", "Caller", "Scope", "asking", "current", "includes"]
