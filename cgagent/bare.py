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
    "import importlib, sys; paths = sys.argv[1].split(':'); sys.path[:0] = paths[:1]; "
    "sys.path += paths[1:]; name = sys.argv[2]; del sys.argv[1:3]; "
    "importlib.import_module(name).main()"
)


def command(module: str, *arguments: str, packages: tuple[str, ...] = ()) -> list[str]:
    """The command line that calls ``main()`` of a module, which finds `arguments` in sys.argv.

    `packages` are those of others that it imports: the directories they are in are searched last.
    """
    paths = ":".join((_PATH, *dict.fromkeys(map(_directory, packages))))
    return [sys.executable, "-I", "-S", "-c", _PROGRAM, paths, module, *arguments]


def _directory(package: str) -> str:
    from importlib.util import find_spec  # not on a command's way

    found = find_spec(package)
    if found is None or found.origin is None:
        raise ModuleNotFoundError(f"package {package} is not installed")
    return os.path.dirname(os.path.dirname(found.origin))
