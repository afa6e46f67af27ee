"""Where `cgagent oci` begins, and those of its commands that enter a container begin anew.

A process of ours will be inside the container, which must not be able to write to the host's
interpreter through it (CVE-2019-5736): the interpreter runs again from a read-only copy. So what is
loaded before that is loaded twice, and this module imports next to nothing.
"""

from __future__ import annotations

import os
import sys

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import NoReturn

_ENTERING = frozenset({"create", "run", "exec"})
_AGAIN = (
    "import gc, sys; gc.disable(); sys.path[:] = sys.argv.pop(1).split('\\n'); "
    "from cgagent.oci.main import again; again()"
)


def main(argv: Sequence[str]) -> int:
    """The exit code; errors have been told."""
    failure = None
    if not _ENTERING.isdisjoint(argv):
        try:
            _leave_writable_program(argv)
        except OSError as e:  # told as every other error is
            failure = e
    from cgagent.oci import cli

    return cli.main(argv, failure)


def again() -> NoReturn:
    """From the read-only copy. Taking the interpreter apart at the end would take 13 ms."""
    try:
        code = main(sys.argv[1:])
    except SystemExit as e:  # --help and --version
        code = e.code if isinstance(e.code, int) else 0
    for stream in (sys.stdout, sys.stderr):
        stream.flush()
    os._exit(code)


def _leave_writable_program(argv: Sequence[str]) -> None:
    """Begin anew from a read-only copy of the interpreter, unless this is one."""
    if os.statvfs("/proc/self/exe").f_flag & os.ST_RDONLY:
        return
    from cgagent.kernel import mount

    program = mount.read_only_copy(os.path.realpath("/proc/self/exe"))
    words = [sys.executable, "-IS", "-c", _AGAIN, "\n".join(sys.path), *argv]
    os.execv(mount.fd_path(program), words)  # noqa: S606 - the same program again
