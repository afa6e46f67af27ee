"""Say how much of the engine the unit tests have run, and fail where that is too little.

Reads what ``coverage run`` has left in the file that COVERAGE_FILE names.
"""

from __future__ import annotations

import io
import sys
from typing import Final

import coverage

_FOLDER: Final = "cgagent/engine"
_AT_LEAST: Final = 70
"""Percent of its statements and branches."""


def main() -> None:
    measured = coverage.Coverage()
    measured.load()
    percent = measured.report(file=io.StringIO())
    print(f"unit tests cover {percent:.0f} % of {_FOLDER}")
    if percent < _AT_LEAST:
        sys.exit(
            f"unit tests cover {percent:.1f} % of {_FOLDER}, which is less than {_AT_LEAST} %: see "
            "what is missing by 'coverage run -m pytest tests/unit/engine; coverage report -m'"
        )


if __name__ == "__main__":
    main()
