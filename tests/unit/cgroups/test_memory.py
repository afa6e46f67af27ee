"""What memory.stat says, by its keys of either version."""

from cgagent.cgroups.memory import MemoryV1, MemoryV2

WRITTEN = {"dirty_bytes": 8192, "writeback_bytes": 4096, "refault_anon": 3, "refault_file": 4}
V1 = """dirty 1
total_cache 40960
total_dirty 8192
total_writeback 4096
total_workingset_refault_anon 3
total_workingset_refault_file 4
"""
V2 = """file 40960
file_dirty 8192
file_writeback 4096
workingset_refault_anon 3
workingset_refault_file 4
pgscan 6
pgsteal 5
anon 4096
kernel 7
"""


def test_what_is_written_and_comes_back_on_v1_with_the_groups_below():
    usage = MemoryV1("").usage((V1, *[None] * 4, "7", None))
    assert usage.kernel_bytes == 7
    assert {name: getattr(usage, name) for name in WRITTEN} == WRITTEN
    assert (usage.file_bytes, usage.pgscan) == (40960, None)


def test_what_is_written_and_comes_back_on_v2():
    usage = MemoryV2("").usage((V2, *[None] * 8))
    assert {name: getattr(usage, name) for name in WRITTEN} == WRITTEN
    assert (usage.file_bytes, usage.pgscan, usage.pgsteal) == (40960, 6, 5)
    assert usage.kernel_bytes == 7


def test_what_the_root_group_of_v2_uses_is_reckoned_as_it_has_no_file_of_it():
    assert MemoryV2("").usage((V2, *[None] * 8)).current_bytes == 4096 + 40960
