"""The runtime specification 1.2, sentence by sentence: each MUST of its Linux part and its test.

The first column is where it stands: config (config.md), linux (config-linux.md), runtime
(runtime.md), with the section. What one test cannot show stands in test_lifecycle.py.
"""

import json
import os
from pathlib import Path

import pytest

pytestmark = pytest.mark.system


def linux(**fields):
    return lambda c: c["linux"].update(fields)


def process(**fields):
    return lambda c: c["process"].update(fields)


def mount(destination, *options, type="tmpfs", source="tmpfs"):  # noqa: A002 - the OCI name
    entry = {"destination": destination, "type": type, "source": source, "options": list(options)}
    return lambda c: c["mounts"].append(entry)


def without_namespace(kind):
    def change(c):
        kept = [n for n in c["linux"]["namespaces"] if n["type"] != kind]
        c["linux"]["namespaces"] = kept

    return change


def namespace(kind, path=None):
    return lambda c: c["linux"]["namespaces"].append(
        {"type": kind, **({"path": path} if path else {})}
    )


def user(**fields):
    return lambda c: c["process"]["user"].update(fields)


def both(*changes):
    def change(c):
        for one in changes:
            one(c)

    return change


def caps(**sets):
    names = ("bounding", "effective", "permitted", "inheritable", "ambient")
    return process(capabilities={name: sets.get(name, []) for name in names})


OPTIONS_OF_M = "awk '$2==\"/m\"{print $4}' /proc/self/mounts | tr , '\\n'"
NET_RAW = "0000000000002000"

