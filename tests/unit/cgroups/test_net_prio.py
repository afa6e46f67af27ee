import pytest

from cgagent.cgroups import Limits
from cgagent.cgroups.changes import commit
from cgagent.cgroups.net_prio import NetPrioV1
from cgagent.errors import UnsupportedError


def test_each_interface_of_the_map_is_written_and_undone(tmp_path):
    (tmp_path / "net_prio.ifpriomap").write_text("lo 0\neth0 3\n")
    controller = NetPrioV1(str(tmp_path))
    assert controller.held() == Limits(net_priority=3)
    first, second = controller.writes(Limits(net_priority=5))
    assert (first.value, second.value) == ("lo 5", "eth0 5")
    assert [w.undo("lo 0\neth0 3\n") for w in (first, second)] == ["lo 0", "eth0 3"]
    assert controller.writes(Limits(pids_max=1)) == []


def test_a_group_without_the_file_is_refused_by_name(tmp_path):
    controller = NetPrioV1(str(tmp_path))
    assert controller.held() == Limits()
    with pytest.raises(UnsupportedError, match="limit net_priority: there is no net_prio"):
        commit(controller.writes(Limits(net_priority=5)))
