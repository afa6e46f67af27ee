"""What is done with groups as a whole, by whom: one value for those who need all of it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from cgagent.engine.groups.directories import GroupDirectories
    from cgagent.engine.groups.ending import GroupEnding
    from cgagent.engine.groups.freezing import GroupFreezing
    from cgagent.engine.groups.holding import GroupHolding
    from cgagent.engine.groups.registry import Groups


@dataclass(frozen=True, slots=True, kw_only=True)
class Whole:
    groups: Groups
    directories: GroupDirectories
    freezing: GroupFreezing
    holding: GroupHolding
    ending: GroupEnding