# (where, what the configuration says, what is run inside, what it must print)
SEEN = [
    (
        "config: root.readonly",
        lambda c: c["root"].update(readonly=True),
        "touch /x 2>&1 || echo no",
        "touch: /x: Read-only file system\nno",
    ),
    (
        "config: mounts, in order",
        both(mount("/a"), mount("/a/b", "ro")),
        "awk '$2~/^.a/{print $2}' /proc/self/mounts",
        "/a\n/a/b",
    ),
    (
        "config: mounts, relative destination",
        mount("rel"),
        "awk '$2==\"/rel\"{print $3}' /proc/self/mounts",
        "tmpfs",
    ),
    (
        "config: mount option ro",
        mount("/m", "ro"),
        "touch /m/x 2>&1 || echo no",
        "touch: /m/x: Read-only file system\nno",
    ),
    *[
        (
            f"config: mount option {option}",
            mount("/m", option),
            f"{OPTIONS_OF_M} | grep -x {shown} || true",
            shown,
        )
        for option, shown in [
            ("nosuid", "nosuid"),
            ("nodev", "nodev"),
            ("noexec", "noexec"),
            ("sync", "sync"),
            ("dirsync", "dirsync"),
            ("noatime", "noatime"),
            ("nodiratime", "nodiratime"),
            ("relatime", "relatime"),
            ("nosymfollow", "nosymfollow"),
            ("lazytime", "lazytime"),
            ("rro", "ro"),
            ("rnosuid", "nosuid"),
            ("rnodev", "nodev"),
            ("rnoexec", "noexec"),
            ("rnoatime", "noatime"),
            ("rnodiratime", "nodiratime"),
            ("rrelatime", "relatime"),
            ("rnosymfollow", "nosymfollow"),
        ]
    ],
    *[
        (
            f"config: mount option {clear}",
            mount("/m", set_, clear),
            f"{OPTIONS_OF_M} | grep -cx {gone} || true",
            "0",
        )
        for set_, clear, gone in [
            ("ro", "rw", "ro"),
            ("nosuid", "suid", "nosuid"),
            ("nodev", "dev", "nodev"),
            ("noexec", "exec", "noexec"),
            ("sync", "async", "sync"),
            ("noatime", "atime", "noatime"),
            ("nodiratime", "diratime", "nodiratime"),
            ("lazytime", "nolazytime", "lazytime"),
            ("rro", "rrw", "ro"),
            ("silent", "loud", "silent"),
            ("noatime", "defaults", "bind"),
            ("nosymfollow", "symfollow", "nosymfollow"),
            ("relatime", "strictatime", "relatime"),
        ]
    ],
    *[
        (
            f"config: mount propagation {option}",
            mount("/m", option),
            "awk '$5==\"/m\"{print $7 ~ /shared/, $7 ~ /unbindable/}' /proc/self/mountinfo",
            shown,
        )
        for option, shown in [
            ("private", "0 0"),
            ("rprivate", "0 0"),
            ("slave", "0 0"),
            ("rslave", "0 0"),
            ("shared", "1 0"),
            ("rshared", "1 0"),
            ("unbindable", "0 1"),
            ("runbindable", "0 1"),
        ]
    ],
    (
        "config: mount option remount",
        both(mount("/m"), mount("/m", "remount", "ro")),
        "touch /m/x 2>&1 || echo no",
        "touch: /m/x: Read-only file system\nno",
    ),
    (
        "config: mount option tmpcopyup",
        mount("/etc", "tmpcopyup"),
        "cat /etc/kept; readlink /etc/link; stat -c %a /etc/kept",
        "kept\nkept\n640",
    ),
    *[
        (f"config: mount option {option}", mount("/m", option), "ls -d /m", "/m")
        for option in ("iversion", "noiversion", "norelatime", "nostrictatime", "loud")
    ],
    (
        "config: consoleSize without a terminal",
        process(consoleSize={"height": 0, "width": -1}),
        "test -t 0 || echo none",
        "none",
    ),
    (
        "config: oomScoreAdj, not set",
        lambda _: None,
        "cat /proc/self/oom_score_adj",
        Path("/proc/self/oom_score_adj").read_text().strip(),
    ),
    (
        "config: unknown properties",
        both(lambda c: c.update(what=1), linux(what={}), process(what=[])),
        "echo ran",
        "ran",
    ),
    (
        "linux: resources.devices, in order",
        linux(
            resources={
                "devices": [
                    {"allow": False, "access": "rwm"},
                    {"allow": True, "type": "c", "major": 10, "minor": 200, "access": "rwm"},
                    {"allow": True, "type": "c", "major": 1, "minor": 11, "access": "rwm"},
                    {"allow": False, "type": "c", "major": 1, "minor": 11, "access": "rwm"},
                ]
            }
        ),
        "mknod /m c 1 11; (exec 3>/m) 2>&1 | grep -o 'not permitted'",
        "not permitted",
    ),
    ("config: process.cwd", process(cwd="/tmp"), "pwd", "/tmp"),
    ("config: process.env", lambda c: c["process"]["env"].append("A=b=c"), "echo $A", "b=c"),
    (
        "config: process.rlimits",
        process(
            rlimits=[
                {"type": "RLIMIT_NOFILE", "soft": 100, "hard": 200},
                {"type": "RLIMIT_CORE", "soft": 0, "hard": 0},
            ]
        ),
        "ulimit -Sn; ulimit -Hn; ulimit -c",
        "100\n200\n0",
    ),
    (
        "config: capabilities, all five sets",
        both(
            caps(
                bounding=["CAP_NET_RAW"],
                effective=["CAP_NET_RAW"],
                permitted=["CAP_NET_RAW"],
                inheritable=["CAP_NET_RAW"],
                ambient=["CAP_NET_RAW"],
            ),
            user(uid=5, gid=6),
        ),
        "sed -n 's/^Cap...:.//p' /proc/self/status",
        "\n".join([NET_RAW] * 5),
    ),
    (
        "config: capabilities, none",
        caps(),
        "sed -n 's/^Cap...:.//p' /proc/self/status",
        "\n".join(["0" * 16] * 5),
    ),
    (
        "config: noNewPrivileges",
        process(noNewPrivileges=True),
        "awk '/NoNewPrivs/{print $2}' /proc/self/status",
        "1",
    ),
    ("config: oomScoreAdj", process(oomScoreAdj=321), "cat /proc/self/oom_score_adj", "321"),
    (
        "config: scheduler",
        process(scheduler={"policy": "SCHED_BATCH", "nice": 4}),
        "awk '{print $19, $41}' /proc/self/stat",
        "4 3",
    ),
    (
        "config: ioPriority",
        process(ioPriority={"class": "IOPRIO_CLASS_IDLE", "priority": 4}),
        "ionice -p $$",
        "idle",
    ),
    (
        "config: user",
        user(uid=5, gid=6, additionalGids=[7, 8], umask=0o27),
        "id -u; id -g; id -G; umask",
        "5\n6\n6 7 8\n0027",
    ),
    ("config: hostname", lambda c: c.update(hostname="there"), "hostname", "there"),
    (
        "config: domainname",
        lambda c: c.update(domainname="dom"),
        "cat /proc/sys/kernel/domainname",
        "dom",
    ),
    (
        "linux: default file systems",
        lambda _: None,
        "awk '$2~/^.(proc|sys|dev.pts|dev.shm)$/{print $2, $3}' /proc/self/mounts | sort",
        "/dev/pts devpts\n/dev/shm tmpfs\n/proc proc\n/sys sysfs",
    ),
    (
        "linux: time offsets",
        both(namespace("time"), linux(timeOffsets={"boottime": {"secs": 1000000000}})),
        "cut -c1 /proc/uptime",
        "1",
    ),
    (
        "linux: devices",
        linux(
            devices=[
                {
                    "path": "/dev/mine",
                    "type": "c",
                    "major": 1,
                    "minor": 3,
                    "fileMode": 0o640,
                    "uid": 3,
                    "gid": 4,
                },
                {"path": "/elsewhere/pipe", "type": "p", "fileMode": 0o600},
            ]
        ),
        "stat -c '%F %t:%T %a %u %g' /dev/mine; stat -c '%F %a' /elsewhere/pipe",
        "character special file 1:3 640 3 4\nfifo 600",
    ),
    (
        "linux: default devices",
        lambda _: None,
        "cd /dev; stat -c '%n %t:%T' null zero full random urandom tty; readlink ptmx",
        "null 1:3\nzero 1:5\nfull 1:7\nrandom 1:8\nurandom 1:9\ntty 5:0\npts/ptmx",
    ),
    (
        "linux: cgroups, below cgroupsPath",
        without_namespace("cgroup"),
        "sed 's/.*://' /proc/self/cgroup | sort -u | grep -o '/box$' | sort -u",
        "/box",
    ),
    (
        "linux: sysctl",
        linux(sysctl={"net.ipv4.ip_forward": "1", "kernel.shm_rmid_forced": "1"}),
        "cat /proc/sys/net/ipv4/ip_forward /proc/sys/kernel/shm_rmid_forced",
        "1\n1",
    ),
    (
        "linux: seccomp, errnoRet and args",
        linux(
            seccomp={
                "defaultAction": "SCMP_ACT_ALLOW",
                "syscalls": [
                    {"names": ["mkdir", "mkdirat"], "action": "SCMP_ACT_ERRNO", "errnoRet": 28}
                ],
            }
        ),
        "mkdir /tmp/x 2>&1 || echo no",
        "mkdir: can't create directory '/tmp/x': No space left on device\nno",
    ),
    (
        "linux: seccomp flags",
        linux(
            seccomp={
                "defaultAction": "SCMP_ACT_ALLOW",
                "flags": ["SECCOMP_FILTER_FLAG_LOG"],
                "architectures": ["SCMP_ARCH_X86_64"] if os.uname().machine == "x86_64" else [],
            }
        ),
        "awk '/^Seccomp:/{print $2}' /proc/self/status",
        "2",
    ),
    (
        "linux: rootfsPropagation",
        linux(rootfsPropagation="shared"),
        "awk '$5==\"/\"{print $7 ~ /shared/}' /proc/self/mountinfo",
        "1",
    ),
    (
        "linux: maskedPaths",
        linux(maskedPaths=["/etc", "/bin/busybox.copy", "/nowhere"]),
        "ls /etc | wc -l; wc -c </bin/busybox.copy",
        "0\n0",
    ),
    (
        "linux: readonlyPaths",
        linux(readonlyPaths=["/tmp", "/nowhere"]),
        "touch /tmp/x 2>&1 || true",
        "touch: /tmp/x: Read-only file system",
    ),
    (
        "linux: personality",
        linux(personality={"domain": "LINUX32"}),
        "uname -m",
        "i686" if os.uname().machine == "x86_64" else "armv8l",
    ),
    *[
        (
            f"linux: a new {kind} namespace",
            lambda _: None,
            f"readlink /proc/self/ns/{file} | grep -cv '{os.readlink(f'/proc/self/ns/{file}')}'",
            "1",
        )
        for kind, file in [
            ("pid", "pid"),
            ("network", "net"),
            ("mount", "mnt"),
            ("ipc", "ipc"),
            ("uts", "uts"),
            ("cgroup", "cgroup"),
        ]
    ],
    *[
        (
            f"linux: the runtime's {kind} namespace",
            both(without_namespace(kind), change),
            f"readlink /proc/self/ns/{file}",
            os.readlink(f"/proc/self/ns/{file}"),
        )
        for kind, file, change in [
            ("network", "net", lambda _: None),
            ("ipc", "ipc", lambda _: None),
            ("uts", "uts", lambda c: c.pop("hostname")),
            ("pid", "pid", lambda _: None),
            ("cgroup", "cgroup", lambda _: None),
        ]
    ],
]


