"""The sampler and the exposition over live groups."""

import os
import subprocess
import time

import pytest

from cgagent.cgroups import Host, Limits
from cgagent.metrics import Metrics, Sampler, Standing, Target
from tests.world.naming import cgroup_path

pytestmark = pytest.mark.system

SLOWNESS = float(os.environ.get("CGAGENT_TEST_SLOWNESS", "1"))


@pytest.fixture
def group():
    group = Host.detect().group(cgroup_path())
    group.create()
    yield group
    if group.exists():
        group.kill(10 * SLOWNESS)
        group.remove(10 * SLOWNESS)


def wait_for(condition):
    deadline = time.monotonic() + 20 * SLOWNESS
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.02)


def descriptors():
    return len(os.listdir("/proc/self/fd"))


@pytest.fixture
def sampler(group):
    targets = [Target("0123", "web", "nginx", group.path, time.time())]
    sampler = Sampler(group.host, 0.1 * SLOWNESS, lambda: list(targets))
    sampler.targets = targets
    yield sampler
    sampler.stop()


@pytest.fixture
def busy(group):
    """A process that burns a CPU inside the group."""
    process = subprocess.Popen(["sh", "-c", "read go; while :; do :; done"], stdin=-1)
    group.join(process.pid)
    process.stdin.write(b"\n")
    process.stdin.close()
    yield process
    process.kill()
    process.wait()


def cpu_percent(sampler):
    return sampler.rates("0123").cpu_percent


def test_a_container_from_start_to_removal(group, sampler, busy):
    target = sampler.targets[0]
    before = descriptors()
    sampler.start()
    wait_for(lambda: sampler.rates("0123") and 1 < cpu_percent(sampler) < 150)
    assert sampler.latest("0123").usage.pids.processes == 1
    assert descriptors() > before + 5

    group.kill(10 * SLOWNESS)
    busy.wait()
    last = sampler.sample_now(target)
    group.remove(10 * SLOWNESS)
    wait_for(lambda: sampler.live() == [])
    assert sampler.latest("0123").usage.cpu.usage_ns >= last.usage.cpu.usage_ns

    group.create()
    wait_for(lambda: sampler.live() != [])
    assert sampler.live()[0].usage.cpu.usage_ns < last.usage.cpu.usage_ns
    sampler.targets.clear()
    wait_for(lambda: sampler.live() == [])
    sampler.forget(target.id)
    sampler.stop()
    assert sampler.latest("0123") is None
    assert sampler.state().failures == 0, sampler.state().last_error
    assert descriptors() == before


def test_what_prometheus_sees_of_it(group, sampler):
    metrics = Metrics(sampler, lambda: [Standing(target=sampler.targets[0], state="running")])
    sampler.tick()
    labels = f'id="{group.path}",name="web",image="nginx"'
    assert f"container_threads_max{{{labels}}} 0" in metrics.render().body.decode()
    group.apply(Limits(pids_max=7))
    sampler.limits_changed("0123")
    assert sampler.sample_now(sampler.targets[0]).limits.pids_max == 7
    text = metrics.render().body.decode()
    assert f"container_threads_max{{{labels}}} 7" in text
    assert f'cgagent_container_state{{{labels},state="running"}} 1' in text
    sampler.targets.clear()
    sampler.tick()
    assert "container_threads_max{" not in Metrics(sampler, list).render().body.decode()
