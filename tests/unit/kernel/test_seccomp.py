import json
import subprocess
import sys

import pytest

PROGRAM = """
import ctypes, errno, json, sys
from cgagent.kernel import capabilities, seccomp
libc = ctypes.CDLL(None, use_errno=True)
program = seccomp.compile_filter(json.loads(sys.argv[1]))
capabilities.no_new_privileges()
seccomp.load(program)
def call(number):
    return errno.errorcode[ctypes.get_errno()] if libc.syscall(number, -1, 0, 0, 0) < 0 else "done"
print(call(439), call(9999))
"""
TO_END = (
    *("openat", "close", "read", "write", "mmap", "munmap", "brk", "exit_group", "futex"),
    *("rt_sigaction", "fstat", "newfstatat", "lseek", "sigaltstack", "ioctl"),
)


@pytest.mark.parametrize(
    ("default", "newest", "seen"),
    [
        # 439 is faccessat2, of Linux 5.8; close_range is 436, openat2 437, mount_setattr 442
        ("SCMP_ACT_ERRNO", "openat2", "ENOSYS ENOSYS"),
        ("SCMP_ACT_ERRNO", "mount_setattr", "EPERM ENOSYS"),
        ("SCMP_ACT_ALLOW", "openat2", "EFAULT ENOSYS"),
    ],
)
def test_calls_newer_than_a_profile_do_not_exist(default, newest, seen):
    """So that a C library falls back to older ones; what a profile can mean is denied."""
    allowed = {"names": [*TO_END, newest], "action": "SCMP_ACT_ALLOW"}
    profile = {"defaultAction": default, "syscalls": [allowed]}
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM, json.dumps(profile)],
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.stdout.strip(), done.stderr) == (seen, "")
