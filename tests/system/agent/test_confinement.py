"""What a container may do, flag by flag, as its processes see it."""

import json
import os
import re
import stat
from pathlib import Path

import pytest

from cgagent.errors import CgagentError, ConflictError, InvalidInputError, UnsupportedError

pytestmark = pytest.mark.system

ALL_BITS = "000001ffffffffff"
NET_ADMIN = 1 << 12
NET_RAW = 1 << 13
DEFAULT = 0xA80425FB


def status(agent, field, **options):
    result = agent.run("grep", f"^{field}:", "/proc/self/status", **options)
    assert result.stderr == ""
    return result.stdout.split()[1:]


def surroundings(agent, **options):
    """The table of mounts and the devices, without what is another's in each container."""
    script = "cat /proc/self/mountinfo; echo; cd /dev && stat -c '%n %F %t:%T %a %u:%g' * pts/*"
    container = agent.create("sh", "-c", script, **options)
    try:
        agent.post(container, "start")
        assert agent.wait(container) == 0
        table, devices = agent.log_text(container).replace(container, "ID").split("\n\n")
    finally:
        agent.remove(container)
    mounts = []
    for line in table.splitlines():
        own, _, kernels = line.partition(" - ")
        root, point, access = own.split()[3:6]
        mounts.append((root, point, access, re.sub(r"/l/[^,]+", "", kernels)))
    return mounts, sorted(devices.splitlines())


@pytest.mark.native
def test_what_is_mounted_ahead_of_the_start_is_what_would_be_mounted_then(agent):
    mounts, devices = surroundings(agent)
    assert mounts[0][1] == "/"
    point = "/dev/own"  # with it nothing of what is mounted ahead is used
    own = {"type": "tmpfs", "destination": point}
    others, other_devices = surroundings(agent, mounts=[own])
    assert sorted(mounts) == sorted(m for m in others if m[1] != point)
    assert devices == [d for d in other_devices if not d.startswith("own ")]


@pytest.mark.native
@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ({"cap_add": ["net_admin"]}, DEFAULT | NET_ADMIN),
        ({"cap_drop": ["CAP_NET_RAW"]}, DEFAULT & ~NET_RAW),
        ({"cap_drop": ["ALL"], "cap_add": ["NET_RAW"]}, NET_RAW),
        ({"cap_drop": ["all"]}, 0),
    ],
)
def test_capabilities(agent, options, expected):
    for field in ("CapEff", "CapPrm", "CapBnd"):
        assert int(status(agent, field, **options)[0], 16) == expected


@pytest.mark.native
def test_all_capabilities_are_those_of_the_agent(agent):
    with open("/proc/self/status", encoding="ascii") as f:
        ours = next(line.split()[1] for line in f if line.startswith("CapEff"))
    assert status(agent, "CapEff", cap_add=["ALL"]) == [ours]
    added = int(status(agent, "CapEff", cap_add=["ALL"], cap_drop=["NET_RAW"])[0], 16)
    assert added == int(ours, 16) & ~NET_RAW


@pytest.mark.native
def test_a_capability_opens_the_filter_of_system_calls(agent):
    script = "mount -t tmpfs none /mnt && echo mounted"
    assert "mounted" not in agent.run("sh", "-c", script).stdout
    assert agent.run("sh", "-c", script, cap_add=["SYS_ADMIN"]).stdout == "mounted\n"


@pytest.mark.native
def test_no_new_privileges(agent):
    assert status(agent, "NoNewPrivs", security_opt=["no-new-privileges"]) == ["1"]
    assert status(agent, "NoNewPrivs", security_opt=["no-new-privileges=false"]) == ["0"]


@pytest.mark.native
def test_seccomp(agent):
    assert status(agent, "Seccomp") == ["2"]
    assert status(agent, "Seccomp", security_opt=["seccomp=unconfined"]) == ["0"]


