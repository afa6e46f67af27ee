"""Mount options as the OCI configuration and mount(8) spell them, told apart by what takes them.

Pure: words in, flags out. What is no word of ours is the file system's own option.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from cgagent.kernel import mount as km

if TYPE_CHECKING:
    from collections.abc import Iterable

_SET: Final = {
    "ro": km.MS_RDONLY,
    "nosuid": km.MS_NOSUID,
    "nodev": km.MS_NODEV,
    "noexec": km.MS_NOEXEC,
    "sync": km.MS_SYNCHRONOUS,
    "dirsync": km.MS_DIRSYNC,
    "remount": km.MS_REMOUNT,
    "mand": km.MS_MANDLOCK,
    "noatime": km.MS_NOATIME,
    "nodiratime": km.MS_NODIRATIME,
    "relatime": km.MS_RELATIME,
    "strictatime": km.MS_STRICTATIME,
    "nosymfollow": km.MS_NOSYMFOLLOW,
    "iversion": km.MS_I_VERSION,
    "lazytime": km.MS_LAZYTIME,
    "silent": km.MS_SILENT,
    "bind": km.MS_BIND,
    "rbind": km.MS_BIND | km.MS_REC,
}
_CLEAR: Final = {
    "rw": km.MS_RDONLY,
    "suid": km.MS_NOSUID,
    "dev": km.MS_NODEV,
    "exec": km.MS_NOEXEC,
    "async": km.MS_SYNCHRONOUS,
    "nomand": km.MS_MANDLOCK,
    "atime": km.MS_NOATIME,
    "diratime": km.MS_NODIRATIME,
    "norelatime": km.MS_RELATIME,
    "nostrictatime": km.MS_STRICTATIME,
    "symfollow": km.MS_NOSYMFOLLOW,
    "noiversion": km.MS_I_VERSION,
    "nolazytime": km.MS_LAZYTIME,
    "loud": km.MS_SILENT,
    "defaults": 0,
}
PROPAGATION: Final = {
    "private": km.MS_PRIVATE,
    "rprivate": km.MS_PRIVATE | km.MS_REC,
    "slave": km.MS_SLAVE,
    "rslave": km.MS_SLAVE | km.MS_REC,
    "shared": km.MS_SHARED,
    "rshared": km.MS_SHARED | km.MS_REC,
    "unbindable": km.MS_UNBINDABLE,
    "runbindable": km.MS_UNBINDABLE | km.MS_REC,
}
# With everything mounted below: (attributes set, attributes cleared).
_RECURSIVE: Final = {
    "rro": (km.MOUNT_ATTR_RDONLY, 0),
    "rrw": (0, km.MOUNT_ATTR_RDONLY),
    "rnosuid": (km.MOUNT_ATTR_NOSUID, 0),
    "rsuid": (0, km.MOUNT_ATTR_NOSUID),
    "rnodev": (km.MOUNT_ATTR_NODEV, 0),
    "rdev": (0, km.MOUNT_ATTR_NODEV),
    "rnoexec": (km.MOUNT_ATTR_NOEXEC, 0),
    "rexec": (0, km.MOUNT_ATTR_NOEXEC),
    "rnodiratime": (km.MOUNT_ATTR_NODIRATIME, 0),
    "rdiratime": (0, km.MOUNT_ATTR_NODIRATIME),
    "rnosymfollow": (km.MOUNT_ATTR_NOSYMFOLLOW, 0),
    "rsymfollow": (0, km.MOUNT_ATTR_NOSYMFOLLOW),
    "rrelatime": (km.MOUNT_ATTR_RELATIME, km.MOUNT_ATTR_ATIME),
    "rnoatime": (km.MOUNT_ATTR_NOATIME, km.MOUNT_ATTR_ATIME),
    "rstrictatime": (km.MOUNT_ATTR_STRICTATIME, km.MOUNT_ATTR_ATIME),
    "ratime": (km.MOUNT_ATTR_RELATIME, km.MOUNT_ATTR_ATIME),
    "rnorelatime": (km.MOUNT_ATTR_STRICTATIME, km.MOUNT_ATTR_ATIME),
    "rnostrictatime": (km.MOUNT_ATTR_RELATIME, km.MOUNT_ATTR_ATIME),
}
# What a bind mount takes in a call of its own, as attributes of the mount.
_PER_MOUNT: Final = {
    km.MS_RDONLY: km.MOUNT_ATTR_RDONLY,
    km.MS_NOSUID: km.MOUNT_ATTR_NOSUID,
    km.MS_NODEV: km.MOUNT_ATTR_NODEV,
    km.MS_NOEXEC: km.MOUNT_ATTR_NOEXEC,
    km.MS_NODIRATIME: km.MOUNT_ATTR_NODIRATIME,
    km.MS_NOSYMFOLLOW: km.MOUNT_ATTR_NOSYMFOLLOW,
}
_ATIME: Final = {
    km.MS_RELATIME: km.MOUNT_ATTR_RELATIME,
    km.MS_NOATIME: km.MOUNT_ATTR_NOATIME,
    km.MS_STRICTATIME: km.MOUNT_ATTR_STRICTATIME,
}
_COPY_UP: Final = "tmpcopyup"
_ID_MAPPED: Final = frozenset({"idmap", "ridmap"})


@dataclass(frozen=True, slots=True)
class Attributes:
    """What mount_setattr(2) sets and clears."""

    set: int = 0
    clear: int = 0

    def __bool__(self) -> bool:
        return bool(self.set or self.clear)

    def then(self, set_: int, clear: int) -> Attributes:
        """These and later ones, of which the later win: the kernel clears first, then sets."""
        return Attributes(self.set & ~clear | set_, self.clear | clear)


@dataclass(frozen=True, slots=True)
class Options:
    """An entry's options."""

    flags: int = 0
    """Of mount(2)."""
    cleared: int = 0
    """Flags that were asked to be off."""
    recursive: Attributes = Attributes()
    """For the mount and all mounts below it."""
    propagation: tuple[int, ...] = ()
    data: str = ""
    """The file system's own."""
    copy_up: bool = False
    """A tmpfs starts with what the directory below has."""
    id_mapped: str = ""
    """Show other ids than the file system has: ``idmap``; ``ridmap`` for the mounts below too."""

    @classmethod
    def parse(cls, words: Iterable[str]) -> Options:
        flags, cleared, recursive = 0, 0, Attributes()
        propagation, data = [], []
        copy_up, id_mapped = False, ""
        for word in words:
            if word in _SET:
                flags, cleared = flags | _SET[word], cleared & ~_SET[word]
            elif word in _CLEAR:
                flags, cleared = flags & ~_CLEAR[word], cleared | _CLEAR[word]
            elif word in PROPAGATION:
                propagation.append(PROPAGATION[word])
            elif word in _RECURSIVE:
                recursive = recursive.then(*_RECURSIVE[word])
            elif word in _ID_MAPPED:
                id_mapped = word
            elif word == _COPY_UP:
                copy_up = True
            else:
                data.append(word)
        joined = ",".join(data)
        return cls(flags, cleared, recursive, tuple(propagation), joined, copy_up, id_mapped)

    @property
    def attributes(self) -> Attributes:
        """The flags of a bind mount, which are attributes of that mount alone."""
        set_ = sum(a for f, a in _PER_MOUNT.items() if self.flags & f)
        clear = sum(a for f, a in _PER_MOUNT.items() if self.cleared & f)
        if (self.flags | self.cleared) & sum(_ATIME):
            clear |= km.MOUNT_ATTR_ATIME
            set_ |= next((a for f, a in reversed(_ATIME.items()) if self.flags & f), 0)
        return Attributes(set_, clear)


def names() -> tuple[str, ...]:
    """Every option known here, for `cgagent oci features`."""
    known = (*_SET, *_CLEAR, *PROPAGATION, *_RECURSIVE, *_ID_MAPPED, _COPY_UP)
    return tuple(sorted(known))
