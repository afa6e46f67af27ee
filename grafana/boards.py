"""The five dashboards. Every query is by job and instance; those of a container by its name too."""

from __future__ import annotations

from typing import Final

from grafana.panels import CONTAINERS, INSTANCE, NAME, Board, Graph, Number, Query, Row, Table

TOP: Final = 10


def _rate(metric: str, labels: str = INSTANCE) -> str:
    return f"rate({metric}{{{labels}}}[$__rate_interval])"


def _by_name(expr: str) -> str:
    return f"sum by (instance, name) ({expr})"


def _top(expr: str) -> str:
    return f"topk({TOP}, {_by_name(expr)})"


_NAMED: Final = "{{name}} on {{instance}}"
_GROUPED: Final = "{{group}} on {{instance}}"
_GROUP: Final = "cgagent_group"
_WORKING_SET: Final = f"container_memory_working_set_bytes{{{CONTAINERS}}}"
_THROTTLED: Final = "container_cpu_cfs_throttled_periods_total"
_CPU: Final = 'container_cpu_usage_seconds_total{%s, cpu="total"}'


def _cpu(labels: str) -> str:
    return f"rate({_CPU % labels}[$__rate_interval])"


def _stalls(labels: str, resource: str, kind: str) -> str:
    return _rate(f"container_pressure_{resource}_{kind}_seconds_total", labels)


