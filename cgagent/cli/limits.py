"""The flags for limits, docker's spellings and the kernel's, and what they become in a request."""

from __future__ import annotations

from cgagent.errors import InvalidInputError
from cgagent.units import parse_rate, parse_size

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from cgagent.cli.flags import Flags, Namespace


def add_flags(parser: Flags) -> None:
    add = parser.group("limits")
    add("-m", "--memory", metavar="SIZE", help="memory limit, such as 256m")
    add("--memory-swap", metavar="SIZE", help="memory and swap together; -1: unlimited swap")
    add("--memory-swap-max", metavar="SIZE", help="swap alone")
    add("--memory-reservation", "--memory-low", metavar="SIZE", help="protected while it is short")
    add("--memory-high", metavar="SIZE", help="throttle and reclaim above this (v2)")
    add("--memory-min", metavar="SIZE", help="never reclaimed (v2)")
    add("--memory-zswap-max", metavar="SIZE", help="compressed swap in memory (v2)")
    add("--memory-swappiness", type=int, metavar="N", help="0 to 100 (v1)")
    add("--oom-group", action="store_true", default=None, help="OOM kills all tasks (v2)")
    add("--oom-kill-disable", action="store_true", default=None, help="wait instead (v1)")
    add("--cpus", metavar="N", help="CPUs' worth of time, such as 0.5")
    add("--cpu-quota", metavar="US", help="CPU time in each period, microseconds; -1: no limit")
    add("--cpu-period", type=int, metavar="US", help="the period, microseconds")
    add("--cpu-burst", type=int, metavar="US", help="unused quota that may be kept")
    add("--cpu-idle", action="store_true", default=None, help="run only when nothing else does")
    add("--cpu-rt-period", type=int, metavar="US", help="realtime period (v1)")
    add("--cpu-rt-runtime", metavar="US", help="realtime time in each period (v1)")
    add("-c", "--cpu-shares", type=int, metavar="N", help="relative weight, 2 to 262144")
    add("--cpu-weight", type=int, metavar="N", help="relative weight, 1 to 10000")
    add("--cpuset-cpus", metavar="LIST", help="CPUs to run on, such as 0-2,5")
    add("--cpuset-mems", metavar="LIST", help="memory nodes to use")
    add("--pids-limit", metavar="N", help="number of tasks; -1: no limit")
    add("--blkio-weight", type=int, metavar="N", help="relative IO weight, 10 to 1000")
    add("--io-weight", type=int, metavar="N", help="relative IO weight, 1 to 10000")
    add("--hugetlb", action="append", default=[], metavar="SIZE:LIMIT", help="such as 2MB:64m")
    rate = "bits a second, such as 50m or 1gbit; 0: no limit"
    add("--net-rate-in", metavar="RATE", help=f"to each network interface: {rate}")
    add("--net-rate-out", metavar="RATE", help=f"from each network interface: {rate}")
    add("--net-priority", type=int, metavar="N", help="of what it sends, in the host's queues")
    add(
        "--cgroup-conf",
        action="append",
        default=[],
        metavar="FILE=VALUE",
        help="any other file of a controller, such as misc.max='sev 5'",
    )
    for flag in ("oom_group", "oom_kill_disable", "cpu_idle"):
        spelled = flag.replace("_", "-")
        what = f"the contrary of --{spelled}"
        add(f"--no-{spelled}", action="store_false", dest=flag, default=None, help=what)
    for flag, what in (
        ("--blkio-weight-device", "relative IO weight of a device, 10 to 1000"),
        ("--io-latency", "latency to keep for a device, such as /dev/sda:10ms (v2)"),
    ):
        add(flag, action="append", default=[], metavar="PATH:VALUE", help=what)
    for flag, what in (
        ("--device-read-bps", "bytes a second read from a device"),
        ("--device-write-bps", "bytes a second written to a device"),
        ("--device-read-iops", "reads a second from a device"),
        ("--device-write-iops", "writes a second to a device"),
    ):
        add(flag, action="append", default=[], metavar="PATH:RATE", help=what)


def add_force(parser: Flags) -> None:
    """Add ``--force`` of an update: the memory limit is not reached in steps."""
    parser.add_argument(
        "--force",
        action="store_true",
        help="set a memory limit below what is used at once, even if the kernel kills for it",
    )


