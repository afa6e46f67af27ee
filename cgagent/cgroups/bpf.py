"""The device program for cgroup2: assembled here, attached with bpf(2).

The kernel runs it at each open and mknod of a device node with a context of three words
(access << 16 | type, major, minor); 0 denies. Numbers: include/uapi/linux/bpf.h. Several
programs may be attached to a group (someone else's too): all of them must allow.
"""

from __future__ import annotations

import ctypes
import errno
import os
import struct
from contextlib import ExitStack
from typing import TYPE_CHECKING, Final

from cgagent.cgroups import files
from cgagent.errors import UnsupportedError

if TYPE_CHECKING:
    from collections.abc import Iterable

    from cgagent.cgroups.device_rule import DeviceRule

NAME: Final = b"cgagent_devices"  # 15 bytes at most; by it we know our own again

_SYSCALL: Final = {"x86_64": 321, "aarch64": 280, "riscv64": 280, "ppc64le": 361, "s390x": 351}
_PROG_LOAD, _PROG_ATTACH = 5, 8
_PROG_GET_FD_BY_ID, _OBJ_GET_INFO_BY_FD, _PROG_QUERY = 13, 15, 16
_PROG_TYPE_CGROUP_DEVICE: Final = 15
_ATTACH_CGROUP_DEVICE: Final = 6
_ALLOW_MULTI, _REPLACE = 2, 4
_MAX_ATTACHED: Final = 64  # BPF_CGROUP_MAX_PROGS
_NAME_OFFSET, _INFO_SIZE = 64, 80  # of struct bpf_prog_info

_TYPES: Final = {"b": 1, "c": 2}
_ACCESS: Final = {"m": 1, "r": 2, "w": 4}
_ALL_ACCESS: Final = 7
_SIZE: Final = 8  # of one instruction

# Registers, as the program uses them: r1 is the context, later scratch.
_R0, _R1, _TYPE, _WANTED, _MAJOR, _MINOR = range(6)


def _op(code: int, dst: int = 0, src: int = 0, offset: int = 0, value: int = 0) -> bytes:
    return struct.pack("=BBhi", code, dst | src << 4, offset, value)


def _load_word(dst: int, offset: int) -> bytes:
    return _op(0x61, dst, _R1, offset)


def _and(dst: int, value: int) -> bytes:
    return _op(0x54, dst, value=value)


def _return(value: int) -> bytes:
    return _op(0xB7, _R0, value=value) + _op(0x95)


_PROLOGUE: Final = b"".join(
    [
        _load_word(_TYPE, 0),
        _and(_TYPE, 0xFFFF),
        _load_word(_WANTED, 0),
        _op(0x74, _WANTED, value=16),  # >>= 16
        _load_word(_MAJOR, 4),
        _load_word(_MINOR, 8),
    ]
)


def assemble(default: bool, exceptions: Iterable[DeviceRule]) -> bytes:
    """The program for exceptions from a default, as `devices.settle` makes them."""
    return _PROLOGUE + b"".join(map(_block, exceptions)) + _return(int(default))


def _block(rule: DeviceRule) -> bytes:
    """Return what the rule says if the request matches, else fall through to the next block.

    An allowing rule must cover all that is wanted, a denying one any of it.
    """
    mask = sum(_ACCESS[letter] for letter in set(rule.access))
    numbers = ((_MAJOR, rule.major), (_MINOR, rule.minor))
    tests = [(_TYPE, _TYPES[rule.kind])]
    tests += [(register, number) for register, number in numbers if number is not None]
    access = b""
    if mask != _ALL_ACCESS:
        miss = _op(0x5D, _R1, _WANTED, offset=2) if rule.allow else _op(0x15, _R1, offset=2)
        access = _op(0xBC, _R1, _WANTED) + _and(_R1, mask) + miss
    end = access + _return(int(rule.allow))
    jumps = [
        # Unequal: over the remaining tests and the end, to the next block.
        _op(0x55, register, offset=len(tests) - at - 1 + len(end) // _SIZE, value=value)
        for at, (register, value) in enumerate(tests)
    ]
    return b"".join(jumps) + end


def attach(directory: str, program: bytes) -> None:
    """Load a program and attach it to a cgroup2 directory, replacing our earlier one.

    Raises:
        DeniedError: no privilege. UnsupportedError: no cgroup programs in this kernel.
    """
    what = f"cgroup {directory}: its devices cannot be restricted"
    try:
        with ExitStack() as stack:
            group = os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
            stack.callback(os.close, group)
            ours = _load(program)
            stack.callback(os.close, ours)
            earlier = _attached(group)
            if earlier is not None:
                stack.callback(os.close, earlier)
            flags = _ALLOW_MULTI if earlier is None else _ALLOW_MULTI | _REPLACE
            _bpf(
                _PROG_ATTACH,
                struct.pack("=5I", group, ours, _ATTACH_CGROUP_DEVICE, flags, earlier or 0),
            )
    except OSError as error:
        advice = "this kernel has no cgroup programs" if error.errno == errno.ENOSYS else ""
        if advice:
            raise UnsupportedError(f"{what}: {advice}") from error
        raise files.failure(what, error) from error


def _load(program: bytes) -> int:
    code = ctypes.create_string_buffer(program, len(program))
    license_ = ctypes.create_string_buffer(b"Apache-2.0")
    attributes = struct.pack(
        "=IIQQIIQII16s",
        _PROG_TYPE_CGROUP_DEVICE,
        len(program) // _SIZE,
        ctypes.addressof(code),
        ctypes.addressof(license_),
        0,
        0,
        0,
        0,
        0,
        NAME,
    )
    return _bpf(_PROG_LOAD, attributes)


def _attached(group: int) -> int | None:
    """A descriptor of the program that we attached to this group before."""
    ids = (ctypes.c_uint32 * _MAX_ATTACHED)()
    query = struct.pack(
        "=4IQI", group, _ATTACH_CGROUP_DEVICE, 0, 0, ctypes.addressof(ids), _MAX_ATTACHED
    )
    _bpf(_PROG_QUERY, query)
    for program_id in filter(None, ids):
        descriptor = _bpf(_PROG_GET_FD_BY_ID, struct.pack("=3I", program_id, 0, 0))
        info = ctypes.create_string_buffer(_INFO_SIZE)
        _bpf(
            _OBJ_GET_INFO_BY_FD,
            struct.pack("=IIQ", descriptor, _INFO_SIZE, ctypes.addressof(info)),
        )
        if info.raw[_NAME_OFFSET : _NAME_OFFSET + 16].rstrip(b"\0") == NAME:
            return descriptor
        os.close(descriptor)
    return None


def _bpf(command: int, attributes: bytes) -> int:
    number = _SYSCALL.get(os.uname().machine)
    if number is None:
        raise UnsupportedError(f"bpf: its number on {os.uname().machine} is not known here")
    libc = ctypes.CDLL(None, use_errno=True)
    buffer = ctypes.create_string_buffer(attributes, len(attributes))
    result = libc.syscall(
        ctypes.c_long(number), ctypes.c_int(command), buffer, ctypes.c_uint(len(attributes))
    )
    if result < 0:
        error = ctypes.get_errno()
        raise OSError(error, os.strerror(error))
    return int(result)
