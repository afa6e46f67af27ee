"""Numbers of a query or a body: finite, and as large as what they are counted in can be."""

from __future__ import annotations

from typing import Annotated, Final

from pydantic import Field

_YEAR_S: Final = 366 * 86400
_FREEZE_MOST_S: Final = 600
_INT64: Final = 2**63 - 1

StopSeconds = Annotated[float, Field(ge=-1, le=_YEAR_S, allow_inf_nan=False)]
"""-1: for ever."""
FreezeSeconds = Annotated[float, Field(gt=0, le=_FREEZE_MOST_S, allow_inf_nan=False)]
"""How long a freeze is waited for: the container's lock is held meanwhile."""
LeaseSeconds = Annotated[float, Field(gt=0, le=_YEAR_S, allow_inf_nan=False)]
Nanoseconds = Annotated[int, Field(ge=0, le=_INT64)]
SomeBytes = Annotated[int, Field(gt=0, le=_INT64)]
SomeCpus = Annotated[float, Field(gt=0, allow_inf_nan=False)]
