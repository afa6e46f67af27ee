"""Versions of the API: which are accepted, and all that differs between them.

Source: docs/CHANGELOG.md of github.com/moby/moby/api.
"""

from __future__ import annotations

import re
from typing import Final

from cgagent.api.docker.errors import RefusedError

Version = tuple[int, int]

NEWEST: Final[Version] = (1, 57)
OLDEST: Final[Version] = (1, 24)
_TOLERATED: Final[Version] = (1, 22)
"""Debian 12's skopeo asks for this one, of which it needs nothing that has changed since."""

_PREFIX: Final = re.compile(r"/v(\d{1,4})\.(\d{1,4})(?=/|$)")


def text(version: Version) -> str:
    return f"{version[0]}.{version[1]}"


def split(path: str) -> tuple[Version, str]:
    """The version of a path's prefix, the newest where there is none, and the rest of the path.

    Raises:
        RefusedError: a version that is not spoken here.
    """
    match = _PREFIX.match(path)
    if match is None:
        return NEWEST, path
    asked = int(match[1]), int(match[2])
    if asked > NEWEST:
        raise RefusedError(
            400,
            f"client version {text(asked)} is too new. "
            f"Maximum supported API version is {text(NEWEST)}",
        )
    if asked < _TOLERATED:
        raise RefusedError(
            400,
            f"client version {text(asked)} is too old. Minimum supported API version is "
            f"{text(OLDEST)}, please upgrade your client to a newer version",
        )
    return asked, path[match.end() :] or "/"


def is_versioned(path: str) -> bool:
    return _PREFIX.match(path) is not None


def tells_frames(version: Version) -> bool:
    """Whether the type of a stream's content says if it has frames."""
    return version >= (1, 42)


def has_binary_messages(version: Version) -> bool:
    """Attached by a websocket; text before."""
    return version >= (1, 28)


def chooses_websocket_streams(version: Version) -> bool:
    """``stdin``, ``stdout`` and ``stderr`` of a websocket; all of them before."""
    return version >= (1, 42)


def has_old_event_fields(version: Version) -> bool:
    """``status``, ``id`` and ``from``."""
    return version < (1, 52)


def tells_restarts(version: Version) -> bool:
    """``restarting`` in the event of an end that a restart follows."""
    return version >= (1, 57)


def takes_umask(version: Version) -> bool:
    return version >= (1, 56)


def updates_devices(version: Version) -> bool:
    """An update changes the limits of block devices; before it passed them over."""
    return version >= (1, 55)


def has_old_network_settings(version: Version) -> bool:
    """The default network's address and gateway, beside those of each network."""
    return version < (1, 52)


def has_empty_image_fields(version: Version) -> bool:
    """Fields of an image that are not set are empty, and not left out."""
    return version < (1, 52)


def has_old_disk_usage(version: Version) -> bool:
    """``Images``, ``Containers``, ``Volumes`` and ``BuildCache`` as lists."""
    return version < (1, 53)


def has_new_disk_usage(version: Version) -> bool:
    return version >= (1, 52)


def takes_container_mac(version: Version) -> bool:
    """``MacAddress`` of a container's configuration is its first network's."""
    return version < (1, 52)


def has_virtual_size(version: Version) -> bool:
    """``VirtualSize`` of images, which is their size."""
    return version < (1, 44)


def has_health_in_list(version: Version) -> bool:
    return version >= (1, 52)


def has_network_status(version: Version) -> bool:
    """How many addresses a network has given away."""
    return version >= (1, 52)
