"""``--init``: a small init as the container's first process, which reaps and passes signals on.

The host's tini, bound read-only into the container where Docker puts it. It must be statically
linked, for the container may have no C library, or another.
"""

from __future__ import annotations

import os
import shutil
from typing import Final

from cgagent.errors import UnsupportedError
from cgagent.runtime.spec import MountPoint

_NAMES: Final = ("docker-init", "tini-static")
_PATH: Final = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/usr/libexec/docker"
_DESTINATION: Final = "/sbin/docker-init"

WRAPPER: Final = (_DESTINATION, "--")
"""What comes before the command."""


def find() -> str:
    """The host's program.

    Raises:
        UnsupportedError: there is none.
    """
    for name in _NAMES:
        found = shutil.which(name, path=_PATH)
        if found:
            return os.path.realpath(found)
    raise UnsupportedError(
        "--init: neither docker-init nor tini-static is on this host; "
        "install one (Debian: apt-get install tini)"
    )


def mount_point() -> MountPoint:
    options = ("bind", "rprivate", "ro")
    return MountPoint(destination=_DESTINATION, type="bind", source=find(), options=options)
