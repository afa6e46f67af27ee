"""A program that needs next to nothing of the kernel: it writes a text, may wait, and exits.

Made by hand, for x86-64: no dynamic loader and no C library, so a filter of system calls may allow
nothing but the calls that stand here.
"""

from __future__ import annotations

import struct
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from pathlib import Path

CALLS: Final = ["execve", "write", "pause", "exit"]
_BASE: Final = 0x400000
_HEADERS: Final = 64 + 56
_X86_64: Final = 62


def write(path: Path, text: str, *, wait: bool = False) -> None:
    """Make the program at `path`; with `wait` it stays until a signal ends it."""
    path.write_bytes(_elf(text.encode(), wait=wait))
    path.chmod(0o755)


def profile(action: str) -> dict[str, object]:
    """A filter that lets the program be executed and run, and does `action` to all else."""
    return {
        "defaultAction": action,
        "architectures": ["SCMP_ARCH_X86_64"],
        "syscalls": [{"names": CALLS, "action": "SCMP_ACT_ALLOW"}],
    }


def _elf(text: bytes, *, wait: bool) -> bytes:
    code = _code(text, wait=wait)
    size = _HEADERS + len(code) + len(text)
    ident = b"\x7fELF\x02\x01\x01"
    start = _BASE + _HEADERS
    header = struct.pack(
        "<16sHHIQQQIHHHHHH", ident, 2, _X86_64, 1, start, 64, 0, 0, 64, 56, 1, 0, 0, 0
    )
    segment = struct.pack("<IIQQQQQQ", 1, 5, 0, _BASE, _BASE, size, size, 0x1000)
    return header + segment + code + text


def _code(text: bytes, *, wait: bool) -> bytes:
    pause = b"\xb8\x22\x00\x00\x00\x0f\x05" if wait else b""  # mov eax, 34; syscall
    end = b"\xb8\x3c\x00\x00\x00\x31\xff\x0f\x05"  # mov eax, 60; xor edi, edi; syscall
    to_text = struct.pack("<I", 7 + len(pause) + len(end))
    return (
        b"\xb8\x01\x00\x00\x00\xbf\x01\x00\x00\x00"  # mov eax, 1; mov edi, 1
        + (b"\x48\x8d\x35" + to_text)  # lea rsi, [rip + to_text]
        + (b"\xba" + struct.pack("<I", len(text)))  # mov edx, the length
        + (b"\x0f\x05" + pause + end)
    )
