import dataclasses
import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cgagent.cgroups import Cpu, DeviceIo, Limits, Memory, Pids, Pressure, Psi, Stall, Usage
from cgagent.metrics import Sample, Target, between
from cgagent.metrics.network import Interface
from cgagent.metrics.rates import DeviceRates, load

TARGET = Target("0123", "web", "nginx", "/cgagent/0123", 1000.0)


def usage(**fields):
    nothing = Usage(
        cpu=Cpu(), memory=Memory(), io=None, pids=Pids(), pressure=Pressure(), frozen=None
    )
    return dataclasses.replace(nothing, **fields)


def sample(at_ns, target=TARGET, **fields):
    return Sample(target, at_ns / 1e9, at_ns, at_ns, usage(**fields), Limits())


SECOND = 10**9


@given(
    interval=st.integers(SECOND // 10, 3600 * SECOND),
    start=st.integers(0, 2**60),
    cpus=st.floats(0, 512),
)
def test_cpu_is_in_percent_of_one_cpu(interval, start, cpus):
    used = int(interval * cpus)
    rates = between(
        sample(5, cpu=Cpu(usage_ns=start)), sample(5 + interval, cpu=Cpu(usage_ns=start + used))
    )
    assert rates.cpu_percent == pytest.approx(used / interval * 100)
    assert rates.interval_s == pytest.approx(interval / 1e9)


def test_over_a_moment_they_are_those_of_before():
    first, second = (sample(n * SECOND, cpu=Cpu(usage_ns=n * SECOND // 2)) for n in (0, 1))
    soon = sample(SECOND + 3_000_000, cpu=Cpu(usage_ns=SECOND // 2 + 4_000_000))
    last = between(first, second)
    assert last.cpu_percent == 50
    assert between(second, soon, last) is last
    assert between(second, soon) is None


def test_all_rates():
    def pressure(total_ns):
        stall = Stall(avg10=0, avg60=0, avg300=0, total_ns=total_ns)
        return Pressure(cpu=Psi(some=stall), memory=Psi(some=stall))

    rates = between(
        sample(
            0,
            cpu=Cpu(periods=10, throttled_periods=2),
            memory=Memory(pgmajfault=1),
            io=(DeviceIo(device="8:0", rbytes=100, wios=4),),
            pressure=pressure(0),
        ),
        sample(
            2 * SECOND,
            cpu=Cpu(periods=30, throttled_periods=7),
            memory=Memory(pgmajfault=5),
            io=(
                DeviceIo(device="8:0", rbytes=500, wios=4),
                DeviceIo(device="8:16", rbytes=100, wbytes=50),
            ),
            pressure=pressure(SECOND),
        ),
    )
    assert rates.throttled_percent == 25
    assert rates.read_bytes_per_s == 250
    assert rates.write_bytes_per_s == 25
    assert rates.writes_per_s == 0
    assert rates.major_faults_per_s == 2
    assert rates.devices == {"8:0": DeviceRates(200, 0), "8:16": DeviceRates(50, 25)}
    assert rates.stalled_percent == {"cpu": 50, "memory": 50, "io": None}
    assert rates.cpu_percent is None


def test_what_cannot_be_said_is_none():
    early, late = sample(0, cpu=Cpu(usage_ns=5)), sample(SECOND, cpu=Cpu(usage_ns=4))
    assert between(early, late).cpu_percent is None
    assert between(early, late).read_bytes_per_s is None
    assert between(early, early) is None
    assert between(late, early) is None
    restarted = dataclasses.replace(TARGET, started_at_s=2000.0)
    assert between(early, sample(SECOND, target=restarted, cpu=Cpu(usage_ns=9))) is None
    still = Cpu(usage_ns=5, periods=3, throttled_periods=1)
    assert between(sample(0, cpu=still), sample(SECOND, cpu=still)).throttled_percent is None


def test_load_follows_what_runs_and_waits():
    """A task that runs half the time and waits the other is one."""

    def at(seconds):
        half_ns = seconds * SECOND // 2
        stall = Stall(avg10=0, avg60=0, avg300=0, total_ns=half_ns)
        cpu, waiting = Cpu(usage_ns=half_ns), Pressure(cpu=Psi(some=stall))
        return sample(seconds * SECOND, cpu=cpu, pressure=waiting)

    rates = between(at(0), at(1))
    one = 0.0
    for _ in range(10):
        one = load(one, rates, 1.0)
    assert one == pytest.approx(1 - math.exp(-1))
    assert load(one, None, 1.0) == 0


def eth(name, received, sent):
    return Interface(name, received, 1, 0, 0, sent, 1, 0, 0)


def with_network(second, *interfaces, **fields):
    found = sample(second * SECOND, cpu=Cpu(usage_ns=0), **fields)
    return dataclasses.replace(found, network=interfaces)


def test_traffic_of_all_interfaces_that_are_there():
    before = with_network(0, eth("eth0", 100, 10), eth("eth1", 50, 0))
    after = with_network(2, eth("eth0", 300, 10), eth("eth2", 40, 20))
    rates = between(before, after)
    assert (rates.receive_bytes_per_s, rates.transmit_bytes_per_s) == (120, 10)
    alone = between(sample(0), sample(SECOND))
    assert (alone.receive_bytes_per_s, alone.transmit_bytes_per_s) == (None, None)


def test_what_sleeps_receives_all_the_same():
    quiet = with_network(0, eth("eth0", 0, 0))
    still = dataclasses.replace(with_network(1, eth("eth0", 0, 0)), usage=quiet.usage)
    flooded = dataclasses.replace(with_network(3, eth("eth0", 600, 0)), usage=quiet.usage)
    after = dataclasses.replace(with_network(63, eth("eth0", 600, 0)), usage=quiet.usage)
    first = between(quiet, still)
    assert not first.has_traffic
    second = between(still, flooded, first)
    assert (second.are_none, second.receive_bytes_per_s) == (True, 300)
    assert not between(flooded, after, second).has_traffic
    not_read = dataclasses.replace(after, full_ns=flooded.full_ns, network=flooded.network)
    assert between(flooded, not_read, second) is second
