"""User namespaces and id-mapped mounts under `cgagent oci`."""

import os

import pytest

pytestmark = pytest.mark.system

FIRST = 100_000
MAPPINGS = [{"containerID": 0, "hostID": FIRST, "size": 65536}]


def mapped(config, path=None):
    entry = {"type": "user", **({"path": path} if path else {})}
    config["linux"]["namespaces"].append(entry)
    if path is None:
        own = [dict(entry) for entry in MAPPINGS]
        config["linux"].update(uidMappings=own, gidMappings=list(own))
    return config


def bundle_of_root(oci, config):
    """Whose files belong to the container's root, as its caller has to see to."""
    bundle = oci.bundle(config)
    for folder, _, names in os.walk(bundle / "rootfs"):
        for name in (".", *names):
            os.chown(os.path.join(folder, name), FIRST, FIRST, follow_symlinks=False)
    return bundle


def bind(source, destination, *options, **mappings):
    words = ["bind", *options]
    entry = {"destination": destination, "type": "bind", "source": str(source), "options": words}
    return {**entry, **mappings}


SEEN = """
id -u; id -g; sed 's/  */ /g' /proc/self/uid_map; cat /proc/self/oom_score_adj; ulimit -Hn
touch /made; stat -c %u:%g /made /proc/self/status
echo x >/dev/null; stat -c %t:%T /dev/null /dev/tty
cat /proc/sys/net/ipv4/ip_forward /proc/sys/kernel/shm_rmid_forced
echo 1 2>/dev/null >/proc/sysrq-trigger || echo no; mount -t tmpfs t /mnt 2>/dev/null || echo no
cut -c1 /proc/uptime
grep -c /sys/fs/cgroup /proc/self/mounts
"""


def test_root_inside_is_nobody_outside(oci):
    config = mapped(oci.sh(SEEN))
    config["process"].update(
        oomScoreAdj=7, rlimits=[{"type": "RLIMIT_NOFILE", "soft": 99, "hard": 99}]
    )
    config["linux"]["sysctl"] = {"net.ipv4.ip_forward": "1", "kernel.shm_rmid_forced": "1"}
    config["linux"]["namespaces"].append({"type": "time"})
    config["linux"]["timeOffsets"] = {"boottime": {"secs": 1000000000}}
    config["mounts"].append(
        {"destination": "/sys/fs/cgroup", "type": "cgroup", "source": "c", "options": ["ro"]}
    )
    bundle = bundle_of_root(oci, config)
    done = oci("run", "-b", str(bundle), "box")
    seen = done.stdout.splitlines()
    assert seen[:-1] == [
        *("0", "0", f" 0 {FIRST} 65536", "7", "99", "0:0", "0:0"),
        *("1:3", "5:0", "1", "1", "no", "no", "1"),
    ]
    assert int(seen[-1]) >= 1
    assert (bundle / "rootfs" / "made").stat().st_uid == FIRST


@pytest.mark.native
def test_a_user_namespace_is_joined_and_entered(oci, slowness):
    config = mapped(oci.sh("exec sleep 1000"))
    oci("run", "-d", "-b", str(bundle_of_root(oci, config)), "first")
    pid = oci.state("first")["pid"]
    script = "stat -c %u /made; echo x >/made; id -u; cat /proc/self/uid_map"
    done = oci("exec", "first", "sh", "-c", f"touch /made; {script}")
    assert done.stdout.split() == ["0", "0", "0", str(FIRST), "65536"]
    words = ("first", "sh", "-c", "id -u; echo x >/made || echo no")
    assert oci("exec", "--user", "5:6", *words, check=False).stdout == "5\nno\n"
    second = mapped(oci.sh("readlink /proc/self/ns/user; hostname; id -u"), f"/proc/{pid}/ns/user")
    second["linux"]["cgroupsPath"] += "2"
    second["linux"]["namespaces"] = [
        {**n, "path": f"/proc/{pid}/ns/uts"} if n["type"] == "uts" else n
        for n in second["linux"]["namespaces"]
    ]
    second.pop("hostname")
    done = oci("run", "-b", str(bundle_of_root(oci, second)), "second")
    assert done.stdout.split() == [os.readlink(f"/proc/{pid}/ns/user"), "box", "0"]