@pytest.mark.native
def test_a_seccomp_profile_of_ones_own(agent, tmp_path):
    profile = {
        "defaultAction": "SCMP_ACT_ALLOW",
        "syscalls": [
            {"names": ["mkdir", "mkdirat"], "action": "SCMP_ACT_ERRNO", "errnoRet": 95},
            {
                "names": ["chmod", "fchmodat", "fchmodat2"],
                "action": "SCMP_ACT_ERRNO",
                "excludes": {"caps": ["CAP_SYS_ADMIN"]},
            },
        ],
    }
    (tmp_path / "profile.json").write_text(json.dumps(profile))
    done = agent.cli(
        *("run", "--rm", "--security-opt", f"seccomp={tmp_path}/profile.json", "alpine"),
        *("sh", "-c", "mkdir /x; chmod 700 /etc; echo end"),
    )
    assert "'/x': Not supported" in done.stderr
    assert "/etc: Operation not permitted" in done.stderr
    assert done.stdout == "end\n"


@pytest.mark.native
def test_system_paths(agent):
    script = "wc -c </proc/keys; mount | grep -c ' /proc/'"
    masked = agent.run("sh", "-c", script).stdout.split()
    assert masked[0] == "0"
    assert int(masked[1]) > 3
    shown = agent.run("sh", "-c", script, security_opt=["systempaths=unconfined"]).stdout.split()
    assert shown[-1] == "0"


@pytest.mark.native
def test_ulimits(agent):
    limits = [{"name": "nofile", "soft": 100, "hard": 200}, {"name": "core", "soft": 0, "hard": -1}]
    script = "ulimit -Sn; ulimit -Hn; ulimit -Sc; ulimit -Hc"
    assert agent.run("sh", "-c", script, ulimits=limits).stdout.split() == [
        *("100", "200", "0", "unlimited")
    ]


@pytest.mark.native
def test_sysctls_of_its_namespaces(agent):
    ours = Path("/proc/sys/kernel/msgmax")
    before = ours.read_text()
    result = agent.run(
        *("cat", "/proc/sys/net/ipv4/ip_unprivileged_port_start", "/proc/sys/kernel/msgmax"),
        sysctls={"net.ipv4.ip_unprivileged_port_start": "7", "kernel.msgmax": "4242"},
    )
    assert result.stdout.split() == ["7", "4242"]
    assert ours.read_text() == before


@pytest.mark.native
def test_groups_and_the_oom_score(agent):
    result = agent.run(
        *("sh", "-c", "id -G; cat /proc/self/oom_score_adj"),
        user="nobody",
        group_add=["audio", "4242"],
        oom_score_adj=321,
    )
    *groups, score = result.stdout.split()
    assert {"18", "4242"} <= set(groups)
    assert score == "321"
    one = agent.launch("sleep", "1000", oom_score_adj=321)
    assert agent.exec(one, "cat", "/proc/self/oom_score_adj").stdout == "321\n"
    agent.remove(one)
    with pytest.raises(InvalidInputError, match="'nosuch' is not in the container's /etc/group"):
        agent.run("true", group_add=["nosuch"])


@pytest.fixture(scope="module")
def number():
    """(MAJOR, MINOR) of a character device that needs no capability and is no default one."""
    for name in ("fuse", "loop-control", "net/tun", "hwrng", "rfkill", "vsock", "kvm"):
        try:
            os.close(os.open(f"/dev/{name}", os.O_RDONLY))
        except OSError:
            continue
        device = os.stat(f"/dev/{name}").st_rdev
        return os.major(device), os.minor(device)
    pytest.skip("no such device")
    return None


@pytest.fixture
def node(tmp_path, number):
    """A device of the host under a name, owner and mode of its own."""
    path = tmp_path / "node"
    os.mknod(path, stat.S_IFCHR | 0o640, os.makedev(*number))
    os.chown(path, 5, 6)
    return path


