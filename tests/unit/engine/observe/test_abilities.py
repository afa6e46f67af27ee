"""What a host can do is read of its files: here of some that are made."""

import pytest

from cgagent.cgroups import Placement
from cgagent.engine.observe.abilities import abilities


@pytest.fixture
def host(tmp_path):
    """``host({"proc/swaps": "..."})``: abilities by name, where cgroup v2 has cpu and memory."""

    def found(files):
        for name, text in files.items():
            path = tmp_path / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text)
        mount = tmp_path / "sys/fs/cgroup"
        mount.mkdir(parents=True, exist_ok=True)
        places = {
            name: Placement(controller=name, version=2, mount=str(mount), own_path="/")
            for name in ("cpu", "memory", "io")
        }
        return {one.name: one for one in abilities(places, tmp_path)}

    return found


CGROUPS = "#subsys_name\thierarchy\tnum_cgroups\tenabled\npids\t0\t1\t0\n"


def test_what_is_not_there_comes_with_what_switches_it_on(host):
    found = host({"proc/cgroups": CGROUPS, "sys/block/sda/queue/scheduler": "[none] bfq\n"})
    assert found["controller cpu"].detail == "cgroup v2"
    assert (found["controller pids"].there, found["controller pids"].needed) == (False, True)
    assert "cgroup_enable=pids" in found["controller pids"].remedy
    assert found["controller rdma"].remedy == ""  # this kernel has none
    assert "psi=1" in found["pressure (PSI)"].remedy
    assert "echo bfq >/sys/block/sda/queue/scheduler" in found["weights of block IO"].remedy
    assert found["seccomp"].needed
    assert not found["memory.reclaim"].there


def test_what_is_there_needs_nothing(host):
    found = host(
        {
            "sys/fs/cgroup/some/memory.reclaim": "",
            "sys/fs/cgroup/some/memory.swap.max": "max\n",
            "proc/swaps": "Filename Type\n/dev/sdb partition\n",
            "proc/pressure/memory": "some avg10=0\n",
            "proc/filesystems": "nodev\toverlay\n",
            "proc/sys/kernel/seccomp/actions_avail": "kill errno allow\n",
            "proc/sys/user/max_user_namespaces": "1000\n",
            "sys/kernel/security/lsm": "capability,apparmor\n",
            "sys/block/sda/queue/scheduler": "none [bfq]\n",
        }
    )
    for name in (
        *("memory.reclaim", "swap accounting", "swap", "pressure (PSI)", "overlay", "seccomp"),
        *("user namespaces", "AppArmor or SELinux", "weights of block IO"),
    ):
        assert found[name].there, name
        assert found[name].remedy == "", name


def test_what_is_needed_stands_first(host):
    needed = [one.needed for one in host({}).values()]
    assert needed == sorted(needed, reverse=True)