@pytest.mark.native
def test_files_are_shown_under_other_ids(oci):
    """With and without a user namespace; the files stay as they are."""
    folder = oci.folder / "shared"
    (folder / "below").mkdir(parents=True)
    (folder / "file").write_text("text")
    folder.chmod(0o700)  # nobody but the host's root gets there
    own = [{"containerID": 0, "hostID": 7, "size": 1}]
    script = "stat -c %u:%g /m/file; touch /m/new 2>/dev/null && stat -c %u /m/new"
    config = oci.sh(script)
    config["mounts"].append(bind(folder, "/m", uidMappings=own, gidMappings=own))
    assert oci.run(config).stdout.split() == ["7:7"]  # root itself has no id there
    config = mapped(oci.sh(script))
    config["mounts"].append(bind(folder, "/m", "idmap"))
    assert oci("run", "-b", str(bundle_of_root(oci, config)), "box").stdout.split() == ["0:0", "0"]
    assert (folder / "new").stat().st_uid == 0
    config["mounts"][-1]["options"] = ["rbind"]
    done = oci("run", "-b", str(bundle_of_root(oci, config)), "box", check=False)
    assert done.stdout == ""  # as it is on the host: closed


@pytest.mark.native
def test_a_terminal(oci):
    config = mapped(oci.sh("tty; stat -c %u $(tty) /dev/console; exec sleep 1000"))
    config["process"].update(terminal=True, user={"uid": 5, "gid": 5})
    assert oci.terminal(bundle_of_root(oci, config), 3).split() == [b"/dev/pts/0", b"5", b"5"]


@pytest.mark.native
def test_devices_are_the_hosts(oci):
    config = mapped(oci.sh("true"))
    config["linux"]["devices"] = [
        {"path": "/dev/zero", "type": "c", "major": 1, "minor": 5},
        {"path": "/dev/mine", "type": "c", "major": 1, "minor": 3},
    ]
    done = oci("run", "-b", str(bundle_of_root(oci, config)), "box", check=False)
    assert "must be the host's device of that path" in done.stderr
    config["linux"]["devices"].pop()
    oci("run", "-b", str(bundle_of_root(oci, config)), "box")


@pytest.mark.native
@pytest.mark.parametrize(
    ("change", "complaint"),
    [
        (lambda c: c["linux"]["namespaces"].append({"type": "user"}), "needs linux.uidMappings"),
        (
            lambda c: c["linux"].update(uidMappings=MAPPINGS, gidMappings=MAPPINGS),
            "need a user namespace",
        ),
        (lambda c: mapped(c)["linux"].pop("gidMappings"), "belong together"),
        (lambda c: mapped(c)["linux"]["uidMappings"][0].pop("size"), "from 0 to 2^32-1"),
        (
            lambda c: mapped(c)["linux"].update(
                uidMappings=[{"containerID": 1, "hostID": 1, "size": 1}]
            ),
            "id 0 of the container is not mapped",
        ),
        (
            lambda c: mapped(c)["linux"].update(uidMappings=MAPPINGS * 2),
            "uid_map '0 100000 65536",
        ),
        (lambda c: c["mounts"].append(bind("/", "/m", "idmap")), "nor the container has mappings"),
        (
            lambda c: c["mounts"].append(
                {**bind("t", "/m", "idmap"), "type": "tmpfs", "options": ["idmap"]}
            ),
            "only bind mounts can be id-mapped",
        ),
        (
            lambda c: c["mounts"].append(
                bind("/proc", "/m", "idmap", uidMappings=MAPPINGS, gidMappings=MAPPINGS)
            ),
            "its file system cannot be id-mapped",
        ),
    ],
)
def test_what_is_refused(oci, change, complaint):
    config = oci.sh("true")
    change(config)
    assert complaint in oci.refused(config)