def prepare(oci, script, change):
    config = oci.sh(script)
    change(config)
    return config


# What may differ with the cgroup layout, or the guest's older kernel.
IN_GUEST_TOO = {
    "config: mount option rro",
    "linux: devices",
    "linux: cgroups, below cgroupsPath",
    "linux: a new cgroup namespace",
    "linux: seccomp, errnoRet and args",
    "linux: unified of a controller that is not there",
}


def parameters(rows):
    elsewhere = [pytest.mark.native]
    return [pytest.param(*r, id=n, marks=() if n in IN_GUEST_TOO else elsewhere) for n, *r in rows]


@pytest.mark.parametrize(("change", "script", "expected"), parameters(SEEN))
def test_what_is_seen_inside(oci, change, script, expected):
    bundle = oci.bundle(prepare(oci, script, change))
    rootfs = bundle / "rootfs"
    (rootfs / "etc" / "kept").write_text("kept\n")
    (rootfs / "etc" / "kept").chmod(0o640)
    (rootfs / "etc" / "link").symlink_to("kept")
    (rootfs / "bin" / "busybox.copy").write_text("text")
    result = oci("run", "--bundle", str(bundle), "box")
    assert result.stdout.strip() == expected


# (where, what the configuration says, what the error says)
REFUSED = [
    ("config: ociVersion", lambda c: c.update(ociVersion="2.0.0"), "not a version 1.x"),
    ("config: ociVersion is a version", lambda c: c.update(ociVersion="1.x"), "not a version 1.x"),
    ("config: annotations are a map", lambda c: c.update(annotations=["a"]), "they are a map"),
    ("config: a key is not empty", lambda c: c.update(annotations={"": "a"}), "no key is empty"),
    ("config: a value is a string", lambda c: c.update(annotations={"a": 1}), "have a string"),
    (
        "config: a hook's path is absolute",
        lambda c: c.update(hooks={"prestart": [{"path": "x"}]}),
        "its path must be absolute",
    ),
    (
        "config: a hook's timeout is more than zero",
        lambda c: c.update(hooks={"prestart": [{"path": "/bin/true", "timeout": 0}]}),
        "must be more than 0 s",
    ),
    (
        "config: uidMappings with gidMappings",
        lambda c: c["mounts"].append(
            {
                "destination": "/m",
                "type": "bind",
                "source": "/etc",
                "uidMappings": [{"containerID": 0, "hostID": 1, "size": 1}],
            }
        ),
        "belong together",
    ),
    (
        "config: idmap without mappings",
        mount("/m", "bind", "idmap", source="/etc"),
        "neither it nor the container has mappings",
    ),
    (
        "config: unknown ioPriority",
        process(ioPriority={"class": "IOPRIO_CLASS_X", "priority": 1}),
        "is not known",
    ),
    ("config: root is required", lambda c: c.pop("root"), "root.path is missing"),
    (
        "config: a directory must exist at root.path",
        lambda c: c["root"].update(path="nowhere"),
        "is not a directory",
    ),
    ("config: cwd is absolute", process(cwd="tmp"), "must be an absolute path"),
    ("config: args has an entry", process(args=[]), "process.args is empty"),
    (
        "config: unknown rlimit",
        process(rlimits=[{"type": "RLIMIT_X", "soft": 1, "hard": 1}]),
        "'RLIMIT_X' is not known",
    ),
    (
        "config: rlimit twice",
        process(rlimits=[{"type": "RLIMIT_CORE", "soft": 1, "hard": 1}] * 2),
        "is given twice",
    ),
    ("config: unknown scheduler", process(scheduler={"policy": "SCHED_ISO"}), "'SCHED_ISO'"),
    (  # natively only: the guest has it
        "config: apparmorProfile without AppArmor",
        process(apparmorProfile="p"),
        "this host has no AppArmor",
    ),
    ("config: selinuxLabel without SELinux", process(selinuxLabel="l"), "this host has no SELinux"),
    ("config: bind source is missing", mount("/m", "bind", source="/nowhere"), "does not exist"),
    ("linux: unknown namespace", namespace("net"), "'net' is not known"),
    ("linux: namespace twice", namespace("pid"), "given twice"),
    (
        "linux: namespace path of another type",
        both(without_namespace("network"), namespace("network", "/proc/self/ns/uts")),
        "not a namespace of type 'network'",
    ),
    (
        "linux: namespace path is absolute",
        both(without_namespace("network"), namespace("network", "ns/net")),
        "must be absolute",
    ),
    (
        "linux: a device that does not match what is there",
        linux(devices=[{"path": "/etc/kept", "type": "c", "major": 1, "minor": 3}]),
        "something else",
    ),
    ("linux: sysctl of the host", linux(sysctl={"vm.swappiness": "1"}), "belongs to the host"),
    (
        "linux: sysctl without its namespace",
        both(without_namespace("network"), linux(sysctl={"net.core.somaxconn": "9"})),
        "needs a network namespace",
    ),
    ("linux: maskedPaths are absolute", linux(maskedPaths=["etc"]), "must be an absolute path"),
    ("linux: readonlyPaths are absolute", linux(readonlyPaths=["etc"]), "must be an absolute path"),
    ("linux: unknown rootfsPropagation", linux(rootfsPropagation="x"), "is not known"),
    (
        "linux: a device's type",
        linux(devices=[{"path": "/dev/x", "type": "q", "major": 1, "minor": 3}]),
        "is not one of",
    ),
    ("linux: seccomp action", linux(seccomp={"defaultAction": "X"}), "action 'X' is not known"),
    (
        "linux: seccomp errnoRet of a rule's action without",
        linux(
            seccomp={
                "defaultAction": "SCMP_ACT_ALLOW",
                "syscalls": [{"names": ["mkdir"], "action": "SCMP_ACT_KILL", "errnoRet": 1}],
            }
        ),
        "leave errnoRet out",
    ),
    ("linux: mountLabel", linux(mountLabel="l"), "turn labels off"),
    ("linux: intelRdt without resctrl", linux(intelRdt={"closID": "x"}), "intelRdt"),
    (
        "linux: seccomp errnoRet of an action without",
        linux(seccomp={"defaultAction": "SCMP_ACT_ALLOW", "defaultErrnoRet": 1}),
        "leave errnoRet out",
    ),
    (
        "linux: seccomp rule without names",
        linux(
            seccomp={
                "defaultAction": "SCMP_ACT_ALLOW",
                "syscalls": [{"names": [], "action": "SCMP_ACT_ERRNO"}],
            }
        ),
        "names no system call",
    ),
    (
        "linux: seccomp notify",
        linux(
            seccomp={
                "defaultAction": "SCMP_ACT_ALLOW",
                "listenerPath": "/s",
                "syscalls": [{"names": ["mkdir"], "action": "SCMP_ACT_NOTIFY"}],
            }
        ),
        "NOTIFY",
    ),
    (
        "linux: unified of a controller that is not there",
        linux(resources={"unified": {"nosuch.max": "1"}}),
        "nosuch",
    ),
    ("linux: rdma without a limit", linux(resources={"rdma": {"mlx": {}}}), "has no limit"),
    ("runtime: the program is missing", process(args=["nosuch"]), "executable file not found"),
]


