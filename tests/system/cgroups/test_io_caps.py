"""Caps on a real disk: the rate that a writer past the page cache gets."""

import os
import re
from contextlib import ExitStack

import pytest

from cgagent.cgroups import IoMax, Limits

pytestmark = pytest.mark.system

MIB = 2**20
RATE = 4 * MIB
SIZE = 16 * MIB


@pytest.fixture
def target(fs):
    """(path to write to, MAJOR, MINOR): in the guest a file on its disk, else a loop device."""
    if "CGAGENT_TEST_MODE" not in os.environ:
        with fs.loop_device(SIZE // MIB) as device:
            yield device.path, os.major(device.rdev), os.minor(device.rdev)
        return
    directory = fs.disk_directory()
    device = os.stat(directory).st_dev
    path = f"{directory}/cgagent-test-caps"
    try:
        yield path, os.major(device), os.minor(device)
    finally:
        os.unlink(path)


@pytest.mark.parametrize("kind", ["write", "read"])
def test_a_capped_rate_is_kept_within_a_tenth(fs, group, target, kind):
    path, major, minor = target
    blocks = f"bs=64k count={SIZE // 65536}"
    fill = f"dd if=/dev/zero of={path} {blocks} oflag=direct conv=notrunc"
    fs.run(group, f"{fill} 2>&1")  # so that reading finds blocks and writing allocates none
    group.apply(Limits(io_max=(IoMax(major=major, minor=minor, rbps=RATE, wbps=RATE),)))
    drain = f"dd if={path} of=/dev/null {blocks} iflag=direct"

    def rate():
        output, status = fs.run(group, f"{fill if kind == 'write' else drain} 2>&1")
        assert status == 0, output
        return SIZE / float(re.search(r"copied, ([\d.]+) s", output)[1])

    # Once more where others took CPU or disk meanwhile: then it gets less, and never more.
    found = []
    while len(found) < 3 and not any(r > 0.9 * RATE for r in found):
        found.append(rate())
    assert any(r > 0.9 * RATE for r in found), found
    assert all(r < 1.1 * RATE for r in found), found


def test_weights_share_a_disk_that_bfq_schedules(fs, host, parent):
    """Eight times the weight, eight times the writes; at least three times is asked for here."""
    if "CGAGENT_TEST_MODE" in os.environ:
        pytest.skip("the guest's emulated CPUs are slower than its disk")
    code = (
        "import mmap, os, sys, time; fd = os.open(sys.argv[1], os.O_RDWR | os.O_DIRECT); n = 0\n"
        "block = mmap.mmap(-1, 65536); end = time.monotonic() + float(sys.argv[2])\n"
        "while time.monotonic() < end: n += 1; os.pwritev(fd, [block], n % 500 * 65536)"
    )
    with fs.loop_device() as device, fs.scheduled(device, "bfq"), ExitStack() as stack:
        groups = {weight: host.group(f"{parent.path}/{weight}") for weight in (100, 800)}
        writers = []
        for weight, group in groups.items():
            group.create()
            group.apply(Limits(blkio_weight=weight))
            command = f"exec python3 -S -E -c '{code}' {device.path} {3 * fs.SLOWNESS}"
            writers += [stack.enter_context(fs.running(group, command)) for _ in range(4)]
        for writer in writers:
            writer.stdin.write(b"\n")
            writer.stdin.flush()
        assert [writer.wait() for writer in writers] == [0] * 8
        written = {
            weight: sum(io.wios for io in group.usage().io if io.device == device.number)
            for weight, group in groups.items()
        }
    assert written[800] > 3 * written[100] > 0
