"""Parts of cgagent as programs of their own in a bare interpreter: ``python -I -S``.

Such a program has the standard library and cgagent's own modules alone, reads nothing of the
environment or of a user's site-packages, and starts in 15 ms.
"""

from __future__ import annotations

import os
import sys
from typing import Final

_PATH: Final = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
_PROGRAM: Final = (
    "import importlib, sys; sys.path.insert(0, sys.argv[1]); name = sys.argv[2]; "
    "del sys.argv[1:3]; importlib.import_module(name).main()"
)


def command(module: str, *arguments: str) -> list[str]:
    """The command line that calls ``main()`` of a module, which finds `arguments` in sys.argv."""
    return [sys.executable, "-I", "-S", "-c", _PROGRAM, _PATH, module, *arguments]
