"""Memory given back before anybody needs it: page cache, on v1 and v2."""

import pytest

from cgagent.errors import NotFoundError

pytestmark = pytest.mark.system


def test_page_cache_goes_and_the_processes_stay(group, fs):
    script = "dd if=/dev/zero of=$FILE bs=1M count=32 2>/dev/null; sync; echo written; sleep 60"
    path = f"{fs.disk_directory()}/{group.path.strip('/').replace('/', '-')}"
    with fs.running(group, f"FILE={path}; trap 'rm -f $FILE' EXIT; {script}") as process:
        process.stdin.write(b"\n")
        process.stdin.flush()
        assert process.stdout.readline() == b"written\n"
        before = group.usage().memory.current_bytes
        assert before > 30 << 20
        assert group.reclaim(stop=lambda: True) < before // 2, "nothing, or what was on its way"
        before = group.usage().memory.current_bytes
        freed = group.reclaim(10 << 20, may_swap=False)
        assert freed > 8 << 20
        assert group.usage().memory.current_bytes <= before - freed + (4 << 20)
        assert group.has_pids()
    fs.os.unlink(path)


def test_a_group_that_is_gone(group):
    group.remove()
    with pytest.raises(NotFoundError):
        group.reclaim()
