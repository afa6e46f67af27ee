"""What the agent tells of itself and of the machine, as prometheus-client's families."""

from __future__ import annotations

from typing import TYPE_CHECKING

from prometheus_client.metrics_core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from cgagent import __version__
from cgagent.loopwatch import WATCH
from cgagent.metrics.groups import families
from cgagent.metrics.host import cpu_topology, machine_ids

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping

    from cgagent.metrics.groups import GroupStanding
    from cgagent.metrics.sampler import Sampler
    from cgagent.metrics.samples import HostSample, PolicyCounts, SamplerState


class Own(Collector):
    """The machine, the sampler and the agent's process, as last sampled."""

    def __init__(
        self,
        sampler: Sampler,
        events_dropped: Callable[[], int],
        clients_cut_off: Callable[[], int],
        *,
        volume_bytes: Callable[[], Mapping[str, int]],
        network_drops: Callable[[], Mapping[str, tuple[int, int]]],
        policies: Callable[[], PolicyCounts],
        groups: Callable[[], Iterable[GroupStanding]],
    ) -> None:
        self._sampler = sampler
        self._policies = policies
        self._groups = groups
        self._network_drops = network_drops
        self._volume_bytes = volume_bytes
        self._events_dropped = events_dropped
        self._clients_cut_off = clients_cut_off

    def collect(self) -> Iterator[Metric]:
        yield _build()
        yield GaugeMetricFamily(
            "cgagent_event_loop_blocked_seconds",
            "The longest time of the last minute or two in which the agent answered nobody, in "
            "seconds (cgagent's event loop)",
            value=WATCH.longest_s(),
        )
        yield from _sampler(self._sampler.state())
        yield CounterMetricFamily(
            "cgagent_events_dropped",
            "Events that a reader was too slow to get (cgagent's count)",
            value=self._events_dropped(),
        )
        yield CounterMetricFamily(
            "cgagent_attached_clients_cut_off",
            "Attached clients that were cut off because they did not read (cgagent's count)",
            value=self._clients_cut_off(),
        )
        yield from _volumes(self._volume_bytes())
        yield from _drops(self._network_drops())
        yield from _of_policies(self._policies())
        yield from families(self._groups())
        machine = self._sampler.machine()
        if machine:
            yield from _machine(machine)
            yield from _process(machine)


def _build() -> Metric:
    build = GaugeMetricFamily(
        "cgagent_build_info", "1, with the agent's version (cgagent)", labels=("version",)
    )
    build.add_metric((__version__,), 1)
    return build


def _volumes(volume_bytes: Mapping[str, int]) -> Iterator[Metric]:
    if volume_bytes:
        sizes = GaugeMetricFamily(
            "cgagent_volume_size_bytes",
            "Disk space of a volume, in bytes; counted each minute, or less often where that "
            "takes long (st_blocks of its files)",
            labels=("volume",),
        )
        for name, used in volume_bytes.items():
            sizes.add_metric((name,), used)
        yield sizes


def _drops(by_rule: Mapping[str, tuple[int, int]]) -> Iterator[Metric]:
    """`by_rule`: packets and bytes."""
    for place, unit in enumerate(("packets", "bytes") if by_rule else ()):
        dropped = CounterMetricFamily(
            f"cgagent_network_dropped_{unit}",
            f"{unit.capitalize()} that the rules of containers' networks have dropped (nf_tables)",
            labels=("rule",),
        )
        for rule, counts in by_rule.items():
            dropped.add_metric((rule,), counts[place])
        yield dropped


def _of_policies(counts: PolicyCounts) -> Iterator[Metric]:
    decisions = CounterMetricFamily(
        "cgagent_policy_decisions",
        "Decisions of policies that were carried out, by action (cgagent's count)",
        labels=("policy", "action"),
    )
    for names, number in sorted(counts.decisions.items()):
        decisions.add_metric(names, number)
    in_force = GaugeMetricFamily(
        "cgagent_policy_in_force",
        "Grades of a policy that are in force: overrides of limits, and freezes (cgagent's count)",
        labels=("policy",),
    )
    for name, number in counts.in_force.items():
        in_force.add_metric((name,), number)
    yield decisions
    yield in_force
    yield CounterMetricFamily(
        "cgagent_reclaimed_bytes",
        "Memory that policies have had given back, in bytes (memory.force_empty; memory.reclaim)",
        value=counts.reclaimed_bytes,
    )