FLEET: Final = Board(
    "cgagent-fleet",
    "cgagent / Fleet",
    "All hosts that run cgagent: how many containers, what they use, what goes wrong.",
    [
        Row(
            "Now",
            [
                Number(
                    "Hosts",
                    "Agents that Prometheus scrapes and that answer.",
                    "short",
                    f"count(cgagent_build_info{{{INSTANCE}}})",
                ),
                Number(
                    "Running",
                    "Containers and adopted processes that run.",
                    "short",
                    f'sum(cgagent_container_state{{{INSTANCE}, state="running"}})',
                ),
                Number(
                    "Frozen",
                    "Containers held by the freezer.",
                    "short",
                    f'sum(cgagent_container_state{{{INSTANCE}, state="frozen"}})',
                    1,
                ),
                Number(
                    "Exited",
                    "Containers that have ended and were not removed.",
                    "short",
                    f'sum(cgagent_container_state{{{INSTANCE}, state="exited"}})',
                ),
                Number(
                    "OOM kills, 1 h",
                    "Processes ended by the OOM killer in the last hour.",
                    "short",
                    f"sum(increase(container_oom_events_total{{{CONTAINERS}}}[1h]))",
                    1,
                ),
                Number(
                    "Limits adrift",
                    "Limits that the kernel does not hold as they were asked for.",
                    "short",
                    f"sum(cgagent_container_limit_drift{{{INSTANCE}}}) or vector(0)",
                    1,
                ),
            ],
        ),
        Row(
            "Use",
            [
                Graph(
                    "CPU by host",
                    "CPU time a second that all containers of a host use together.",
                    "short",
                    [Query(f"sum by (instance) ({_cpu(CONTAINERS)})", "{{instance}}")],
                ),
                Graph(
                    "Memory by host",
                    "Working set of all containers of a host together.",
                    "bytes",
                    [
                        Query(
                            f"sum by (instance) ({_WORKING_SET})",
                            "{{instance}}",
                        )
                    ],
                ),
                Graph(
                    "Most CPU",
                    f"The {TOP} containers that use most CPU time.",
                    "short",
                    [Query(_top(_cpu(CONTAINERS)), _NAMED)],
                ),
                Graph(
                    "Most memory",
                    f"The {TOP} containers with the largest working set.",
                    "bytes",
                    [Query(_top(f"container_memory_working_set_bytes{{{CONTAINERS}}}"), _NAMED)],
                ),
                Graph(
                    "Most read and written",
                    f"The {TOP} containers that move most bytes from and to disks.",
                    "Bps",
                    [
                        Query(
                            _top(
                                f"{_rate('container_fs_reads_bytes_total', CONTAINERS)} + "
                                f"{_rate('container_fs_writes_bytes_total', CONTAINERS)}"
                            ),
                            _NAMED,
                        )
                    ],
                ),
                Graph(
                    "Most waiting for memory",
                    f"The {TOP} containers with the largest share of time in which some task "
                    "waited for memory.",
                    "percentunit",
                    [Query(_top(_stalls(CONTAINERS, "memory", "waiting")), _NAMED)],
                    warn_at=0.1,
                ),
            ],
        ),
        Row(
            "Groups",
            [
                Graph(
                    "CPU by group",
                    f"The {TOP} groups of containers that use most CPU time, with all in them.",
                    "short",
                    [Query(f"topk({TOP}, {_rate(f'{_GROUP}_cpu_usage_seconds_total')})", _GROUPED)],
                ),
                Graph(
                    "Memory by group",
                    f"The {TOP} groups of containers with the largest working set.",
                    "bytes",
                    [
                        Query(
                            f"topk({TOP}, {_GROUP}_memory_working_set_bytes{{{INSTANCE}}})",
                            _GROUPED,
                        )
                    ],
                ),
                Graph(
                    "Memory of groups by their limits",
                    "Working set by the limit that all in a group share: at 100 % the kernel "
                    "reclaims, and may kill.",
                    "percentunit",
                    [
                        Query(
                            f"topk({TOP}, {_GROUP}_memory_working_set_bytes{{{INSTANCE}}} / "
                            f"{_GROUP}_memory_limit_bytes{{{INSTANCE}}})",
                            _GROUPED,
                        )
                    ],
                    warn_at=0.9,
                ),
                Graph(
                    "Budgets of groups",
                    f"The {TOP} budgets of groups of which most is used in their windows.",
                    "percentunit",
                    [
                        Query(
                            f"topk({TOP}, {_GROUP}_budget_used_ratio{{{INSTANCE}}})",
                            f"{{{{resource}}}} of {_GROUPED}",
                        )
                    ],
                    warn_at=1.0,
                ),
            ],
        ),
        Row(
            "Ended",
            [
                Table(
                    "Exit codes",
                    "Containers that ended with another code than 0; 128 + N is signal N.",
                    "short",
                    f"cgagent_container_exit_code{{{INSTANCE}}} > 0 "
                    f"or (0 * sum(cgagent_build_info{{{INSTANCE}}}))",
                ),
                Table(
                    "Ended by the OOM killer",
                    "And the group whose limit was hit.",
                    "short",
                    f"cgagent_container_oom_killed{{{INSTANCE}}} "
                    f"or (0 * sum(cgagent_build_info{{{INSTANCE}}}))",
                ),
            ],
        ),
    ],
)