def test_a_device_of_the_host(agent, node, number):
    looks = "stat -c '%F %a %u:%g' /dev/mine; stat -c '%t:%T' /dev/mine"
    script = f"{looks}; exec 3</dev/mine && echo opened"
    device = {"path_on_host": str(node), "path_in_container": "/dev/mine"}
    result = agent.run("sh", "-c", script, devices=[device])
    major, minor = number
    assert result.stdout.splitlines() == [
        "character special file 640 5:6",
        f"{major:x}:{minor:x}",
        "opened",
    ]


def test_a_device_rule_is_of_the_node_and_the_access(agent, node, number):
    device = {"path_on_host": str(node), "path_in_container": "/dev/mine", "access": "w"}
    result = agent.run("head", "-c", "1", "/dev/mine", devices=[device])
    assert "Operation not permitted" in result.stderr
    rule = "{}:{}".format(*number)
    script = f"mknod /mine c {number[0]} {number[1]} && exec 3</mine && echo opened"
    assert "opened" not in agent.run("sh", "-c", script).stdout
    opened = agent.run("sh", "-c", script, device_cgroup_rules=[f"c {rule} rmw"])
    assert opened.stdout == "opened\n"
    still = "head -c 3 /dev/zero | wc -c; echo x >/dev/null && echo ok"
    kept = agent.run("sh", "-c", still, device_cgroup_rules=[f"c {rule} rmw"])
    assert kept.stdout.split() == ["3", "ok"]


def test_a_block_device(agent, scratch_disk):
    read = ["dd", f"if={scratch_disk}", "of=/dev/null", "bs=512", "count=1"]
    refused = agent.run(*read)
    assert refused.exit_code != 0
    device = {"path_on_host": scratch_disk, "path_in_container": scratch_disk}
    assert agent.run(*read, devices=[device]).exit_code == 0


@pytest.fixture
def scratch_disk():
    """One that this machine lets us read."""
    for disk in sorted(Path("/sys/block").iterdir()):
        try:
            os.close(os.open(f"/dev/{disk.name}", os.O_RDONLY))
        except OSError:
            continue
        return f"/dev/{disk.name}"
    pytest.skip("no block device that can be read")
    return ""


def test_privileged(agent):
    script = (
        "grep ^CapEff /proc/self/status; grep ^Seccomp: /proc/self/status; "
        "mount -t tmpfs none /mnt && echo mounted; (exec 3</dev/kmsg) && echo kmsg; "
        "mount | grep -E ' /sys(/fs/cgroup.*)? ' | grep -c '(ro'; mount | grep -c ' /proc/'"
    )
    result = agent.run("sh", "-c", script, privileged=True)
    *shown, read_only, masked = result.stdout.split("\n")[:-1]
    assert int(shown[0].split()[1], 16) & (1 << 21)
    assert shown[1].split() == ["Seccomp:", "0"]
    assert shown[2:] == ["mounted", "kmsg"]
    assert (read_only, masked) == ("0", "0")
    assert agent.run("mkdir", "/sys/fs/cgroup/x").exit_code != 0


def test_a_privileged_container_has_the_hosts_devices(agent):
    ours = {f"/dev/{n}" for n in os.listdir("/dev") if stat.S_ISBLK(os.lstat(f"/dev/{n}").st_mode)}
    found = set(agent.run("find", "/dev", "-type", "b", privileged=True).stdout.split())
    assert ours <= found


def test_a_command_run_inside_has_what_the_container_has(agent, container):
    made = container(
        *("sleep", "1000"),
        cap_drop=["ALL"],
        cap_add=["KILL"],
        security_opt=["no-new-privileges"],
        ulimits=[{"name": "nofile", "soft": 77, "hard": 77}],
        group_add=["4242"],
    )
    script = "grep -E '^(CapEff|CapBnd|NoNewPrivs):' /proc/self/status; ulimit -n; id -G"
    shown = agent.exec(made, "sh", "-c", script).stdout.split("\n")
    assert [int(line.split()[1], 16) for line in shown[:2]] == [1 << 5, 1 << 5]
    assert shown[2].split() == ["NoNewPrivs:", "1"]
    assert shown[3] == "77"
    assert "4242" in shown[4].split()
    mighty = agent.exec(made, "grep", "^CapEff", "/proc/self/status", privileged=True)
    assert int(mighty.stdout.split()[1], 16) & (1 << 21)
    assert agent.exec(made, "grep", "^Seccomp:", "/proc/self/status").stdout.split()[1] == "2"


