"""Which boot of the machine this is: what the kernel numbers begins anew with each."""

from __future__ import annotations


def boot_id() -> str:
    """Raises OSError where /proc is not there."""
    with open("/proc/sys/kernel/random/boot_id", encoding="ascii") as file:
        return file.read().strip()
