"""v1's way of taking memory back, on files: a process of its own writes."""

import os

import pytest

from cgagent.cgroups.memory import MemoryV1
from cgagent.cgroups.reclaim import reclaim
from cgagent.errors import InternalError, NotFoundError


@pytest.fixture
def directory(tmp_path):
    (tmp_path / "memory.usage_in_bytes").write_text("1048576\n")
    (tmp_path / "memory.force_empty").touch()
    return tmp_path


def test_the_kernel_is_asked_for_all_and_what_did_not_go_is_not_counted(directory):
    assert reclaim(MemoryV1(str(directory)), None, lambda: False) == 0
    assert (directory / "memory.force_empty").read_text() == "0\n"


def test_what_the_kernel_says_is_passed_on(directory):
    (directory / "memory.force_empty").unlink()
    with pytest.raises(NotFoundError, match="force_empty: memory cannot be taken back"):
        reclaim(MemoryV1(str(directory)), 4096, lambda: False)
    (directory / "memory.force_empty").symlink_to("/dev/full")
    with pytest.raises(InternalError, match=r"force_empty: .*No space left on device"):
        reclaim(MemoryV1(str(directory)), 4096, lambda: False)


def test_the_thread_waits_for_cpus_like_others_again(directory):
    before = os.sched_getscheduler(0)
    reclaim(MemoryV1(str(directory)), 4096, lambda: False)
    assert os.sched_getscheduler(0) == before