HOST: Final = Board(
    "cgagent-host",
    "cgagent / Host",
    "One machine: its CPU, memory and load, and which containers take their part.",
    [
        Row(
            "Machine",
            [
                Number(
                    "CPUs", "CPUs of the machine.", "short", f"sum(machine_cpu_cores{{{INSTANCE}}})"
                ),
                Number(
                    "Memory",
                    "Memory of the machine.",
                    "bytes",
                    f"sum(machine_memory_bytes{{{INSTANCE}}})",
                ),
                Number(
                    "Swap",
                    "Swap of the machine.",
                    "bytes",
                    f"sum(machine_swap_bytes{{{INSTANCE}}})",
                ),
                Number(
                    "Available",
                    "Memory that can be had without swapping.",
                    "bytes",
                    f"sum(cgagent_host_memory_available_bytes{{{INSTANCE}}})",
                ),
                Number(
                    "Load, 1 min",
                    "Tasks that run or wait for a CPU or a disk.",
                    "short",
                    f"sum(cgagent_host_load1{{{INSTANCE}}})",
                ),
                Number(
                    "Agent up since",
                    "When the agent started.",
                    "dateTimeFromNow",
                    f"1000 * min(process_start_time_seconds{{{INSTANCE}}} and on (instance) "
                    f"cgagent_build_info{{{INSTANCE}}})",
                ),
                Graph(
                    "CPU by mode",
                    "CPUs busy in each mode; idle is left out.",
                    "short",
                    [
                        Query(
                            "sum by (instance, mode) (rate(cgagent_host_cpu_seconds_total"
                            f'{{{INSTANCE}, mode!="idle"}}[$__rate_interval]))',
                            "{{mode}} on {{instance}}",
                        )
                    ],
                    stacked=True,
                ),
                Graph(
                    "Memory",
                    "In use by all of the machine, and what containers have of it.",
                    "bytes",
                    [
                        Query(
                            f"machine_memory_bytes{{{INSTANCE}}} - on (job, instance) "
                            f"cgagent_host_memory_available_bytes{{{INSTANCE}}}",
                            "in use on {{instance}}",
                        ),
                        Query(
                            f"sum by (instance) ({_WORKING_SET})",
                            "containers on {{instance}}",
                        ),
                    ],
                ),
                Graph(
                    "Load",
                    "Averages over 1, 5 and 15 minutes.",
                    "short",
                    [
                        Query(f"cgagent_host_load{n}{{{INSTANCE}}}", f"{n} min on {{{{instance}}}}")
                        for n in (1, 5, 15)
                    ],
                ),
                Graph(
                    "Free swap",
                    "Swap that is not in use.",
                    "bytes",
                    [Query(f"cgagent_host_swap_free_bytes{{{INSTANCE}}}", "{{instance}}")],
                ),
            ],
        ),
        Row(
            "Containers",
            [
                Graph(
                    "CPU",
                    "CPU time a second.",
                    "short",
                    [Query(_by_name(_cpu(CONTAINERS)), _NAMED)],
                    stacked=True,
                ),
                Graph(
                    "Memory",
                    "Working set.",
                    "bytes",
                    [
                        Query(
                            _by_name(f"container_memory_working_set_bytes{{{CONTAINERS}}}"), _NAMED
                        )
                    ],
                    stacked=True,
                ),
                Graph(
                    "Tasks",
                    "Processes and threads.",
                    "short",
                    [Query(_by_name(f"container_threads{{{CONTAINERS}}}"), _NAMED)],
                    stacked=True,
                ),
                Graph(
                    "Disk space",
                    "Of the writable layers; counted once a minute.",
                    "bytes",
                    [Query(_by_name(f"container_fs_usage_bytes{{{CONTAINERS}}}"), _NAMED)],
                    stacked=True,
                ),
            ],
        ),
    ],
)

