"""Counters that go on when a container is in another group."""

import json
from dataclasses import replace

from cgagent.cgroups import Cpu, DeviceIo, HugePages, Memory, Pids, Pressure, Psi, Stall, Usage
from cgagent.metrics import carried
from cgagent.metrics.rising import Rising

STALL = Stall(avg10=1.0, avg60=1.0, avg300=1.0, total_ns=5)
USAGE = Usage(
    cpu=Cpu(usage_ns=100, user_ns=60, system_ns=40, throttled_ns=7),
    memory=Memory(
        current_bytes=11, peak_bytes=30, failcnt=2, oom_kills=1, events={"high": 3}, pgfault=9
    ),
    io=(DeviceIo(device="8:0", rbytes=512, rios=1, cost_ns={"usage": 4}),),
    pids=Pids(current=3, peak=8, refused=2),
    pressure=Pressure(cpu=Psi(some=STALL, full=STALL)),
    frozen=False,
    frozen_ns=50,
    hugetlb=(HugePages(size="2MB", current_bytes=0, refused=1),),
)
FRESH = Usage(
    cpu=Cpu(usage_ns=1, user_ns=1, system_ns=0),
    memory=Memory(current_bytes=5, peak_bytes=6, oom_kills=0, events={"high": 0, "max": 1}),
    io=(DeviceIo(device="8:16", wbytes=100),),
    pids=Pids(current=2, peak=2, refused=0),
    pressure=Pressure(cpu=Psi(some=replace(STALL, total_ns=1))),
    frozen=False,
    frozen_ns=1,
    hugetlb=(HugePages(size="2MB", current_bytes=0, refused=0),),
)


def test_they_are_added_and_the_rest_is_as_it_is_now():
    before = json.loads(json.dumps(carried.counters(USAGE)))
    shown = carried.added(FRESH, before)
    assert (shown.cpu.usage_ns, shown.cpu.user_ns, shown.cpu.throttled_ns) == (101, 61, None)
    memory = shown.memory
    assert (memory.current_bytes, memory.peak_bytes, memory.oom_kills) == (5, 30, 1)
    assert (memory.failcnt, memory.events) == (None, {"high": 3, "max": 1})
    assert (shown.pids.current, shown.pids.peak, shown.pids.refused) == (2, 8, 2)
    assert {io.device: (io.rbytes, io.wbytes, io.cost_ns) for io in shown.io} == {
        "8:0": (512, 0, {"usage": 4}),
        "8:16": (0, 100, None),
    }
    assert (shown.pressure.cpu.some.total_ns, shown.pressure.cpu.full) == (6, None)
    assert (shown.frozen_ns, shown.hugetlb[0].refused) == (51, 1)


def test_twice():
    """Of a container that is moved again: what it counted in both groups before."""
    once = carried.added(FRESH, carried.counters(USAGE))
    assert carried.added(FRESH, carried.counters(once)).cpu.usage_ns == 102


def test_what_has_nothing_of_a_kind_stays_without():
    bare = replace(FRESH, io=None, hugetlb=None, frozen_ns=None)
    shown = carried.added(bare, carried.counters(USAGE))
    assert (shown.io, shown.hugetlb, shown.frozen_ns) == (None, None, None)


def test_in_what_is_told():
    rising = Rising(carried.counters(USAGE))
    told = rising.of(FRESH)
    assert told.cpu.usage_ns == 101
    assert rising.of(FRESH) is told
