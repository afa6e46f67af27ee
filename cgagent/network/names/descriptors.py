"""Descriptors of the names process: half of what it may have is kept for what the agent sends.

Strangers open the others: connections, queries that go on, relayed ports. Without a bound below the
process's own they could keep it from taking the sockets of the next container.
"""

from __future__ import annotations

import resource
from contextlib import contextmanager
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator


def share() -> int:
    """From now on half of the hard limit is all there is, outside of `every`. Returns that."""
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most // 2, most))
    return most // 2


@contextmanager
def every() -> Iterator[None]:
    """The other half may be used meanwhile."""
    shared, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (shared, most))
