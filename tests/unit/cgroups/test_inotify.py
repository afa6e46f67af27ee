"""A file that is watched again while its last watch is being removed."""

import threading
from types import SimpleNamespace

from cgagent.cgroups.inotify import MODIFY, Inotify


def test_a_watch_that_is_on_its_way_out_is_not_taken_for_a_new_one(tmp_path):
    """The kernel gives the old number again as long as that watch is there."""
    file = tmp_path / "events"
    file.touch()
    inotify = Inotify()
    number, libc, added = inotify.add(str(file), MODIFY), inotify._libc, threading.Event()
    removed = threading.Event()

    def add(*arguments):
        found = libc.inotify_add_watch(*arguments)
        added.set()
        removed.wait(0.1)  # and for the remover to take note, if it can
        return found

    def remove(*arguments):
        added.wait(5)
        return libc.inotify_rm_watch(*arguments)

    inotify._libc = SimpleNamespace(inotify_add_watch=add, inotify_rm_watch=remove)
    inotify.remove(number)
    again = inotify.add(str(file), MODIFY)
    file.write_text("x")
    assert again in {notice.watch for notice in inotify.read() if notice.mask & MODIFY}
    inotify.close()