@pytest.mark.native
@pytest.mark.parametrize(
    ("options", "complaint"),
    [
        ({"cap_add": ["CAP_FLY"]}, "unknown capability: 'CAP_FLY'"),
        ({"cap_drop": ["\0"]}, "has a NUL in it"),
        ({"ulimits": [{"name": "fun", "soft": 1, "hard": 1}]}, "invalid ulimit type: 'fun'"),
        ({"ulimits": [{"name": "core", "soft": 2, "hard": 1}]}, "must be less than or equal to"),
        ({"ulimits": [{"name": "core", "soft": -1, "hard": 1}]}, "must be less than or equal to"),
        ({"ulimits": [{"name": "core", "soft": -2, "hard": -2}]}, "is -1 or not negative"),
        ({"sysctls": {"kernel.panic": "1"}}, "sysctl kernel.panic belongs to the host"),
        ({"sysctls": {"../x": "1"}}, "is not a name of a kernel parameter"),
        (
            {"sysctls": {"net.ipv4.ip_forward": "1"}, "networks": [{"network": "host"}]},
            "needs a network namespace that is not the host's",
        ),
        ({"sysctls": {"kernel.msgmax": "1"}, "ipc": "host"}, "needs a ipc namespace"),
        ({"security_opt": ["seccomp={}"]}, "seccomp profile: action None is not known"),
        ({"security_opt": ["seccomp={"]}, "seccomp profile is not JSON"),
        ({"security_opt": ["what=ever"]}, "security option 'what=ever' is not known"),
        ({"security_opt": ["systempaths=x"]}, "is not known"),
        ({"devices": [{"path_on_host": "/dev/no", "path_in_container": "/x"}]}, "/dev/no.*no such"),
        ({"devices": [{"path_on_host": "/etc", "path_in_container": "/x"}]}, "no device is in"),
        (
            {"devices": [{"path_on_host": "/etc/passwd", "path_in_container": "/x"}]},
            "not a device node",
        ),
        (
            {"devices": [{"path_on_host": "/dev/null", "path_in_container": "/x", "access": "rx"}]},
            "invalid device mode: 'rx'",
        ),
        (
            {"devices": [{"path_on_host": "/dev/null", "path_in_container": "/dev"}]},
            "is a directory of the container's own",
        ),
        ({"device_cgroup_rules": ["c 1:1"]}, "invalid device cgroup rule format: 'c 1:1'"),
        ({"group_add": [""]}, "is not a group's name or number"),
        ({"oom_score_adj": 1001}, r"1001 is not in \[-1000, 1000\]"),
    ],
)
def test_values_that_are_none(agent, nothing_made, options, complaint):
    with pytest.raises(InvalidInputError, match=complaint):
        agent.create("true", **options)


@pytest.mark.native
@pytest.mark.parametrize(
    "options",
    [
        {"security_opt": ["label=type:x"]},
        {"userns": "keep-id"},
    ],
)
def test_what_is_not_there_is_refused(agent, nothing_made, options):
    with pytest.raises(UnsupportedError):
        agent.create("true", **options)


@pytest.mark.native
def test_what_makes_no_difference_is_accepted(agent):
    options = ["label=disable", "apparmor=unconfined", "seccomp=builtin"]
    assert agent.run("true", security_opt=options, userns="host").exit_code == 0


def test_a_device_that_is_gone_at_the_start(agent, node):
    device = {"path_on_host": str(node), "path_in_container": "/dev/mine"}
    made = agent.create("true", devices=[device])
    try:
        node.unlink()
        with pytest.raises(CgagentError, match="no such file or directory"):
            agent.post(made, "start")
        assert agent.state(made)["status"] == "created"
    finally:
        agent.remove(made)