def request(args: Namespace) -> dict[str, Any]:
    """The ``limits`` object of a request; only what was given. 0 is docker's for: not given.

    It stays a value where it is the kernel's own limit of nothing: swap, compressed swap, and
    huge pages.

    Raises:
        InvalidInputError: a value that is no size, number or device.
    """
    values: dict[str, Any] = {
        "memory_max_bytes": _size(args.memory, "--memory"),
        "memory_swap_max_bytes": _size(args.memory_swap_max, "--memory-swap-max"),
        "memory_low_bytes": _size(args.memory_reservation, "--memory-reservation"),
        "memory_high_bytes": _size(args.memory_high, "--memory-high"),
        "memory_min_bytes": _size(args.memory_min, "--memory-min"),
        "memory_swap_bytes": -1
        if args.memory_swap == "-1"
        else _size(args.memory_swap, "--memory-swap"),
        "memory_swappiness": args.memory_swappiness,
        "oom_group": args.oom_group,
        "cpus": cpus(args.cpus),
        "cpu_quota_us": _count(args.cpu_quota, "--cpu-quota"),
        "cpu_period_us": args.cpu_period,
        "cpu_burst_us": args.cpu_burst,
        "cpu_idle": args.cpu_idle,
        "cpu_shares": args.cpu_shares,
        "cpu_weight": args.cpu_weight,
        "cpuset_cpus": args.cpuset_cpus,
        "cpuset_mems": args.cpuset_mems,
        "pids_max": _count(args.pids_limit, "--pids-limit"),
        "blkio_weight": args.blkio_weight,
        "io_weight": args.io_weight,
        "io_max": _io_max(args) or None,
        "memory_zswap_max_bytes": _size(args.memory_zswap_max, "--memory-zswap-max"),
        "oom_kill_disable": args.oom_kill_disable,
        "cpu_rt_period_us": args.cpu_rt_period,
        "cpu_rt_runtime_us": _count(args.cpu_rt_runtime, "--cpu-rt-runtime"),
        "blkio_weight_device": [w for w in map(_weight, args.blkio_weight_device) if w["weight"]]
        or None,
        "io_latency": [_latency(item) for item in args.io_latency] or None,
        "hugetlb_max_bytes": [_hugetlb(item) for item in args.hugetlb] or None,
        "net_rate_in_bits": _rate(args.net_rate_in, "--net-rate-in"),
        "net_rate_out_bits": _rate(args.net_rate_out, "--net-rate-out"),
        "net_priority": args.net_priority,
        "conf": [_conf(item) for item in args.cgroup_conf] or None,
    }
    kept = (
        *("memory_swap_max_bytes", "memory_zswap_max_bytes", "memory_swappiness"),
        "net_priority",
    )
    unset = {n for n, v in values.items() if v == 0 and v is not False and n not in kept}
    if values["memory_swappiness"] == -1:
        unset.add("memory_swappiness")
    return {n: v for n, v in values.items() if v is not None and n not in unset}


def _size(text: str | None, flag: str) -> int | str | None:
    if text is None or text == "max":
        return text
    return parse_size(text, flag)


def _rate(text: str | None, flag: str) -> int | str | None:
    if text is None:
        return None
    if text in {"unlimited", "max", "-1"}:
        return "max"
    return parse_rate(text, flag) or "max"


def _count(text: str | None, flag: str) -> int | str | None:
    if text is None:
        return None
    if text in {"-1", "max"}:
        return "max"
    if not text.isdecimal():
        raise InvalidInputError(f"{flag} {text!r} must be a positive number, or -1 for no limit")
    return int(text)


def cpus(text: str | None) -> float | None:
    if text is None:
        return None
    try:
        value = float(text)
        if not 0 <= value < 1e6:  # noqa: PLR2004 - also refuses nan
            raise ValueError
        return value
    except ValueError:
        raise InvalidInputError(
            f"--cpus {text!r} must be a positive number of CPUs, such as 0.5"
        ) from None


def _split(item: str, flag: str, form: str) -> tuple[str, str]:
    left, separator, right = item.rpartition(":")
    if not separator or not left or not right:
        raise InvalidInputError(f"{flag} {item!r} must be {form}")
    return left, right


def _weight(item: str) -> dict[str, int]:
    flag = "--blkio-weight-device"
    path, weight = _split(item, flag, "PATH:WEIGHT")
    major, minor = _device(path, flag)
    if not weight.isdecimal():
        raise InvalidInputError(f"{flag} {item!r}: the weight must be a number")
    return {"major": major, "minor": minor, "weight": int(weight)}


def _latency(item: str) -> dict[str, int]:
    flag = "--io-latency"
    path, text = _split(item, flag, "PATH:TIME")
    major, minor = _device(path, flag)
    unit = text[len(text.rstrip("abcdefghijklmnopqrstuvwxyz")) :]
    factor = {"": 1, "us": 1, "ms": 1000, "s": 1_000_000}.get(unit)
    number = text.removesuffix(unit)
    if factor is None or not number.isdecimal() or int(number) == 0:
        raise InvalidInputError(f"{flag} {item!r}: the time must be such as 500us or 10ms")
    return {"major": major, "minor": minor, "target_us": int(number) * factor}


def _hugetlb(item: str) -> list[Any]:
    size, limit = _split(item, "--hugetlb", "SIZE:LIMIT")
    return [size, _size(limit, "--hugetlb")]


def _conf(item: str) -> list[str]:
    name, separator, value = item.partition("=")
    if not separator or not name:
        raise InvalidInputError(f"--cgroup-conf {item!r} must be FILE=VALUE")
    return [name, value]


def _io_max(args: Namespace) -> list[dict[str, Any]]:
    devices: dict[tuple[int, int], dict[str, Any]] = {}
    for flag, field, is_size in (
        ("device_read_bps", "rbps", True),
        ("device_write_bps", "wbps", True),
        ("device_read_iops", "riops", False),
        ("device_write_iops", "wiops", False),
    ):
        spelling = "--" + flag.replace("_", "-")
        for item in getattr(args, flag):
            path, rate = _split(item, spelling, "PATH:RATE")
            major, minor = _device(path, spelling)
            entry = devices.setdefault((major, minor), {"major": major, "minor": minor})
            value = parse_size(rate, spelling) if is_size else _count(rate, spelling)
            entry[field] = value or "max"
    return list(devices.values())


def _device(path: str, flag: str) -> tuple[int, int]:
    import os
    import stat

    try:
        status = os.stat(path)
    except OSError as e:
        raise InvalidInputError(f"{flag}: device {path}: {str(e.strerror).lower()}") from None
    if not stat.S_ISBLK(status.st_mode):
        raise InvalidInputError(f"{flag}: {path} is not a block device")
    return os.major(status.st_rdev), os.minor(status.st_rdev)
