"""The default filter of system calls: what a container may ask the kernel for.

Everything not named is refused with EPERM. What is left out loads kernel code, changes the
machine (clocks, swap, mounts, modules), reaches other processes or NUMA policy, or has had
more holes than users (io_uring, userfaultfd, bpf, keyrings). The same in effect as Docker's.
"""

from __future__ import annotations

import functools
import os
from typing import Any, Final

from cgagent.runtime.seccomp import profile_file as seccomp_file

DEFAULT: Final = "default"
UNCONFINED: Final = "unconfined"

_NEW_NAMESPACES: Final = 0x7E020000
"""Every CLONE_NEW* flag of clone(2) and unshare(2)."""
_AF_ALG: Final = 38
_AF_VSOCK: Final = 40
_ENOSYS: Final = 38
_PERSONALITIES: Final = (0x0, 0x8, 0x20000, 0x20008, 0xFFFFFFFF)

_ARCHITECTURES: Final = {
    "x86_64": ["SCMP_ARCH_X86_64", "SCMP_ARCH_X86", "SCMP_ARCH_X32"],
    "aarch64": ["SCMP_ARCH_AARCH64", "SCMP_ARCH_ARM"],
}

# Of all architectures; a name that a machine does not have is no rule there.
ALLOWED: Final = """
    _llseek _newselect accept accept4 access adjtimex alarm
    arch_prctl arm_fadvise64_64 arm_sync_file_range bind breakpoint brk
    cacheflush cachestat capget capset chdir chmod chown chown32
    clock_getres clock_getres_time64 clock_gettime clock_gettime64
    clock_nanosleep clock_nanosleep_time64 close close_range connect
    copy_file_range creat dup dup2 dup3 epoll_create epoll_create1
    epoll_ctl epoll_pwait epoll_pwait2 epoll_wait eventfd eventfd2
    execve execveat exit exit_group faccessat faccessat2 fadvise64
    fadvise64_64 fallocate fanotify_mark fchdir fchmod fchmodat
    fchmodat2 fchown fchown32 fchownat fcntl fcntl64 fdatasync
    fgetxattr flistxattr flock fork fremovexattr fsetxattr fstat
    fstat64 fstatat64 fstatfs fstatfs64 fsync ftruncate ftruncate64
    futex futex_requeue futex_time64 futex_wait futex_waitv futex_wake
    futimesat get_robust_list get_thread_area getcpu getcwd getdents
    getdents64 getegid getegid32 geteuid geteuid32 getgid getgid32
    getgroups getgroups32 getitimer getpeername getpgid getpgrp
    getpid getppid getpriority getrandom getresgid getresgid32
    getresuid getresuid32 getrlimit getrusage getsid getsockname
    getsockopt gettid gettimeofday getuid getuid32 getxattr
    getxattrat inotify_add_watch inotify_init inotify_init1
    inotify_rm_watch io_cancel io_destroy io_getevents io_pgetevents
    io_pgetevents_time64 io_setup io_submit ioctl ioprio_get ioprio_set
    ipc kill landlock_add_rule landlock_create_ruleset
    landlock_restrict_self lchown lchown32 lgetxattr link linkat
    listen listmount listxattr listxattrat llistxattr lremovexattr
    lseek lsetxattr lsm_get_self_attr lsm_list_modules lsm_set_self_attr
    lstat lstat64 madvise map_shadow_stack membarrier memfd_create
    memfd_secret mincore mkdir mkdirat mknod mknodat mlock mlock2
    mlockall mmap mmap2 modify_ldt mprotect mq_getsetattr mq_notify
    mq_open mq_timedreceive mq_timedreceive_time64 mq_timedsend
    mq_timedsend_time64 mq_unlink mremap mseal msgctl msgget msgrcv
    msgsnd msync munlock munlockall munmap name_to_handle_at
    nanosleep newfstatat nice oldfstat open openat openat2 pause
    pidfd_open pidfd_send_signal pipe pipe2 pkey_alloc pkey_free
    pkey_mprotect poll ppoll ppoll_time64 prctl pread64 preadv
    preadv2 prlimit64 process_mrelease pselect6 pselect6_time64
    pwrite64 pwritev pwritev2 read readahead readlink readlinkat
    readv recv recvfrom recvmmsg recvmmsg_time64 recvmsg
    remap_file_pages removexattr removexattrat rename renameat
    renameat2 restart_syscall rmdir rseq rt_sigaction rt_sigpending
    rt_sigprocmask rt_sigqueueinfo rt_sigreturn rt_sigsuspend
    rt_sigtimedwait rt_sigtimedwait_time64 rt_tgsigqueueinfo
    sched_get_priority_max sched_get_priority_min sched_getaffinity
    sched_getattr sched_getparam sched_getscheduler sched_rr_get_interval
    sched_rr_get_interval_time64 sched_setaffinity sched_setattr
    sched_setparam sched_setscheduler sched_yield seccomp select semctl
    semget semop semtimedop semtimedop_time64 send sendfile
    sendfile64 sendmmsg sendmsg sendto set_robust_list set_thread_area
    set_tid_address set_tls setfsgid setfsgid32 setfsuid setfsuid32
    setgid setgid32 setgroups setgroups32 setitimer setpgid
    setpriority setregid setregid32 setresgid setresgid32 setresuid
    setresuid32 setreuid setreuid32 setrlimit setsid setsockopt
    setuid setuid32 setxattr setxattrat shmat shmctl shmdt shmget
    shutdown sigaction sigaltstack signal signalfd signalfd4
    sigpending sigprocmask sigreturn sigsuspend socketcall socketpair
    splice stat stat64 statfs statfs64 statmount statx symlink
    symlinkat sync sync_file_range sync_file_range2 syncfs sysinfo
    tee tgkill time timer_create timer_delete timer_getoverrun
    timer_gettime timer_gettime64 timer_settime timer_settime64
    timerfd_create timerfd_gettime timerfd_gettime64 timerfd_settime
    timerfd_settime64 times tkill truncate truncate64 ugetrlimit
    umask uname unlink unlinkat uretprobe utime utimensat
    utimensat_time64 utimes vfork vmsplice wait4 waitid waitpid
    write writev
""".split()  # noqa: SIM905 - a text of names reads better than 350 quoted strings