@pytest.mark.parametrize(("change", "complaint"), parameters(REFUSED))
def test_what_is_refused(oci, change, complaint):
    config = prepare(oci, "true", change)
    if complaint == "something else":
        config["linux"]["devices"][0]["path"] = "/bin/sh"
    assert complaint in oci.refused(config)


@pytest.mark.native
def test_config_a_bind_of_the_bundle_is_relative_to_it(oci):
    config = oci.sh("cat /m/file; touch /m/x 2>&1 || true")
    mount("/m", "bind", "ro", source="rootfs/etc")(config)
    bundle = oci.bundle(config)
    (bundle / "rootfs" / "etc" / "file").write_text("text\n")
    result = oci("run", "-b", str(bundle), "box")
    assert result.stdout == "text\ntouch: /m/x: Read-only file system\n"


@pytest.mark.native
def test_linux_a_namespace_is_joined_by_its_file(oci):
    first = oci.bundle(oci.sh("exec sleep 1000"))
    oci("run", "-d", "-b", str(first), "first")
    pid = oci.state("first")["pid"]
    kinds = {"network": "net", "ipc": "ipc", "uts": "uts", "pid": "pid"}
    config = oci.sh(
        "for n in net ipc uts pid; do readlink /proc/self/ns/$n; done; ps -o args | grep -c ^sleep"
    )
    for kind, file in kinds.items():
        both(without_namespace(kind), namespace(kind, f"/proc/{pid}/ns/{file}"))(config)
    config["linux"]["cgroupsPath"] += "2"
    *seen, sleeps = oci.output(config).split()
    assert seen == [os.readlink(f"/proc/{pid}/ns/{file}") for file in kinds.values()]
    assert sleeps == "1"