CONTAINER: Final = Board(
    "cgagent-container",
    "cgagent / Container",
    "One container in depth: everything that its cgroups count.",
    [
        Row(
            "State",
            [
                Table(
                    "State",
                    "1 for the state that it is in.",
                    "short",
                    f"cgagent_container_state{{{NAME}}} == 1",
                    width=8,
                ),
                Table(
                    "Exit code of its last run",
                    "128 + N is signal N.",
                    "short",
                    f"cgagent_container_exit_code{{{NAME}}} "
                    f"or (0 * sum(cgagent_build_info{{{INSTANCE}}}))",
                    width=8,
                ),
                Graph(
                    "Frozen",
                    "Share of time that it was frozen.",
                    "percentunit",
                    [Query(_rate("cgagent_container_frozen_seconds_total", NAME), _NAMED)],
                    width=8,
                ),
            ],
        ),
        Row(
            "CPU",
            [
                Graph(
                    "CPU time",
                    "A second, by mode, and the quota.",
                    "short",
                    [
                        Query(_rate("container_cpu_user_seconds_total", NAME), "user {{name}}"),
                        Query(_rate("container_cpu_system_seconds_total", NAME), "system {{name}}"),
                        Query(
                            f"container_spec_cpu_quota{{{NAME}}} / on (job, instance, id, name, "
                            f"image) container_spec_cpu_period{{{NAME}}}",
                            "quota {{name}}",
                        ),
                    ],
                ),
                Graph(
                    "Throttling",
                    "Share of enforcement periods that ended throttled.",
                    "percentunit",
                    [
                        Query(
                            f"{_rate('container_cpu_cfs_throttled_periods_total', NAME)} / "
                            f"{_rate('container_cpu_cfs_periods_total', NAME)}",
                            _NAMED,
                        )
                    ],
                    warn_at=0.25,
                ),
            ],
        ),
        Row(
            "Memory",
            [
                Graph(
                    "Memory",
                    "Working set, anonymous memory, page cache and the limit, where there is one.",
                    "bytes",
                    [
                        Query(
                            f"container_memory_working_set_bytes{{{NAME}}}", "working set {{name}}"
                        ),
                        Query(f"container_memory_rss{{{NAME}}}", "anonymous {{name}}"),
                        Query(f"container_memory_cache{{{NAME}}}", "page cache {{name}}"),
                        Query(f"container_spec_memory_limit_bytes{{{NAME}}} > 0", "limit {{name}}"),
                    ],
                ),
                Graph(
                    "Page faults",
                    "A second; major ones wait for a disk.",
                    "short",
                    [
                        Query(
                            _rate("container_memory_failures_total", NAME),
                            "{{failure_type}} {{name}}",
                        )
                    ],
                ),
                Graph(
                    "Limit hit",
                    "How often memory was refused or reclaimed at the limit, and OOM kills.",
                    "short",
                    [
                        Query(
                            f"increase(container_memory_failcnt{{{NAME}}}[$__rate_interval])",
                            "limit hit {{name}}",
                        ),
                        Query(
                            f"increase(container_oom_events_total{{{NAME}}}[$__rate_interval])",
                            "OOM kills {{name}}",
                        ),
                    ],
                    warn_at=1,
                ),
                Graph(
                    "Peak and swap",
                    "The most memory since its start, and swap in use.",
                    "bytes",
                    [
                        Query(f"container_memory_max_usage_bytes{{{NAME}}}", "peak {{name}}"),
                        Query(f"container_memory_swap{{{NAME}}}", "swap {{name}}"),
                    ],
                ),
            ],
        ),
        Row(
            "Pressure",
            [
                Graph(
                    f"Waiting for {what}",
                    "Share of time in which some task waited, and in which all did.",
                    "percentunit",
                    [
                        Query(_stalls(NAME, resource, "waiting"), "some {{name}}"),
                        Query(_stalls(NAME, resource, "stalled"), "all {{name}}"),
                    ],
                    warn_at=0.1,
                    width=8,
                )
                for resource, what in (("cpu", "a CPU"), ("memory", "memory"), ("io", "disks"))
            ],
        ),
        Row(
            "Disks",
            [
                Graph(
                    "Bytes",
                    "Read and written a second, by device.",
                    "Bps",
                    [
                        Query(
                            _rate("container_fs_reads_bytes_total", NAME),
                            "read {{device}} {{name}}",
                        ),
                        Query(
                            _rate("container_fs_writes_bytes_total", NAME),
                            "written {{device}} {{name}}",
                        ),
                    ],
                ),
                Graph(
                    "Operations",
                    "Reads and writes a second, by device.",
                    "iops",
                    [
                        Query(_rate("container_fs_reads_total", NAME), "reads {{device}} {{name}}"),
                        Query(
                            _rate("container_fs_writes_total", NAME), "writes {{device}} {{name}}"
                        ),
                    ],
                ),
                Graph(
                    "Writable layer",
                    "Disk space of the files that it has written; counted once a minute.",
                    "bytes",
                    [Query(f"container_fs_usage_bytes{{{NAME}}}", _NAMED)],
                ),
            ],
        ),
        Row(
            "Network",
            [
                Graph(
                    "Traffic",
                    "Bits a second, by interface of its own network namespace, and the rates that "
                    "each interface is held to.",
                    "bps",
                    [
                        Query(
                            "8 * " + _rate("container_network_receive_bytes_total", NAME),
                            "in {{interface}} {{network}} {{name}}",
                        ),
                        Query(
                            "8 * " + _rate("container_network_transmit_bytes_total", NAME),
                            "out {{interface}} {{network}} {{name}}",
                        ),
                        Query(
                            f"8 * cgagent_container_network_rate_limit_bytes{{{NAME}}}",
                            "limit {{direction}} {{name}}",
                        ),
                    ],
                ),
                Graph(
                    "Drops and errors",
                    "Packets a second that an interface has dropped, and errors.",
                    "pps",
                    [
                        Query(
                            _rate(f"container_network_{way}_{what}_total", NAME),
                            f"{way} {what} {{{{interface}}}} {{{{name}}}}",
                        )
                        for way in ("receive", "transmit")
                        for what in ("packets_dropped", "errors")
                    ],
                ),
                Graph(
                    "TCP sockets",
                    "By state, IPv4 and IPv6 together; counted once a minute.",
                    "short",
                    [
                        Query(
                            "sum by (instance, name, tcp_state) ("
                            f"container_network_tcp_usage_total{{{NAME}}} "
                            f"+ container_network_tcp6_usage_total{{{NAME}}}) > 0",
                            "{{tcp_state}} {{name}}",
                        )
                    ],
                ),
                Graph(
                    "Published ports",
                    "Connections a second that a port of the host has led to it.",
                    "cps",
                    [
                        Query(
                            _rate("cgagent_container_port_connections_total", NAME),
                            "{{host}}:{{port}}/{{protocol}} {{name}}",
                        )
                    ],
                ),
            ],
        ),
        Row(
            "Tasks",
            [
                Graph(
                    "Tasks",
                    "Processes and threads, the most since its start, and the limit.",
                    "short",
                    [
                        Query(f"container_threads{{{NAME}}}", "tasks {{name}}"),
                        Query(f"cgagent_container_threads_peak{{{NAME}}}", "peak {{name}}"),
                        Query(f"container_threads_max{{{NAME}}} > 0", "limit {{name}}"),
                    ],
                ),
                Graph(
                    "Open file descriptors",
                    "Of all its processes; counted once a minute.",
                    "short",
                    [Query(f"container_file_descriptors{{{NAME}}}", _NAMED)],
                ),
            ],
        ),
    ],
    by_name=True,
)

