"""The filter of an ordinary container: no process of it gets a namespace of its own."""

import subprocess
import sys

import pytest

from cgagent.kernel import libc, namespaces

PROGRAM = """
import ctypes, errno, os, sys
from cgagent.kernel import capabilities, seccomp
from cgagent.runtime.seccomp.default import default_profile
from cgagent.runtime.spec.defaults import CAPABILITIES
raw = ctypes.CDLL(None, use_errno=True)
program = seccomp.compile_filter(default_profile(CAPABILITIES))
capabilities.no_new_privileges()
seccomp.load(program)
number, flags = (int(word) for word in sys.argv[1:])
pid = raw.syscall(number, ctypes.c_long(flags), 0, 0, 0, 0)
if pid == 0:
    os._exit(0)
print(errno.errorcode[ctypes.get_errno()] if pid < 0 else "made")
"""
CLONE = 56 if libc.is_x86() else 220
SIGCHLD = 17


@pytest.mark.parametrize(
    ("flags", "seen"),
    [
        (SIGCHLD, "made"),
        (SIGCHLD | namespaces.CLONE_NEWUSER, "EPERM"),
        (SIGCHLD | namespaces.CLONE_NEWUSER | namespaces.CLONE_NEWNS, "EPERM"),
        (SIGCHLD | namespaces.CLONE_NEWCGROUP, "EPERM"),
    ],
)
def test_clone_makes_no_namespace(flags, seen):
    """Not even a user namespace, which needs no capability (CVE-2022-0492)."""
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM, str(CLONE), str(flags)],
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.stdout.strip(), done.stderr) == (seen, "")
