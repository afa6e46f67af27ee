"""Write the dashboards: ``python -m grafana.generate``."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

from grafana_foundation_sdk.cog.encoder import JSONEncoder

from grafana.boards import BOARDS

if TYPE_CHECKING:
    from grafana.panels import Board

DIRECTORY = Path(__file__).parent / "dashboards"
_OF_INTERVALS = ("auto", "auto_count", "auto_min")
"""What the builders put into every variable; in the schema only those of intervals have it."""


def texts() -> dict[str, str]:
    """The dashboards' files and what is in them."""
    return {f"{b.uid}.json": json.dumps(_document(b), indent=2) + "\n" for b in BOARDS}


def _document(board: Board) -> dict[str, Any]:
    text = JSONEncoder(sort_keys=True).encode(board.build().build())
    document: dict[str, Any] = json.loads(text)
    for variable in document["templating"]["list"]:
        for name in _OF_INTERVALS:
            variable.pop(name, None)
    for place, panel in enumerate(document["panels"], 1):
        panel["id"] = place
    return document


if __name__ == "__main__":
    DIRECTORY.mkdir(exist_ok=True)
    for name, text in texts().items():
        (DIRECTORY / name).write_text(text)
