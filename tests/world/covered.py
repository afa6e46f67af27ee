"""Say how much of the code the unit tests have run, and fail where the engine's share is too small.

Reads what ``coverage run`` has left in the file that COVERAGE_FILE names.
"""

from __future__ import annotations

import io
import sys
from typing import Final

import coverage

_AT_LEAST: Final = {"cgagent": 0, "cgagent/engine": 70}
"""Percent of the statements and branches of each folder; the last line is in the summary."""


def main() -> None:
    measured = coverage.Coverage()
    measured.load()
    for folder, least in _AT_LEAST.items():
        percent = measured.report(include=f"{folder}/*", file=io.StringIO())
        print(f"unit tests cover {percent:.0f} % of {folder}")
        if percent < least:
            sys.exit(
                f"unit tests cover {percent:.1f} % of {folder}, which is less than {least} %: see "
                "what is missing by 'coverage run -m pytest tests/unit; coverage report -m'"
            )


if __name__ == "__main__":
    main()
