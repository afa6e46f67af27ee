"""Write the dashboards: ``python -m grafana.generate``."""

from __future__ import annotations

from pathlib import Path

from grafana_foundation_sdk.cog.encoder import JSONEncoder

from grafana.boards import BOARDS

DIRECTORY = Path(__file__).parent / "dashboards"


def texts() -> dict[str, str]:
    """The dashboards' files and what is in them."""
    encoder = JSONEncoder(sort_keys=True, indent=2)
    return {f"{b.uid}.json": encoder.encode(b.build().build()) + "\n" for b in BOARDS}


if __name__ == "__main__":
    DIRECTORY.mkdir(exist_ok=True)
    for name, text in texts().items():
        (DIRECTORY / name).write_text(text)