@pytest.mark.native
def test_names(agent, container):
    made = container(
        "sh", "-c", "hostname; cat /proc/sys/kernel/domainname", domainname="example.org"
    )
    agent.wait(made)
    assert agent.log_text(made).split() == [made[:12], "example.org"]
    other = container("sleep", "1000", name="first-name")
    agent.post(other, "rename?name=second-name")
    assert agent.detail("second-name")["id"] == other
    with pytest.raises(ConflictError, match="'second-name' is taken"):
        agent.post(made, "rename?name=second-name")
    with pytest.raises(InvalidInputError, match="is not valid"):
        agent.post(made, "rename?name=-")
    agent.post(other, "stop?timeout_s=0")
    assert agent.detail("second-name")["state"]["status"] == "exited"


@pytest.mark.native
def test_hosts_and_resolver(agent):
    result = agent.run(
        *("cat", "/etc/hosts", "/etc/resolv.conf"),
        hostname="box",
        domainname="example.org",
        extra_hosts=["db:10.1.2.3", "six=[fe80::1]"],
        dns=["10.0.0.53"],
        dns_search=["example.org"],
        dns_options=["ndots:2"],
    )
    shown = result.stdout.splitlines()
    assert any(line.endswith("\tbox.example.org box") for line in shown)
    assert shown[-5:] == [
        "10.1.2.3\tdb",
        "fe80::1\tsix",
        "nameserver 10.0.0.53",
        "search example.org",
        "options ndots:2",
    ]


@pytest.mark.native
def test_stop_timeout(agent, container):
    made = container(
        "sh", "-c", "trap '' TERM; echo up; while :; do sleep 1; done", stop_timeout_s=0
    )
    agent.post(made, "stop")
    assert agent.state(made)["exit_code"] == 137


@pytest.mark.native
def test_files_of_flags(agent, tmp_path):
    (tmp_path / "env").write_text("# comment\n\nA=1\nB=x y\nNOT_SET_ANYWHERE\n")
    (tmp_path / "labels").write_text("one=1\ntwo\n")
    id_file = tmp_path / "id"
    flags = ("--env-file", f"{tmp_path}/env", "--label-file", f"{tmp_path}/labels")
    done = agent.cli("create", *flags, "--cidfile", str(id_file), "alpine", "env")
    made = done.stdout.strip()
    try:
        assert id_file.read_text() == made
        resolved = agent.detail(made)["resolved"]
        assert {"A=1", "B=x y"} <= set(resolved["env"])
        assert not any(item.startswith("NOT_SET") for item in resolved["env"])
        assert resolved["labels"] == {"one": "1", "two": ""}
        again = agent.cli("run", "--cidfile", str(id_file), "alpine", "true")
        assert again.returncode == 125
        assert "exists; make sure the other container is not running" in again.stderr
    finally:
        agent.remove(made)
    fails = agent.cli(
        "create", "--cidfile", f"{tmp_path}/other", "-u", "\0"[:0], "--name", "-", "alpine"
    )
    assert fails.returncode != 0
    assert not (tmp_path / "other").exists()


