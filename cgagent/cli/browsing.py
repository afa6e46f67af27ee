"""Opening an address in the browser of whoever sits at this machine."""

from __future__ import annotations

import contextlib
import html
import os
import subprocess
import sys
import tempfile

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, Final

_PREFIX: Final = "cgagent-ui-"
_OPEN: Final = "import sys, webbrowser; sys.exit(not webbrowser.open(sys.argv[1]))"
_BEGUN_S: Final = 3.0


def has_display() -> bool:
    """Somebody looks at this machine's own screen; one that ssh forwards is too slow for a page."""
    names = ("WAYLAND_DISPLAY", "DISPLAY")
    return any(map(os.environ.get, names)) and "SSH_CONNECTION" not in os.environ


def open_link(link: str) -> bool:
    """Have it opened; whether there was a browser for that.

    The link has a token, and command lines are everybody's to see: the browser is given a file that
    leads there, which its user alone may read. Under sudo it is opened as the user who called that.
    """
    user = int(os.environ.get("SUDO_UID", os.geteuid()))
    place = _written(link, user)
    command = [sys.executable, "-I", "-c", _OPEN, f"file://{place}"]
    try:
        child = subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
            **_as(user),
        )
        return child.wait(_BEGUN_S) == 0
    except subprocess.TimeoutExpired:
        return True  # it is the browser itself by now
    except OSError:
        return False


def _written(link: str, user: int) -> str:
    """A page that leads to the link; earlier ones of the same user are removed."""
    folder = tempfile.gettempdir()
    for entry in os.scandir(folder):
        if entry.name.startswith(_PREFIX) and entry.stat(follow_symlinks=False).st_uid == user:
            with contextlib.suppress(FileNotFoundError):
                os.unlink(entry.path)
    made, path = tempfile.mkstemp(".html", _PREFIX, folder)
    with os.fdopen(made, "w") as file:
        file.write(
            f'<!doctype html><meta http-equiv="refresh" content="0; url={html.escape(link)}">'
            "<title>cgagent</title>\n"
        )
        if user != os.geteuid():
            os.fchown(file.fileno(), user, -1)
    return path


def _as(user: int) -> dict[str, Any]:
    if user == os.geteuid():
        return {}
    import pwd

    entry = pwd.getpwuid(user)
    groups = os.getgrouplist(entry.pw_name, entry.pw_gid)
    own = {"HOME": entry.pw_dir, "USER": entry.pw_name, "XDG_RUNTIME_DIR": f"/run/user/{user}"}
    return {
        "user": user,
        "group": entry.pw_gid,
        "extra_groups": groups,
        "env": {**os.environ, **own},
    }
