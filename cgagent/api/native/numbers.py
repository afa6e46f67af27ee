"""Numbers of a query or a body: finite, and as large as what they are counted in can be."""

from __future__ import annotations

from typing import Annotated, Final

from pydantic import Field

_CENTURY_S: Final = 100 * 365 * 86400
_INT64: Final = 2**63 - 1

Seconds = Annotated[float, Field(ge=0, le=_CENTURY_S, allow_inf_nan=False)]
SomeSeconds = Annotated[float, Field(gt=0, le=_CENTURY_S, allow_inf_nan=False)]
"""More than none."""
Nanoseconds = Annotated[int, Field(ge=0, le=_INT64)]
