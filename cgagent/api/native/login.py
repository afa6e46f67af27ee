"""The header by which Docker's clients say who they are at a registry."""

from __future__ import annotations

from typing import Annotated

from fastapi import Header

Login = Annotated[
    str | None,
    Header(
        description="base64url of a JSON object: username and password, identitytoken or "
        "registrytoken. It is used for this request and not kept.",
        max_length=64 * 1024,
    ),
]
