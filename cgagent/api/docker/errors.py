"""Errors as docker's clients expect them: ``{"message": ...}``."""

from __future__ import annotations

from typing import Final

from cgagent.api.answers import Json
from cgagent.errors import HTTP_STATUS, CgagentError

_STATUS: Final = {
    **HTTP_STATUS,
    "unsupported": 501,
    "remote": 500,
    "deadline": 500,
    "no_space": 500,
}
"""Statuses that docker's API documents; a registry's failure, say, is a plain 500 there."""


class RefusedError(Exception):
    """An answer in docker's own words, which its clients match on."""

    def __init__(self, status: int, message: str) -> None:
        super().__init__(message)
        self.status = status
        self.message = message


def answer(error: CgagentError | RefusedError) -> Json:
    return Json({"message": error.message}, status_of(error))


def status_of(error: CgagentError | RefusedError) -> int:
    return error.status if isinstance(error, RefusedError) else _STATUS[error.kind]