def _sampler(state: SamplerState) -> Iterator[Metric]:
    own = "cgagent's sampler"
    for name, text, count in (
        ("ticks", "Rounds of sampling", state.ticks),
        ("samples", "Readings of a container or group, in all rounds", state.samples),
        ("missed_ticks", "Rounds left out because an earlier one was late", state.missed_ticks),
        ("failures", "Readings that failed", state.failures),
    ):
        yield CounterMetricFamily(f"cgagent_sampler_{name}", f"{text} ({own})", value=count)
    for name, text, seconds in (
        ("lag", "How late the last round began, in seconds", state.lag_s),
        ("duration", "How long the last round took, in seconds", state.duration_s),
    ):
        yield GaugeMetricFamily(f"cgagent_sampler_{name}_seconds", f"{text} ({own})", value=seconds)
    yield GaugeMetricFamily(
        "container_scrape_error",
        f"1 if a reading failed in the last round, else 0 ({own})",
        value=int(state.failed),
    )


def _machine(machine: HostSample) -> Iterator[Metric]:
    cores, sockets = cpu_topology()
    for name, text, value in (
        ("machine_cpu_cores", "CPUs of the machine (/proc/cpuinfo)", machine.cpu_cores),
        ("machine_cpu_physical_cores", "Cores of the machine (/proc/cpuinfo)", cores),
        (
            "machine_cpu_sockets",
            "Sockets of the machine (/sys/devices/system/cpu/cpu*/topology)",
            sockets,
        ),
        (
            "machine_memory_bytes",
            "Memory of the machine, in bytes (/proc/meminfo MemTotal)",
            machine.memory_total_bytes,
        ),
        (
            "machine_swap_bytes",
            "Swap of the machine, in bytes (/proc/meminfo SwapTotal)",
            machine.swap_total_bytes,
        ),
        (
            "cgagent_host_memory_available_bytes",
            "Memory that can be had without swapping, in bytes (/proc/meminfo MemAvailable)",
            machine.memory_available_bytes,
        ),
        (
            "cgagent_host_swap_free_bytes",
            "Swap not in use, in bytes (/proc/meminfo SwapFree)",
            machine.swap_free_bytes,
        ),
    ):
        ids = machine_ids() if name.startswith("machine_") else {}
        figure = GaugeMetricFamily(name, text, labels=tuple(ids))
        figure.add_metric(tuple(ids.values()), value)
        yield figure
    cpu = CounterMetricFamily(
        "cgagent_host_cpu_seconds",
        "CPU time of the machine by mode, in seconds (/proc/stat)",
        labels=("mode",),
    )
    for mode, seconds in machine.cpu_seconds.items():
        cpu.add_metric((mode,), seconds)
    yield cpu
    for minutes, load in zip((1, 5, 15), machine.load, strict=True):
        yield GaugeMetricFamily(
            f"cgagent_host_load{minutes}",
            f"Load average over {minutes} min, in tasks (/proc/loadavg)",
            value=load,
        )


def _process(machine: HostSample) -> Iterator[Metric]:
    yield CounterMetricFamily(
        "process_cpu_seconds",
        "CPU time used by the agent, in seconds (/proc/self/stat)",
        value=machine.agent_cpu_seconds,
    )
    yield GaugeMetricFamily(
        "process_resident_memory_bytes",
        "Resident memory of the agent, in bytes (/proc/self/statm)",
        value=machine.agent_resident_bytes,
    )
    yield GaugeMetricFamily(
        "process_open_fds",
        "File descriptors of the agent (/proc/self/fd)",
        value=machine.agent_open_fds,
    )
    yield GaugeMetricFamily(
        "process_start_time_seconds",
        "When the agent started, in seconds since 1970 (/proc/self/stat)",
        value=machine.agent_started_at_s,
    )