PRESSURE: Final = Board(
    "cgagent-pressure",
    "cgagent / Pressure and limits",
    "Who waits for what, and who is close to a limit.",
    [
        Row(
            "Pressure",
            [
                Graph(
                    f"{who} waiting for {what}",
                    f"The {TOP} containers with the largest share of time in which "
                    f"{who.lower()} tasks waited.",
                    "percentunit",
                    [Query(_top(_stalls(CONTAINERS, resource, kind)), _NAMED)],
                    warn_at=0.1,
                    width=12,
                )
                for resource, what in (("cpu", "a CPU"), ("memory", "memory"), ("io", "disks"))
                for who, kind in (("Some", "waiting"), ("All", "stalled"))
            ],
        ),
        Row(
            "Limits",
            [
                Graph(
                    "Memory of its limit",
                    f"The {TOP} containers whose working set is closest to their memory limit.",
                    "percentunit",
                    [
                        Query(
                            _top(
                                f"container_memory_working_set_bytes{{{CONTAINERS}}} / "
                                f"(container_spec_memory_limit_bytes{{{CONTAINERS}}} > 0)"
                            ),
                            _NAMED,
                        )
                    ],
                    warn_at=0.9,
                ),
                Graph(
                    "Tasks of their limit",
                    f"The {TOP} containers that have most of the tasks that they may have.",
                    "percentunit",
                    [
                        Query(
                            _top(
                                f"container_threads{{{CONTAINERS}}} / "
                                f"(container_threads_max{{{CONTAINERS}}} > 0)"
                            ),
                            _NAMED,
                        )
                    ],
                    warn_at=0.9,
                ),
                Graph(
                    "Throttled",
                    f"The {TOP} containers with most enforcement periods that ended throttled.",
                    "percentunit",
                    [
                        Query(
                            _top(
                                f"{_rate(_THROTTLED, CONTAINERS)} / "
                                f"{_rate('container_cpu_cfs_periods_total', CONTAINERS)}"
                            ),
                            _NAMED,
                        )
                    ],
                    warn_at=0.25,
                ),
                Graph(
                    "Forks refused",
                    "By the limit on processes and threads.",
                    "short",
                    [
                        Query(
                            _top(
                                "increase(cgagent_container_forks_refused_total"
                                f"{{{INSTANCE}}}[$__rate_interval])"
                            ),
                            _NAMED,
                        )
                    ],
                    warn_at=1,
                ),
                Graph(
                    "OOM kills",
                    "Processes ended by the OOM killer.",
                    "short",
                    [
                        Query(
                            _top(
                                f"increase(container_oom_events_total{{{CONTAINERS}}}"
                                "[$__rate_interval])"
                            ),
                            _NAMED,
                        )
                    ],
                    warn_at=1,
                ),
                Graph(
                    "Dropped between networks",
                    "Packets a second that the rules of containers' networks have dropped.",
                    "pps",
                    [
                        Query(
                            _rate("cgagent_network_dropped_packets_total", INSTANCE),
                            "{{rule}} on {{instance}}",
                        )
                    ],
                ),
                Graph(
                    "Limits adrift",
                    "Limits that the kernel does not hold as they were asked for.",
                    "short",
                    [
                        Query(
                            "sum by (instance, name, limit) "
                            f"(cgagent_container_limit_drift{{{INSTANCE}}}) "
                            f"or (0 * sum(cgagent_build_info{{{INSTANCE}}}))",
                            "{{limit}} of {{name}} on {{instance}}",
                        )
                    ],
                    warn_at=1,
                ),
            ],
        ),
        Row(
            "Policies",
            [
                Graph(
                    "Decisions",
                    "What policies have done, by policy and action.",
                    "short",
                    [
                        Query(
                            "sum by (instance, policy, action) (increase("
                            f"cgagent_policy_decisions_total{{{INSTANCE}}}[$__rate_interval]))",
                            "{{action}} by {{policy}} on {{instance}}",
                        )
                    ],
                ),
                Graph(
                    "In force",
                    "Limits that policies hold containers to beside their users', and freezes.",
                    "short",
                    [
                        Query(
                            f"cgagent_policy_in_force{{{INSTANCE}}}",
                            "{{policy}} on {{instance}}",
                        )
                    ],
                ),
                Graph(
                    "Budgets",
                    f"The {TOP} budgets of which most is used in their windows: all at 100 %.",
                    "percentunit",
                    [
                        Query(
                            f"topk({TOP}, max by (instance, name, resource) "
                            f"(cgagent_container_budget_used_ratio{{{INSTANCE}}}))",
                            "{{resource}} of {{name}} on {{instance}}",
                        )
                    ],
                ),
                Graph(
                    "Memory taken back",
                    f"The {TOP} containers from which most memory was taken back that they did not "
                    "need.",
                    "Bps",
                    [
                        Query(
                            _top(_rate("cgagent_container_reclaimed_bytes_total", INSTANCE)),
                            _NAMED,
                        )
                    ],
                ),
            ],
        ),
    ],
)

