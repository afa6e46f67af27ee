"""What a process finds inside a container: its namespaces, its files, its powers."""

import os
import stat
from pathlib import Path

import pytest

from tests.world.agent import group_file

pytestmark = pytest.mark.system

# CHOWN DAC_OVERRIDE FOWNER FSETID KILL SETGID SETUID SETPCAP NET_BIND_SERVICE NET_RAW SYS_CHROOT
# MKNOD AUDIT_WRITE SETFCAP
DEFAULT_CAPABILITIES = "00000000a80425fb"
DEVICES = {"full", "null", "random", "tty", "urandom", "zero"}
LINKS = {"fd", "ptmx", "stderr", "stdin", "stdout"}


@pytest.fixture(scope="module")
def inside(agent):
    """A running container, and a function that runs a shell script in a fresh one."""

    def run(script, **options):
        return agent.run("sh", "-c", script, **options)

    return run


def lines(result):
    assert result.stderr == ""
    return result.stdout.splitlines()


@pytest.mark.native
def test_it_is_pid_1_and_sees_no_process_of_the_host(inside):
    own, first, *seen = lines(
        inside("echo $$; ls /proc | grep -E '^[0-9]+$' | head -1; ps -o comm=")
    )
    assert (own, first) == ("1", "1")
    assert seen == ["ps"]  # the shell has become it


@pytest.mark.native
def test_the_host_name_is_the_short_id(agent):
    container = agent.create("hostname")
    try:
        agent.post(container, "start")
        agent.wait(container)
        assert agent.log_text(container) == f"{container[:12]}\n"
    finally:
        agent.remove(container)


@pytest.mark.native
def test_capabilities_are_dockers_defaults(inside):
    shown = dict(line.split() for line in lines(inside("grep ^Cap /proc/self/status")))
    assert shown == {
        "CapInh:": "0" * 16,
        "CapPrm:": DEFAULT_CAPABILITIES,
        "CapEff:": DEFAULT_CAPABILITIES,
        "CapBnd:": DEFAULT_CAPABILITIES,
        "CapAmb:": "0" * 16,
    }


@pytest.mark.native
def test_another_user_has_none(inside):
    shown = dict(
        line.split() for line in lines(inside("grep ^Cap /proc/self/status", user="nobody"))
    )
    assert shown["CapEff:"] == shown["CapPrm:"] == shown["CapAmb:"] == "0" * 16
    assert shown["CapBnd:"] == DEFAULT_CAPABILITIES


@pytest.mark.native
def test_masked_paths_are_empty(inside):
    masked = "/proc/kcore /proc/keys /proc/timer_list /proc/interrupts"
    sizes = lines(inside(f"for f in {masked}; do [ ! -e $f ] || wc -c <$f; done; ls /sys/firmware"))
    assert set(sizes) == {"0"}
    assert len(sizes) >= 2


@pytest.mark.native
def test_a_masked_path_is_not_a_file_of_the_hosts(inside):
    """Root inside may change the mode of what is there, as of all that is the container's."""
    before = os.stat("/dev/null").st_ctime_ns
    inside("chmod 666 /proc/keys /proc/timer_list /proc/interrupts /proc/kcore")
    assert os.stat("/dev/null").st_ctime_ns == before
    assert "devtmpfs" not in inside("cat /proc/self/mountinfo").stdout


@pytest.mark.native
def test_kernel_interfaces_cannot_be_written(inside):
    for path in ("/proc/sys/kernel/domainname", "/proc/sysrq-trigger", "/sys/kernel/profiling"):
        result = inside(f"echo x >{path}")
        assert "Read-only file system" in result.stderr or "nonexistent" in result.stderr, path
        assert result.exit_code != 0
    result = inside("mount -o remount,rw /proc/sys || mount -t tmpfs none /mnt")
    assert result.exit_code != 0


def test_cgroups_are_visible_and_read_only(inside):
    result = inside("cat /proc/self/cgroup; find /sys/fs/cgroup -name cgroup.procs | head -3")
    paths = [line.split(":", 2)[2] for line in result.stdout.splitlines() if ":" in line]
    assert set(paths) == {"/"}  # a cgroup namespace: nothing of the host's tree
    found = [line for line in result.stdout.splitlines() if line.startswith("/sys")]
    assert found
    for file in found:
        assert "Read-only file system" in inside(f"echo 1 >{file}").stderr
        folder = os.path.dirname(file)
        assert inside(f"mkdir {folder}/mine").exit_code != 0


@pytest.mark.native
@pytest.mark.parametrize("flag", ["-U", "-m", "-n", "-p", "-i", "-u"])
def test_cve_2022_0492_no_namespace_of_its_own_is_to_be_had(inside, flag):
    """In a user namespace it would have every capability, to mount hierarchies with for one."""
    result = inside(f"unshare {flag} echo made")
    assert result.stdout == ""
    assert "Operation not permitted" in result.stderr


def test_devices_are_the_default_ones(inside):
    found = lines(inside("cd /dev; for f in *; do [ -c $f ] && [ ! -L $f ] && echo $f; done; true"))
    assert set(found) == DEVICES
    found = lines(inside("cd /dev; for f in *; do [ -L $f ] && echo $f; done; true"))
    assert set(found) == LINKS
    assert lines(inside("find /dev -type b")) == []
    assert lines(
        inside("echo gone >/dev/null; head -c 3 /dev/zero | wc -c; head -c 9 /dev/urandom | wc -c")
    ) == ["3", "9"]


