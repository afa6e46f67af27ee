"""cgroup2's rules about where processes and controllers may be, on the live kernel."""

import os
import subprocess
import traceback
from pathlib import Path

import pytest

from cgagent.cgroups import Host, Limits
from cgagent.errors import ConflictError, UnsupportedError

pytestmark = pytest.mark.system

NOBODY = 65534
MIB = 2**20


def unified(group):
    directory = group.unified_dir()
    if not directory:
        pytest.skip("no cgroup2")
    return Path(directory)


def has_controllers(host):
    """Whether cgroup2 has the memory and pids controllers here."""
    return {"memory", "pids"} <= host.v2_controllers


def test_threaded_groups_are_refused(fs, host, parent):
    threaded = host.group(f"{parent.path}/threads")
    (unified(threaded)).mkdir(parents=True)
    (unified(threaded) / "cgroup.type").write_text("threaded")
    with pytest.raises(UnsupportedError, match="is of single threads"):
        threaded.create()
    below = host.group(f"{threaded.path}/below")
    with pytest.raises(UnsupportedError, match="'domain invalid'"):
        below.create()
    assert not below.exists()
    with subprocess.Popen(["sleep", "1000"]) as process:
        try:
            with pytest.raises(UnsupportedError, match="threaded"):
                threaded.join(process.pid)
            members = (unified(parent) / "cgroup.procs").read_text()
            assert str(process.pid) not in members.split()
        finally:
            process.kill()


def test_no_processes_above_groups_with_controllers(fs, host, parent, group):
    if not has_controllers(host):
        pytest.skip("cgroup2 has no controllers here")
    with (
        fs.running(group, "exec sleep 1000") as process,
        pytest.raises(ConflictError, match=r"groups below it .* join one of those"),
    ):
        parent.join(process.pid)
    with fs.running(group, "exec sleep 1000"):
        below = host.group(f"{group.path}/below")
        with pytest.raises(ConflictError, match="processes of its own: move them"):
            below.create()
        assert not below.exists()


def test_controllers_are_enabled_along_the_path_only(host, group, parent):
    if not has_controllers(host):
        pytest.skip("cgroup2 has no controllers here")
    assert "memory" in (unified(parent) / "cgroup.subtree_control").read_text()
    assert (unified(group) / "cgroup.subtree_control").read_text().strip() == ""
    assert "misc" not in (unified(parent) / "cgroup.subtree_control").read_text()


def run_as_nobody(group, work):
    """Run `work` as nobody, in a process that is in `group`; returns its traceback or ""."""
    reader, writer = os.pipe()
    pid = os.fork()
    if pid == 0:
        status = 1
        try:
            group.join(os.getpid())
            os.setresgid(NOBODY, NOBODY, NOBODY)
            os.setresuid(NOBODY, NOBODY, NOBODY)
            work()
            status = 0
        except BaseException:  # noqa: BLE001 - reported by the parent
            os.write(writer, traceback.format_exc().encode()[-4000:])
        finally:
            os._exit(status)
    os.close(writer)
    with open(reader) as report:
        text = report.read()
    os.waitpid(pid, 0)
    return text


def test_a_delegated_subtree(host, parent):
    """Memory and pids are passed on down to it, the rest is not; what is above is not ours."""
    if not has_controllers(host) or host.v1_mounts:
        pytest.skip("only where all controllers are on cgroup2")
    ours = host.group(f"{parent.path}/ours")
    unified(ours).mkdir(parents=True)
    (unified(parent) / "cgroup.subtree_control").write_text("+memory +pids")
    for name in ("", "cgroup.procs", "cgroup.subtree_control"):
        os.chown(unified(ours) / name, NOBODY, NOBODY)
    inside = host.group(f"{ours.path}/inside")
    unified(inside).mkdir()
    for name in ("", "cgroup.procs"):
        os.chown(unified(inside) / name, NOBODY, NOBODY)

    def work():
        here = Host.detect()
        assert here.unified.own_path == inside.path
        job = here.group(f"{ours.path}/job")
        job.create()
        job.apply(Limits(memory_max_bytes=64 * MIB, pids_max=7))
        assert job.held().memory_max_bytes == 64 * MIB
        with pytest.raises(UnsupportedError, match=r"limit cpu_quota_us: there is no cpu\.max"):
            job.apply(Limits(pids_max=5, cpu_quota_us=50_000))
        assert job.held().pids_max == 7
        job.join(os.getpid())
        assert job.pids() == [os.getpid()]
        here.group(inside.path).join(os.getpid())
        job.remove()

    assert run_as_nobody(inside, work) == ""