def test_linux_limits_are_held_by_the_cgroup(oci):
    config = oci.sh("exec sleep 1000")
    config["linux"]["resources"] = {"pids": {"limit": 17}, "memory": {"limit": 64 << 20}}
    oci("run", "-d", "-b", str(oci.bundle(config)), "box")
    from cgagent.cgroups import Host

    held = Host.detect().group(f"{oci.group}/box").held()
    assert (held.pids_max, held.memory_max_bytes) == (17, 64 << 20)
    oci("update", "--pids-limit", "18", "box")
    assert Host.detect().group(f"{oci.group}/box").held().pids_max == 18


@pytest.mark.native
def test_config_capabilities_that_cannot_be_granted_are_a_warning(oci):
    config = oci.sh("grep ^CapBnd /proc/self/status")
    caps(bounding=["CAP_NET_RAW", "CAP_NOSUCH"], permitted=["CAP_NOSUCH"])(config)
    done = oci.run(config)
    assert done.stdout.split() == ["CapBnd:", NET_RAW]
    assert done.stderr.count("warning: capability 'CAP_NOSUCH' is not known") == 1
    oci("run", "-d", "-b", str(oci.bundle(oci.sh("exec sleep 1000"))), "box")
    process_file = oci.folder / "process.json"
    process_file.write_text(json.dumps({**config["process"], "args": ["true"]}))
    told = oci("exec", "--process", str(process_file), "box").stderr
    assert "warning: capability 'CAP_NOSUCH' is not known" in told


@pytest.mark.native
def test_linux_a_relative_cgroups_path_is_the_same_place_each_time(oci):
    places = set()
    for lead in ("", "/"):
        config = oci.sh("exec sleep 1000")
        config["linux"]["cgroupsPath"] = lead + config["linux"]["cgroupsPath"].strip("/")
        oci("run", "-d", "-b", str(oci.bundle(config)), "box")
        places.add(Path(f"/proc/{oci.state()['pid']}/cgroup").read_text())
        oci("delete", "--force", "box")
    assert len(places) == 1


@pytest.mark.native
@pytest.mark.parametrize("command", ["state", "create", "start", "kill", "delete"])
def test_runtime_an_operation_needs_an_id(oci, command):
    done = oci(command, check=False)
    assert done.returncode != 0
    assert "id" in done.stderr.lower()


@pytest.mark.native
def test_runtime_a_failing_poststart_hook_stops_the_container(oci):
    """As version 1.3 has it, and runc; 1.2 wanted a warning."""
    config = oci.sh("exec sleep 1000")
    config["hooks"] = {"poststart": [{"path": "/bin/false"}]}
    assert "poststart hook /bin/false: exit code 1" in oci.refused(config)
