"""Memory given back to the host before anybody needs it, on v1 and v2."""

from __future__ import annotations

import errno
import os
from typing import TYPE_CHECKING, Final

from cgagent.cgroups import files
from cgagent.errors import NotFoundError, UnsupportedError

if TYPE_CHECKING:
    from cgagent.cgroups.memory import MemoryV1, MemoryV2

_NOT_ALL: Final = frozenset({errno.EAGAIN, errno.EBUSY, errno.EINTR})
"""Less could be reclaimed than was asked for."""


def reclaim(
    memory: MemoryV1 | MemoryV2 | None, path: str, amount_bytes: int, *, may_swap: bool
) -> int:
    """As `Group.reclaim`, of the group `path`."""
    before = memory.current_bytes() if memory else None
    if memory is None or before is None:
        raise UnsupportedError(f"cgroup {path}: it has no memory controller to reclaim by")
    try:
        memory.give_back(amount_bytes, may_swap=may_swap)
    except FileNotFoundError:
        if not os.path.isdir(memory.directory):
            raise NotFoundError(f"cgroup {path}: it does not exist") from None
        raise UnsupportedError(
            f"cgroup {path}: this kernel has no memory.reclaim (Linux 5.19)"
        ) from None
    except OSError as error:
        if error.errno not in _NOT_ALL:
            raise files.failure(f"cgroup {path}: memory is not reclaimed", error) from None
    return max(before - (memory.current_bytes() or 0), 0)
