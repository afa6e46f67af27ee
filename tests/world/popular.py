"""What Grafana's popular dashboards for cAdvisor ask of containers: names, labels, functions.

Written down from revisions 1 of 14282 and 6 of 19792, and from adapted copies of 193. How a panel
sums and what it is called has no part in whether it has data, so each series is here once for
each function.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Iterator


@dataclass(frozen=True, slots=True)
class Board:
    selector: str
    """What its panels have in braces; CONTAINER, HOST and PROJECT stand for its variables."""
    now: tuple[str, ...]
    rates: tuple[str, ...]
    others: tuple[str, ...] = ()
    """Whole expressions, with SELECTOR for the above."""

    def expressions(self) -> Iterator[str]:
        for series in self.now:
            yield f"max by (name) ({series}{{SELECTOR}})"
        for series in self.rates:
            yield f"max by (name) (rate({series}{{SELECTOR}}[15s]))"
        yield from self.others


_RATE: Final = "max by (name) (rate(container_cpu_{}_seconds_total{{SELECTOR}}[15s]))"
_CPU_CHECK: Final = (
    f"{_RATE.format('usage')} - on (name) "
    f"({_RATE.format('user')} + on (name) {_RATE.format('system')})"
)
_COMPOSE: Final = "container_label_com_docker_compose_project"
_NETWORK: Final = tuple(
    f"container_network_{way}_{what}_total"
    for way in ("receive", "transmit")
    for what in ("bytes", "packets", "errors", "packets_dropped")
)

BOARDS: Final = {
    "193": Board(
        'image!=""',
        now=("container_memory_usage_bytes",),
        rates=("container_cpu_user_seconds_total",),
        others=(
            "count(container_last_seen{SELECTOR})",
            "irate(container_network_receive_bytes_total{SELECTOR}[15s])",
            "irate(container_network_transmit_bytes_total{SELECTOR}[15s])",
        ),
    ),
    "14282": Board(
        'instance=~"HOST",name=~"CONTAINER",name=~".+"',
        now=("container_memory_rss", "container_memory_cache"),
        rates=("container_cpu_usage_seconds_total", *_NETWORK[::4]),
        others=("(time() - container_start_time_seconds{SELECTOR}) / 86400",),
    ),
    "19792": Board(
        f'instance=~"HOST",name=~"CONTAINER",{_COMPOSE}=~"PROJECT"',
        now=(
            *("container_start_time_seconds", "container_last_seen", "container_tasks_state"),
            *("container_cpu_load_average_10s", "container_memory_max_usage_bytes"),
            *("container_memory_usage_bytes", "container_memory_working_set_bytes"),
            *("container_memory_rss", "container_memory_mapped_file", "container_memory_cache"),
            *("container_memory_swap", "container_spec_memory_limit_bytes"),
            "container_spec_memory_reservation_limit_bytes",
            "container_spec_memory_swap_limit_bytes",
            *("container_fs_inodes_free", "container_fs_inodes_total", "container_fs_limit_bytes"),
            "container_fs_io_current",
        ),
        rates=(
            *("container_oom_events_total", "container_cpu_system_seconds_total"),
            *("container_cpu_user_seconds_total", "container_cpu_usage_seconds_total"),
            *("container_cpu_cfs_periods_total", "container_cpu_cfs_throttled_periods_total"),
            *("container_cpu_cfs_throttled_seconds_total", "container_memory_failcnt"),
            *("container_memory_failures_total", *_NETWORK, "container_blkio_device_usage_total"),
            *("container_fs_usage_bytes", "container_fs_io_time_seconds_total"),
            *("container_fs_io_time_weighted_seconds_total", "container_fs_read_seconds_total"),
            *("container_fs_write_seconds_total", "container_fs_sector_reads_total"),
            *("container_fs_sector_writes_total", "container_fs_reads_total"),
            *("container_fs_writes_total", "container_fs_reads_merged_total"),
            "container_fs_writes_merged_total",
        ),
        others=(
            "sum by (state) (container_tasks_state{SELECTOR})",
            "container_scrape_error",
            _CPU_CHECK,
        ),
    ),
}


def expressions(container: str, project: str) -> Iterator[tuple[str, str]]:
    """Each with its dashboard's number, the variables filled in."""
    values = {"HOST": ".+", "CONTAINER": container, "PROJECT": project}
    for number, board in BOARDS.items():
        selector = board.selector
        for variable, value in values.items():
            selector = selector.replace(variable, value)
        for expression in board.expressions():
            yield number, expression.replace("SELECTOR", selector)
