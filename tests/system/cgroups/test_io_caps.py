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
    """Eight times the weight gets eight times the writes, less where CPU is short too."""
    if "CGAGENT_TEST_MODE" in os.environ:
        pytest.skip("the guest's emulated CPUs are slower than its disk")
    groups = {weight: host.group(f"{parent.path}/{weight}") for weight in (100, 800)}
    for weight, group in groups.items():
        group.create()
        group.apply(Limits(blkio_weight=weight))
    code = (
        "import mmap, os, sys, time; fd = os.open(sys.argv[1], os.O_RDWR | os.O_DIRECT); n = 0\n"
        "block = mmap.mmap(-1, 65536); end = time.monotonic() + 2\n"
        "while time.monotonic() < end: n += 1; os.pwritev(fd, [block], n % 500 * 65536)\n"
        "print(n)"
    )

    def share(device):
        """How many times as much the heavier wrote, four writers each."""
        command = f"exec python3 -S -E -c '{code}' {device.path}"
        with ExitStack() as stack:
            writers = [
                (weight, stack.enter_context(fs.running(group, command)))
                for weight, group in groups.items()
                for _ in range(4)
            ]
            for _, writer in writers:
                writer.stdin.write(b"\n")
                writer.stdin.flush()
            written = dict.fromkeys(groups, 0)
            for weight, writer in writers:
                written[weight] += int(writer.stdout.readline())
        return written[800] / written[100]

    shares = []
    with fs.loop_device() as device, fs.scheduled(device, "bfq"):
        # How much more it is the CPUs decide: tried again where others took them.
        while len(shares) < 6 and not any(s > 1.25 for s in shares):
            shares.append(share(device))
    assert any(s > 1.25 for s in shares), shares
