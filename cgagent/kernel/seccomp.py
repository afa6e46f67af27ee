"""System call filters: an OCI ``linux.seccomp`` object compiled by libseccomp, and loaded.

The agent compiles, once for each distinct object. The container's first process only loads the
finished program, so the supervisor needs no library.
"""

from __future__ import annotations

import ctypes
import errno
import os
import struct
from typing import TYPE_CHECKING, Any, Final

from cgagent.errors import InvalidInputError, UnsupportedError
from cgagent.kernel import libc

if TYPE_CHECKING:
    from collections.abc import Iterable

_SYS_seccomp: Final = 317 if libc.is_x86() else 277
_SECCOMP_SET_MODE_FILTER: Final = 1
_INSTRUCTION_BYTES: Final = 8

_VALUELESS: Final = {
    "SCMP_ACT_KILL": 0x00000000,
    "SCMP_ACT_KILL_THREAD": 0x00000000,
    "SCMP_ACT_KILL_PROCESS": 0x80000000,
    "SCMP_ACT_TRAP": 0x00030000,
    "SCMP_ACT_LOG": 0x7FFC0000,
    "SCMP_ACT_ALLOW": 0x7FFF0000,
}
_WITH_VALUE: Final = {"SCMP_ACT_ERRNO": 0x00050000, "SCMP_ACT_TRACE": 0x7FF00000}
ACTIONS: Final = (*_VALUELESS, *_WITH_VALUE)
FLAGS: Final = {
    "SECCOMP_FILTER_FLAG_TSYNC": 1,
    "SECCOMP_FILTER_FLAG_LOG": 2,
    "SECCOMP_FILTER_FLAG_SPEC_ALLOW": 4,
}
OPERATORS: Final = {
    "SCMP_CMP_NE": 1,
    "SCMP_CMP_LT": 2,
    "SCMP_CMP_LE": 3,
    "SCMP_CMP_EQ": 4,
    "SCMP_CMP_GE": 5,
    "SCMP_CMP_GT": 6,
    "SCMP_CMP_MASKED_EQ": 7,
}
_FLTATR_CTL_NNP: Final = 3
_FLTATR_CTL_OPTIMIZE: Final = 8
_BINARY_TREE: Final = 2
_NR_ERROR: Final = -1

# Classic BPF, of linux/bpf_common.h; offsets in struct seccomp_data.
_LOAD: Final = 0x20
_JUMP_IF_EQUAL: Final = 0x15
_JUMP_IF_GREATER: Final = 0x25
_JUMP_IF_ANY_BIT: Final = 0x45
_RETURN: Final = 0x06
_NUMBER_AT: Final = 0
_ARCHITECTURE_AT: Final = 4
_AUDIT_ARCHITECTURE: Final = 0xC000003E if libc.is_x86() else 0xC00000B7
_X32_BIT: Final = 0x40000000


class _Comparison(ctypes.Structure):
    """``struct scmp_arg_cmp`` of seccomp.h."""

    _fields_ = [
        ("arg", ctypes.c_uint),
        ("op", ctypes.c_int),
        ("datum_a", ctypes.c_uint64),
        ("datum_b", ctypes.c_uint64),
    ]


class _Program(ctypes.Structure):
    """``struct sock_fprog`` of linux/filter.h."""

    _fields_ = [("length", ctypes.c_ushort), ("filter", ctypes.c_void_p)]