BY_CAPABILITY: Final = {
    "CAP_DAC_READ_SEARCH": ("open_by_handle_at",),
    "CAP_SYS_ADMIN": (
        *("bpf", "clone", "clone3", "fanotify_init", "fsconfig", "fsmount", "fsopen", "fspick"),
        *("lookup_dcookie", "mount", "mount_setattr", "move_mount", "open_tree"),
        *("perf_event_open", "quotactl", "quotactl_fd", "setdomainname", "sethostname", "setns"),
        *("syslog", "umount", "umount2", "unshare"),
    ),
    "CAP_SYS_BOOT": ("reboot",),
    "CAP_SYS_CHROOT": ("chroot",),
    "CAP_SYS_MODULE": ("delete_module", "finit_module", "init_module"),
    "CAP_SYS_PACCT": ("acct",),
    "CAP_SYS_PTRACE": (
        *("kcmp", "pidfd_getfd", "process_madvise", "process_vm_readv", "process_vm_writev"),
        "ptrace",
    ),
    "CAP_SYS_RAWIO": ("ioperm", "iopl"),
    "CAP_SYS_TIME": ("clock_adjtime", "clock_settime", "settimeofday", "stime"),
    "CAP_SYS_TTY_CONFIG": ("vhangup",),
    "CAP_SYS_NICE": ("get_mempolicy", "mbind", "set_mempolicy", "set_mempolicy_home_node"),
    "CAP_SYSLOG": ("syslog",),
    "CAP_BPF": ("bpf",),
    "CAP_PERFMON": ("perf_event_open",),
}


def _compare(index: int, op: str, value: int, second: int = 0) -> dict[str, Any]:
    return {"index": index, "op": f"SCMP_CMP_{op}", "value": value, "valueTwo": second}


def _allow(*names: str, args: tuple[dict[str, Any], ...] = ()) -> dict[str, Any]:
    return {"names": list(names), "action": "SCMP_ACT_ALLOW", "args": list(args)}


@functools.lru_cache(maxsize=16)
def profile(choice: str, capabilities: tuple[str, ...]) -> dict[str, Any] | None:
    """The OCI object of `DEFAULT`, `UNCONFINED` (None) or a profile file's text; not to be changed.

    Raises:
        InvalidInputError: the text is no profile.
    """
    if choice == UNCONFINED:
        return None
    if choice == DEFAULT:
        return default_profile(capabilities)
    return seccomp_file.resolve(choice, capabilities)


def default_profile(capabilities: tuple[str, ...]) -> dict[str, Any]:
    """The OCI ``linux.seccomp`` object for a process with these capabilities."""
    by_capability = [n for c in capabilities for n in BY_CAPABILITY.get(c, ())]
    rules = [
        _allow(*ALLOWED),
        *(_allow("personality", args=(_compare(0, "EQ", p),)) for p in _PERSONALITIES),
        # every address family but two, whose code is large and hardly ever wanted
        _allow("socket", args=(_compare(0, "LT", _AF_ALG),)),
        _allow("socket", args=(_compare(0, "EQ", _AF_ALG + 1),)),
        _allow("socket", args=(_compare(0, "GT", _AF_VSOCK),)),
        # since kernel 4.8 ptrace cannot get round a filter
        _allow("ptrace", "process_vm_readv", "process_vm_writev"),
    ]
    if "CAP_SYS_ADMIN" not in capabilities:
        no_namespaces = _compare(0, "MASKED_EQ", _NEW_NAMESPACES, 0)
        rules.append(_allow("clone", args=(no_namespaces,)))
        # its flags are in memory, where a filter cannot look; the C library falls back to clone
        rules.append({"names": ["clone3"], "action": "SCMP_ACT_ERRNO", "errnoRet": _ENOSYS})
    if by_capability:
        rules.append(_allow(*dict.fromkeys(by_capability)))
    return {
        "defaultAction": "SCMP_ACT_ERRNO",
        "defaultErrnoRet": 1,
        "architectures": _ARCHITECTURES.get(os.uname().machine, []),
        "syscalls": rules,
    }
