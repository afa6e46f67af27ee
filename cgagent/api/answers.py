"""JSON answers, which may name what is not UTF-8: a cgroup, a file."""

from __future__ import annotations

import json
from typing import Any

from starlette.responses import JSONResponse


class Json(JSONResponse):
    """In ASCII: UTF-8 has no bytes for the lone surrogates such a name is told with (PEP 383)."""

    def render(self, content: Any) -> bytes:
        return json.dumps(content, separators=(",", ":")).encode("ascii")
