"""Figures of the machine and of the agent's own process, through psutil."""

from __future__ import annotations

import time
from functools import cache

import psutil

from cgagent.metrics.samples import HostSample


@cache
def _agent() -> psutil.Process:
    return psutil.Process()


def sample(last: HostSample | None = None) -> HostSample:
    """The descriptors are counted where there is no `last`; counting thousands takes long."""
    memory = psutil.virtual_memory()
    swap = psutil.swap_memory()
    agent = _agent()
    with agent.oneshot():
        own_cpu = agent.cpu_times()
        return HostSample(
            at_s=time.time(),
            cpu_cores=psutil.cpu_count() or 1,
            cpu_seconds=psutil.cpu_times()._asdict(),
            load=psutil.getloadavg(),
            memory_total_bytes=memory.total,
            memory_available_bytes=memory.available,
            swap_total_bytes=swap.total,
            swap_free_bytes=swap.free,
            agent_started_at_s=agent.create_time(),
            agent_cpu_seconds=own_cpu.user + own_cpu.system,
            agent_resident_bytes=agent.memory_info().rss,
            agent_open_fds=last.agent_open_fds if last else agent.num_fds(),
        )