@pytest.mark.native
def test_inspect_shows_what_was_asked(agent):
    flags = (
        *("--cap-add", "NET_ADMIN", "--cap-drop", "MKNOD", "--security-opt", "no-new-privileges"),
        *("--device", "/dev/null:/dev/mine:r", "--device-cgroup-rule", "c 42:* rmw"),
        *("--ulimit", "nofile=10:20", "--sysctl", "net.ipv4.ip_forward=1", "--group-add", "7"),
        *("--oom-score-adj", "5", "--pid", "host", "--ipc", "shareable", "--shm-size", "1m"),
        *("--add-host", "db:10.1.2.3", "--dns", "10.0.0.53", "--tmpfs", "/t:size=1m"),
        *("-v", "/tmp:/data:ro", "--stop-timeout", "3", "--domainname", "d"),
    )
    made = agent.cli("create", *flags, "alpine", "true").stdout.strip()
    try:
        found = json.loads(agent.cli("inspect", made).stdout)[0]
    finally:
        agent.remove(made)
    config = found["HostConfig"]
    assert found["Config"]["Domainname"] == "d"
    assert found["Config"]["StopTimeout"] == 3
    assert config["CapAdd"] == ["CAP_NET_ADMIN"]
    assert config["CapDrop"] == ["CAP_MKNOD"]
    assert config["SecurityOpt"] == ["no-new-privileges"]
    assert config["Devices"] == [
        {"PathOnHost": "/dev/null", "PathInContainer": "/dev/mine", "CgroupPermissions": "r"}
    ]
    assert config["DeviceCgroupRules"] == ["c 42:* rmw"]
    assert config["Ulimits"] == [{"Name": "nofile", "Soft": 10, "Hard": 20}]
    assert config["Sysctls"] == {"net.ipv4.ip_forward": "1"}
    assert (config["GroupAdd"], config["OomScoreAdj"]) == (["7"], 5)
    assert (config["PidMode"], config["IpcMode"], config["ShmSize"]) == (
        *("host", "shareable"),
        1 << 20,
    )
    assert (config["ExtraHosts"], config["Dns"]) == (["db:10.1.2.3"], ["10.0.0.53"])
    assert (config["Binds"], config["Tmpfs"]) == (["/tmp:/data:ro"], {"/t": "size=1m"})
    assert {m["Destination"]: m["RW"] for m in found["Mounts"]} == {"/data": False}


@pytest.mark.native
@pytest.mark.parametrize(
    ("flags", "complaint"),
    [
        (["-p", "80:x"], "invalid containerPort: 'x'"),
        (["-p", "80-81:1-3"], "invalid ranges specified for container and host Ports"),
        (["--network", "moon"], "network moon not found"),
        (["--network", "none", "--add-host", "h:host-gateway"], "--network none has none"),
        (["--network", "host", "--network", "none"], "stands alone"),
        (["--network", "none", "-p", "80"], "port publishing and --network none"),
        (["--ip", "10.0.0.300"], "invalid IPv4 address: '10.0.0.300'"),
        (["--ip", "10.99.0.9"], "address 10.99.0.9 is not in a subnet of network bridge"),
        (["--mac-address", "x"], "invalid MAC address 'x'"),
        (["--ulimit", "nofile"], "invalid ulimit argument: 'nofile'"),
        (["--sysctl", "x"], "--sysctl 'x' must be NAME=VALUE"),
        (["--device", "a:b:c:d"], "--device 'a:b:c:d' must be HOST"),
        (["--mount", "type=bind,src=/tmp"], "target is required"),
        (["--mount", "type=bind,dst=/x"], "source is required for a bind mount"),
        (["--mount", "type=tmpfs,dst=/x,bind-propagation=shared"], "cannot mix 'bind-"),
        (["--mount", "type=tmpfs,dst=/x,fun"], "unexpected key 'fun'"),
        (["--security-opt", "seccomp=/no/such"], "seccomp /no/such: no such file"),
        (["--env-file", "/no/such"], "--env-file /no/such: no such file"),
        (["--add-host", "x"], "bad format for add-host: 'x'"),
        (["--dns", "x"], "invalid IP address in DNS server: 'x'"),
        (["--pid", "x"], "invalid pid mode: 'x'"),
        (["--cgroupns", "container:x"], "invalid cgroup mode"),
        (["--pid", "container:nosuch"], "container 'nosuch' does not exist"),
        (["--uts", "host", "-h", "x"], "conflicting options: hostname"),
    ],
)
def test_mistakes_are_one_line_and_125(agent, nothing_made, flags, complaint):
    done = agent.cli("run", *flags, "alpine", "true")
    assert done.returncode == 125
    assert complaint in done.stderr
    assert len(done.stderr.splitlines()) == 1