def disk():
    """(MAJOR, MINOR) of any block device of this machine."""
    for device in sorted(Path("/sys/block").iterdir()):
        major, minor = (device / "dev").read_text().split(":")
        return int(major), int(minor)
    pytest.skip("no block device")
    return None


def test_the_hosts_disk_cannot_be_opened(inside):
    major, minor = disk()
    result = inside(f"mknod /disk b {major} {minor} && head -c 1 /disk")
    assert "Operation not permitted" in result.stderr
    assert result.exit_code != 0
    result = inside("mknod /kmsg c 1 11 && head -c 1 /kmsg")
    assert "Operation not permitted" in result.stderr


@pytest.mark.native
def test_no_descriptor_leaks(inside, agent):
    assert lines(inside("ls -1 /proc/self/fd/")) == ["0", "1", "2", "3"]  # 3: ls reads it
    container = agent.launch("sleep", "1000")
    try:
        result = agent.exec(container, "ls", "-1", "/proc/self/fd/")
        assert lines(result) == ["0", "1", "2", "3"]
        pid = agent.state(container)["pid"]
        assert sorted(os.listdir(f"/proc/{pid}/fd")) == ["0", "1", "2"]
    finally:
        agent.remove(container)


@pytest.mark.native
def test_signals_and_file_mode_mask_are_fresh(agent):
    pattern = "^Sig(Blk|Ign)|^NoNewPrivs|^Umask"
    shown = lines(agent.run("grep", "-E", pattern, "/proc/self/status"))
    assert [line.split() for line in shown] == [
        ["Umask:", "0022"],
        ["SigBlk:", "0" * 16],
        ["SigIgn:", "0" * 16],
        ["NoNewPrivs:", "0"],
    ]


@pytest.mark.native
def test_the_mount_table_has_nothing_of_the_host(inside):
    table = [line.split() for line in lines(inside("cat /proc/self/mounts"))]
    by_point = {point: (kind, options.split(",")) for _, point, kind, options, *_ in table}
    assert by_point["/"][0] == "overlay"
    assert by_point["/proc"][0] == "proc"
    assert {"nosuid", "nodev", "noexec"} <= set(by_point["/proc"][1])
    assert by_point["/dev"][0] == "tmpfs"
    assert {"ro", "nosuid", "nodev", "noexec"} <= set(by_point["/sys"][1])
    allowed = ("/", "/proc", "/dev", "/sys", "/etc/hostname", "/etc/hosts", "/etc/resolv.conf")
    for point in by_point:
        assert point in allowed or point.startswith(("/proc/", "/dev/", "/sys/")), point


@pytest.mark.native
def test_files_written_are_gone_with_the_container(agent, inside):
    assert inside("echo x >/left").exit_code == 0
    assert inside("cat /left").exit_code == 1


@pytest.mark.native
def test_setuid_files_and_device_files_of_the_root_have_modes_of_the_image(inside):
    mode = int(lines(inside("stat -c %a /tmp"))[0], 8)
    assert mode == 0o1777
    assert stat.S_IMODE(mode) & stat.S_ISVTX


def test_exec_joins_namespaces_and_cgroup(agent):
    container = agent.launch("sleep", "1000")
    try:
        names = "cgroup ipc mnt net pid uts"
        script = f"for n in {names}; do readlink /proc/self/ns/$n; done"
        pid = agent.state(container)["pid"]
        expected = [os.readlink(f"/proc/{pid}/ns/{name}") for name in names.split()]
        assert lines(agent.exec(container, "sh", "-c", script)) == expected
        detached = agent.post(container, "exec", {"command": ["sleep", "500"]})["pid"]
        path = agent.detail(container)["cgroup_path"]
        for controller, file in (("pids", "cgroup.procs"), ("memory", "cgroup.procs")):
            members = group_file(path, controller, file, file).read_text().split()
            assert str(detached) in members
            assert str(pid) in members
        status = dict(
            line.split(":\t", 1)
            for line in Path(f"/proc/{detached}/status").read_text().splitlines()
        )
        assert status["CapBnd"] == status["CapEff"] == DEFAULT_CAPABILITIES
    finally:
        agent.remove(container)


@pytest.mark.native
def test_etc_files(inside):
    shown = lines(inside("cat /etc/hostname; grep -c localhost /etc/hosts", hostname="box"))
    assert shown == ["box", "2"]


@pytest.mark.native
def test_a_symlink_in_the_image_does_not_lead_a_volume_outside(agent, tmp_path):
    (tmp_path / "shared").mkdir()
    (tmp_path / "shared" / "trap").symlink_to("/etc")
    (tmp_path / "data").mkdir()
    binds = [f"{tmp_path}/shared:/shared", f"{tmp_path}/data:/shared/trap/deep"]
    result = agent.run("sh", "-c", "ls -d /etc/deep && touch /etc/deep/x", binds=binds)
    assert result.exit_code == 0
    assert (tmp_path / "data" / "x").exists()
    assert not os.path.exists("/etc/deep")