AGENT: Final = Board(
    "cgagent-agent",
    "cgagent / Agent",
    "The agent about itself: how long its jobs take, what sampling and scrapes cost.",
    [
        Row(
            "Jobs",
            [
                Graph(
                    "Median duration of jobs",
                    "By kind of job.",
                    "s",
                    [
                        Query(
                            "histogram_quantile(0.5, sum by (kind, le) (rate("
                            f"cgagent_job_duration_seconds_bucket{{{INSTANCE}}}"
                            "[$__rate_interval])))",
                            "{{kind}}",
                        )
                    ],
                ),
                Graph(
                    "Slowest twentieth of jobs",
                    "95th percentile, by kind of job.",
                    "s",
                    [
                        Query(
                            "histogram_quantile(0.95, sum by (kind, le) (rate("
                            f"cgagent_job_duration_seconds_bucket{{{INSTANCE}}}"
                            "[$__rate_interval])))",
                            "{{kind}}",
                        )
                    ],
                ),
                Graph(
                    "Steps of a start",
                    "Median duration; launch is the set-up in the container's own process.",
                    "s",
                    [
                        Query(
                            "histogram_quantile(0.5, sum by (step, le) (rate("
                            f'cgagent_job_step_duration_seconds_bucket{{{INSTANCE}, kind="start"}}'
                            "[$__rate_interval])))",
                            "{{step}}",
                        )
                    ],
                ),
                Graph(
                    "Jobs",
                    "Finished a second, by kind and outcome.",
                    "ops",
                    [
                        Query(
                            "sum by (kind, outcome) "
                            f"({_rate('cgagent_job_duration_seconds_count', INSTANCE)})",
                            "{{kind}} {{outcome}}",
                        )
                    ],
                ),
            ],
        ),
        Row(
            "Sampling",
            [
                Graph(
                    "Duration of a round",
                    "How long reading all groups took.",
                    "s",
                    [Query(f"cgagent_sampler_duration_seconds{{{INSTANCE}}}", "{{instance}}")],
                ),
                Graph(
                    "Lag",
                    "How late the last round began.",
                    "s",
                    [Query(f"cgagent_sampler_lag_seconds{{{INSTANCE}}}", "{{instance}}")],
                ),
                Graph(
                    "Rounds left out, samples failed",
                    "A second.",
                    "short",
                    [
                        Query(
                            _rate("cgagent_sampler_missed_ticks_total", INSTANCE),
                            "left out {{instance}}",
                        ),
                        Query(
                            _rate("cgagent_sampler_failures_total", INSTANCE),
                            "failed {{instance}}",
                        ),
                    ],
                    warn_at=0.01,
                ),
                Graph(
                    "Duration of a scrape",
                    "Mean time to render the metrics.",
                    "s",
                    [
                        Query(
                            f"{_rate('cgagent_exposition_duration_seconds_sum', INSTANCE)} / "
                            f"{_rate('cgagent_exposition_duration_seconds_count', INSTANCE)}",
                            "{{instance}}",
                        )
                    ],
                ),
            ],
        ),
        Row(
            "Process",
            [
                Graph(
                    "CPU",
                    "CPU time a second of the agent's process.",
                    "percentunit",
                    [
                        Query(
                            f"{_rate('process_cpu_seconds_total', INSTANCE)} and on (instance) "
                            f"cgagent_build_info{{{INSTANCE}}}",
                            "{{instance}}",
                        )
                    ],
                ),
                Graph(
                    "Memory",
                    "Resident memory of the agent's process.",
                    "bytes",
                    [
                        Query(
                            f"process_resident_memory_bytes{{{INSTANCE}}} and on (instance) "
                            f"cgagent_build_info{{{INSTANCE}}}",
                            "{{instance}}",
                        )
                    ],
                ),
                Graph(
                    "File descriptors",
                    "Of the agent's process; most are kept open for sampling.",
                    "short",
                    [
                        Query(
                            f"process_open_fds{{{INSTANCE}}} and on (instance) "
                            f"cgagent_build_info{{{INSTANCE}}}",
                            "{{instance}}",
                        )
                    ],
                ),
            ],
        ),
    ],
)

BOARDS: Final = (FLEET, HOST, CONTAINER, PRESSURE, AGENT)
