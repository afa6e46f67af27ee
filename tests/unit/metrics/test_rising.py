from __future__ import annotations

from cgagent.cgroups import Cpu, DeviceIo, Memory, Pids, Usage
from cgagent.cgroups.pressure import NONE
from cgagent.metrics.rising import Rising


def usage(*, kills=0, user_ns=0, system_ns=0, io=()):
    cpu = Cpu(usage_ns=user_ns + system_ns, user_ns=user_ns, system_ns=system_ns)
    return Usage(
        cpu=cpu, memory=Memory(oom_kills=kills), io=io, pids=Pids(), pressure=NONE, frozen=False
    )


def test_kills_of_a_group_that_is_removed_stay_counted():
    rising = Rising()
    shown = [rising.of(usage(kills=n)).memory.oom_kills for n in (0, 2, 3, 1, 1, 2, 0, 1)]
    assert shown == [0, 2, 3, 3, 3, 4, 4, 5]


def test_what_a_group_that_is_removed_read_and_wrote_stays_counted():
    rising = Rising()
    steps = [
        (DeviceIo(device="8:0", wbytes=500, wios=5),),
        (DeviceIo(device="8:0", wbytes=700, wios=2),),
        (DeviceIo(device="8:0", wbytes=100, wios=3), DeviceIo(device="8:1", rios=1)),
        (DeviceIo(device="8:0", wbytes=100, wios=3),),
        (DeviceIo(device="8:0", wbytes=150, wios=3), DeviceIo(device="8:1", rios=2)),
    ]
    shown = [rising.of(usage(io=io)).io for io in steps]
    assert [(io[0].wbytes, io[0].wios) for io in shown] == [
        *((500, 5), (700, 5), (700, 6), (700, 6), (750, 6))
    ]
    assert [io[1].rios for io in shown[2:]] == [1, 1, 3]


def test_user_and_system_time_do_not_fall():
    rising = Rising()
    steps = [(50, 50), (40, 65), (45, 60), (80, 70)]
    shown = [rising.of(usage(user_ns=u, system_ns=s)).cpu for u, s in steps]
    assert [(c.user_ns, c.system_ns) for c in shown] == [(50, 50), (50, 65), (50, 65), (80, 70)]


def test_what_is_the_same_stays_the_same():
    rising, same = Rising(), usage(kills=1)
    rising.of(usage(kills=2))
    assert rising.of(same) is rising.of(same)
    assert Rising().of(same) is same
