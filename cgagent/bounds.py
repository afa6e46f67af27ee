"""How much one request may ask for, where each member is work for the agent or the kernel.

The words of a command and the variables of its environment are no such work.
"""

from __future__ import annotations

from typing import Final

from annotated_types import MaxLen

MOST: Final = 1000
BOUNDED: Final = MaxLen(MOST)