def load(program: bytes, flags: int = 0) -> None:
    """Filter this process's system calls from now on. Needs no_new_privs or CAP_SYS_ADMIN."""
    buffer = ctypes.create_string_buffer(program, len(program))
    description = _Program(len(program) // _INSTRUCTION_BYTES, ctypes.addressof(buffer))
    libc.syscall(_SYS_seccomp, _SECCOMP_SET_MODE_FILTER, flags, ctypes.byref(description))


def flags_of(config: dict[str, Any] | None) -> int:
    """What an OCI seccomp object has as flags of seccomp(2).

    Raises:
        UnsupportedError: one that needs a listener, or is not known.
    """
    flags = 0
    for name in (config or {}).get("flags") or ():
        if name not in FLAGS:
            raise UnsupportedError(f"seccomp: flag {name!r} is not supported")
        flags |= FLAGS[name]
    return flags


def compile_filter(config: dict[str, Any]) -> bytes:
    """The BPF program of an OCI seccomp object. System calls unknown to libseccomp are left out.

    Raises:
        InvalidInputError: an action or operator that the specification does not have.
        UnsupportedError: libseccomp is missing, or it refuses a rule.
    """
    library = _library()
    default = _action(config["defaultAction"], config.get("defaultErrnoRet"))
    context = library.seccomp_init(default)
    if not context:
        raise UnsupportedError("seccomp: libseccomp refuses the default action")
    try:
        _checked(library.seccomp_attr_set(context, _FLTATR_CTL_NNP, 0), "no_new_privs")
        # a tree of comparisons instead of a list: 8 instead of 300 for each system call
        library.seccomp_attr_set(context, _FLTATR_CTL_OPTIMIZE, _BINARY_TREE)
        for name in config.get("architectures") or ():
            _add_architecture(library, context, name)
        rules = config.get("syscalls") or ()
        for rule in rules:
            _add_rule(library, context, rule, default)
        program = _exported(library, context)
        denies = config["defaultAction"] == "SCMP_ACT_ERRNO"
        return _newer_are_missing(library, rules) + program if denies else program
    finally:
        library.seccomp_release(context)


def _library() -> Any:
    try:
        library = ctypes.CDLL("libseccomp.so.2")
    except OSError:
        raise UnsupportedError(
            "seccomp: libseccomp is not installed; install it (Debian: libseccomp2)"
        ) from None
    library.seccomp_init.argtypes = [ctypes.c_uint32]
    library.seccomp_init.restype = ctypes.c_void_p
    library.seccomp_release.argtypes = [ctypes.c_void_p]
    library.seccomp_release.restype = None
    library.seccomp_attr_set.argtypes = [ctypes.c_void_p, ctypes.c_int, ctypes.c_uint32]
    library.seccomp_arch_resolve_name.argtypes = [ctypes.c_char_p]
    library.seccomp_arch_resolve_name.restype = ctypes.c_uint32
    library.seccomp_arch_add.argtypes = [ctypes.c_void_p, ctypes.c_uint32]
    library.seccomp_syscall_resolve_name.argtypes = [ctypes.c_char_p]
    library.seccomp_rule_add_array.argtypes = [
        *(ctypes.c_void_p, ctypes.c_uint32, ctypes.c_int, ctypes.c_uint),
        ctypes.POINTER(_Comparison),
    ]
    library.seccomp_export_bpf.argtypes = [ctypes.c_void_p, ctypes.c_int]
    return library


def _checked(result: int, what: str) -> None:
    if result < 0:
        raise UnsupportedError(f"seccomp: {what}: {os.strerror(-result).lower()}")


def _action(name: str, value: int | None) -> int:
    if name in _WITH_VALUE:
        return _WITH_VALUE[name] | (errno.EPERM if value is None else value)
    if name == "SCMP_ACT_NOTIFY":
        raise UnsupportedError("seccomp: SCMP_ACT_NOTIFY and its listener are not supported")
    if name not in _VALUELESS:
        raise InvalidInputError(f"seccomp: action {name!r} is not known")
    if value is not None:
        raise InvalidInputError(f"seccomp: action {name} returns no errno; leave errnoRet out")
    return _VALUELESS[name]


def _add_architecture(library: Any, context: int, name: str) -> None:
    short = name.removeprefix("SCMP_ARCH_").lower()
    token = library.seccomp_arch_resolve_name(short.encode())
    if not token:
        raise InvalidInputError(f"seccomp: architecture {name!r} is not known")
    result = library.seccomp_arch_add(context, token)
    if result != -errno.EEXIST:
        _checked(result, f"architecture {name}")


def _add_rule(library: Any, context: int, rule: dict[str, Any], default: int) -> None:
    action = _action(rule["action"], rule.get("errnoRet"))
    if not rule.get("names"):
        raise InvalidInputError("seccomp: a rule names no system call")
    if action == default:
        return
    comparisons = [
        _Comparison(
            arg=c["index"],
            op=_operator(c["op"]),
            datum_a=c["value"],
            datum_b=c.get("valueTwo", 0),
        )
        for c in rule.get("args") or ()
    ]
    array = (_Comparison * len(comparisons))(*comparisons)
    for name in rule["names"]:
        number = library.seccomp_syscall_resolve_name(name.encode())
        if number != _NR_ERROR:
            result = library.seccomp_rule_add_array(
                context, action, number, len(comparisons), array
            )
            if result != -errno.EEXIST:  # two rules that say the same
                _checked(result, f"rule for {name}")


def _newer_are_missing(library: Any, rules: Iterable[dict[str, Any]]) -> bytes:
    """The beginning of a program: calls newer than all that the rules name do not exist.

    A profile cannot have meant to deny what it does not know; and C libraries fall back to an
    older call on ENOSYS, not on EPERM. Of the machine's own architecture, as runc does it.
    """
    names = (name for rule in rules for name in rule["names"])
    numbers = (library.seccomp_syscall_resolve_name(n.encode()) for n in names)
    newest = max(numbers, default=_NR_ERROR)
    if newest < 0:
        return b""
    missing = _WITH_VALUE["SCMP_ACT_ERRNO"] | errno.ENOSYS
    instructions = (  # code, jumps if true and if false, operand
        (_LOAD, 0, 0, _ARCHITECTURE_AT),
        (_JUMP_IF_EQUAL, 0, 4, _AUDIT_ARCHITECTURE),  # another one: to the program itself
        (_LOAD, 0, 0, _NUMBER_AT),
        (_JUMP_IF_ANY_BIT, 2, 0, _X32_BIT),
        (_JUMP_IF_GREATER, 0, 1, newest),
        (_RETURN, 0, 0, missing),
    )
    return b"".join(struct.pack("=HBBI", *i) for i in instructions)


def _operator(name: str) -> int:
    if name not in OPERATORS:
        raise InvalidInputError(f"seccomp: operator {name!r} is not known")
    return OPERATORS[name]


def _exported(library: Any, context: int) -> bytes:
    with open(os.memfd_create("seccomp"), "w+b") as file:
        _checked(library.seccomp_export_bpf(context, file.fileno()), "export")
        file.seek(0)
        return file.read()
