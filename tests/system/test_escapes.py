"""Ways out of containers that other runtimes had, by their CVE numbers: none of them is one here.

CVE-2018-15664, CVE-2026-41567, CVE-2026-41568 and CVE-2026-42306 (archives) have their tests with
the layers and with cp: images/test_layers.py, agent/test_copying_harm.py, unit/cli/test_copy.py.
CVE-2025-52565 (the console) is in unit/kernel/test_pty.py and unit/runtime/test_console.py as
well as here. In the guest run those that have to do with cgroups.
"""

import os
import stat
import subprocess
import sysconfig
from pathlib import Path

import pytest

from cgagent.kernel import capabilities
from tests.world.oci import PROGRAM

pytestmark = pytest.mark.system


IDS = [{"containerID": 0, "hostID": 0, "size": 65536}]
"""The host's root is root inside: nothing but the namespace stands between them."""


def bind(source, destination, *options):
    return {
        "destination": destination,
        "type": "bind",
        "source": str(source),
        "options": ["rbind", *options],
    }


def without_mount(config, destination):
    config["mounts"] = [m for m in config["mounts"] if m["destination"] != destination]


@pytest.fixture
def host_directory(oci):
    """A directory of the host that a container has no business in."""
    folder = oci.folder / "host"
    folder.mkdir()
    return folder


@pytest.mark.native
@pytest.mark.parametrize("users", [(), ("user",)])
def test_cve_2019_5736_our_interpreter_cannot_be_reached(oci, users):
    """A process of ours waits inside; root in its namespaces looks at /proc/1/exe."""
    first = oci.sh("true")
    if users:
        first["linux"]["namespaces"].append({"type": "user"})
        first["linux"].update(uidMappings=IDS, gidMappings=IDS)
    oci("create", "-b", str(oci.bundle(first)), "first")
    pid = oci.state("first")["pid"]
    flags = os.statvfs(f"/proc/{pid}/exe").f_flag
    assert flags & os.ST_RDONLY  # with every capability it could not be written to either
    script = "for f in exe root fd/0; do readlink /proc/1/$f || echo none; done"
    config = oci.sh(script)
    joined = ("pid", *users)
    kept = [n for n in config["linux"]["namespaces"] if n["type"] not in joined]
    paths = [{"type": kind, "path": f"/proc/{pid}/ns/{kind}"} for kind in joined]
    config["linux"]["namespaces"] = [*kept, *paths]
    config["linux"]["cgroupsPath"] += "2"
    assert oci.output(config).split() == ["none", "none", "none"]


@pytest.mark.native
def test_cve_2019_14271_nothing_is_loaded_from_the_containers_files(oci):
    """Its root has modules where ours are; whatever fails late must not load them."""
    bundle = oci.bundle(oci.config("nosuch"))
    library = bundle / "rootfs" / sysconfig.get_path("stdlib")[1:]
    names = [p.stem for p in Path(sysconfig.get_path("stdlib")).glob("*.py")]
    for name in (*names, "encodings/__init__", "encodings/latin_1", "encodings/idna"):
        module = library / f"{name}.py"
        module.parent.mkdir(parents=True, exist_ok=True)
        module.write_text("open('/loaded', 'w').close()\n")
    failed = oci("run", "-b", str(bundle), "box", check=False)
    assert "executable file not found" in failed.stderr
    assert not (bundle / "rootfs" / "loaded").exists()


@pytest.mark.native
def test_cve_2021_30465_a_mount_does_not_follow_the_images_symlinks_out(oci, host_directory):
    config = oci.sh("ls /link/made")
    config["mounts"].append(
        {"destination": "/link/made", "type": "tmpfs", "source": "tmpfs", "options": []}
    )
    bundle = oci.bundle(config)
    (bundle / "rootfs" / "link").symlink_to("../../../../../../../" + str(host_directory))
    inside = bundle / "rootfs" / str(host_directory)[1:]
    inside.mkdir(parents=True)
    oci("run", "-b", str(bundle), "box")
    assert not list(host_directory.iterdir())
    assert (inside / "made").is_dir()


def test_cve_2022_0492_no_cgroup_file_can_be_written(oci):
    config = oci.sh(
        "cd /sys/fs/cgroup; for f in $(find . -name release_agent -o -name cgroup.procs); do "
        "echo 1 2>/dev/null >$f && echo $f; done; mkdir $(dirname $(find . -name cgroup.procs | "
        "head -1))/x 2>/dev/null && echo made; find . -name cgroup.procs | grep -c ."
    )
    config["mounts"].append(
        {
            "destination": "/sys/fs/cgroup",
            "type": "cgroup",
            "source": "cgroup",
            "options": ["nosuid", "noexec", "nodev", "ro"],
        }
    )
    assert int(oci.output(config)) > 0


def test_cve_2022_0492_nor_that_of_another_mount(oci):
    """With every capability in a user namespace, where hierarchies can be mounted anew."""
    script = "for c in memory pids freezer; do mount -t cgroup -o $c c /tmp && "
    script += "echo /x >/tmp/release_agent && echo written; done; true"
    config = oci.sh(f"exec 2>/dev/null; {script}")
    config["linux"]["namespaces"].append({"type": "user"})
    config["linux"].update(uidMappings=IDS, gidMappings=IDS)
    every = list(capabilities.NAMES)
    sets = ("bounding", "effective", "permitted", "inheritable", "ambient")
    config["process"]["capabilities"] = dict.fromkeys(sets, every)
    assert oci.output(config) == ""


@pytest.mark.native
@pytest.mark.parametrize("number", range(3, 16))
def test_cve_2024_21626_the_working_directory_is_inside(oci, number):
    config = oci.sh("true")
    config["process"]["cwd"] = f"/proc/self/fd/{number}"
    assert "working directory" in oci.refused(config)


@pytest.mark.native
def test_cve_2024_21626_a_descriptor_of_a_host_directory_does_not_lead_out(oci):
    """Given on purpose, so that nothing but the look at the working directory stands in the way."""
    config = oci.sh("ls")
    config["process"]["cwd"] = "/proc/self/fd/3"
    flags = ("run", "--preserve-fds", "1", "-b", str(oci.bundle(config)), "box")
    words = [PROGRAM, "--root", str(oci.root), *flags]
    command = ["sh", "-c", 'exec 3</etc; exec "$@"', "sh", *words]
    done = subprocess.run(command, check=False, capture_output=True, text=True)
    assert "leads out of the container" in done.stderr
    assert done.stdout == ""


@pytest.mark.native
def test_cve_2024_21626_what_waits_inside_holds_nothing_of_the_host(oci):
    words = [PROGRAM, "--root", str(oci.root), "create", "-b", str(oci.bundle(oci.sh("true")))]
    out = oci.folder / "out"
    script = f'exec 9</etc 8<{out.parent} >{out} 2>&1; exec "$@"'
    subprocess.run(["sh", "-c", script, "sh", *words, "box"], check=True, stdin=subprocess.DEVNULL)
    folder = f"/proc/{oci.state()['pid']}/fd"
    held = [os.readlink(f"{folder}/{fd}") for fd in os.listdir(folder)]
    assert [h for h in held if not h.startswith("socket:")] == ["/dev/null", str(out), str(out)]


@pytest.mark.native
def test_cve_2024_21626_the_command_holds_nothing_of_the_host(oci):
    bundle = oci.bundle(oci.sh("ls /proc/$$/fd; true"))
    words = [PROGRAM, "--root", str(oci.root), "run", "-b", str(bundle)]
    script = 'exec 9</etc 8</; exec "$@"'
    command = ["sh", "-c", script, "sh", *words, "box"]
    done = subprocess.run(
        command, check=True, capture_output=True, text=True, stdin=subprocess.DEVNULL, timeout=60
    )
    assert done.stdout.split() == ["0", "1", "2"]


@pytest.mark.native
def test_cve_2024_21626_an_exec_does_not_lead_out_either(oci):
    oci("run", "-d", "-b", str(oci.bundle(oci.sh("exec sleep 1000"))), "box")
    for number in range(3, 16):
        done = oci("exec", "--cwd", f"/proc/self/fd/{number}", "box", "true", check=False)
        assert "working directory" in done.stderr


@pytest.fixture
def without_null(oci, host_directory):
    """A bundle whose /dev has a symlink where the null device should be, and what it masks."""
    config = oci.sh("stat -c %t:%T /secret; chmod 666 /secret")
    config["mounts"] = [m for m in config["mounts"] if not m["destination"].startswith("/dev")]
    config["mounts"].append(bind(host_directory, "/dev"))  # so that none is made there
    (host_directory / "null").symlink_to("/secret")
    config["linux"]["maskedPaths"] = ["/secret"]
    bundle = oci.bundle(config)
    (bundle / "rootfs" / "secret").write_text("secret")
    return bundle


@pytest.mark.native
def test_cve_2025_31133_a_mask_is_the_real_null_device(oci, without_null):
    before = os.stat("/dev/null").st_ctime_ns
    done = oci("run", "-b", str(without_null), "box", check=False)
    assert done.stdout == "1:3\n"
    # it is the host's: whoever is inside must not give it another mode
    assert "Read-only file system" in done.stderr
    assert os.stat("/dev/null").st_ctime_ns == before


@pytest.mark.native
@pytest.mark.parametrize("kind", [stat.S_IFREG, stat.S_IFCHR])
def test_cve_2025_31133_nor_is_another_file_of_that_name(oci, kind):
    """The image's /dev has it, and none is mounted over that: an error, or the real one."""
    config = oci.sh("true")
    config["mounts"] = [m for m in config["mounts"] if not m["destination"].startswith("/dev")]
    config["linux"]["maskedPaths"] = ["/secret"]
    bundle = oci.bundle(config)
    (bundle / "rootfs" / "secret").write_text("secret")
    os.mknod(bundle / "rootfs" / "dev" / "null", kind | 0o666, os.makedev(1, 5))
    done = oci("run", "-b", str(bundle), "box", check=False)
    assert "device null: the container has something else of that name" in done.stderr


@pytest.mark.native
def test_cve_2025_31133_nor_is_the_hosts_believed(oci, without_null):
    fake = oci.folder / "fake"
    fake.write_text("something")
    words = [PROGRAM, "--root", str(oci.root), "run", "-b", str(without_null), "box"]
    script = 'mount --bind "$1" /dev/null && shift && exec "$@"'
    command = ["unshare", "--mount", "sh", "-c", script, "sh", str(fake), *words]
    done = subprocess.run(
        command, check=False, capture_output=True, text=True, stdin=subprocess.PIPE
    )
    assert "/dev/null of the host is not the null device" in done.stderr


@pytest.mark.native
def test_cve_2025_52565_the_console_is_the_terminal(oci, host_directory):
    """The image has a symlink at /dev/console and no /dev is mounted over it."""
    target = host_directory / "file"
    target.write_text("the host's")
    config = oci.sh("stat -Lc %t /dev/console; exec sleep 1000")
    config["mounts"] = [m for m in config["mounts"] if m["destination"] not in {"/dev", "/dev/shm"}]
    without_mount(config, "/dev/mqueue")
    config["process"]["terminal"] = True
    bundle = oci.bundle(config)
    (bundle / "rootfs" / "dev" / "console").symlink_to("../../../../../../.." + str(target))
    inside = bundle / "rootfs" / str(target)[1:]
    inside.parent.mkdir(parents=True)
    inside.touch()
    # 136: a pseudo-terminal's slave
    assert oci.terminal(bundle, 1).startswith(b"88")
    assert target.read_text() == "the host's"


@pytest.mark.native
def test_cve_2025_52881_kernel_parameters_go_to_the_kernel(oci, host_directory):
    """A volume over /proc, into which what is written for the container would go, is refused."""
    files = ("sys/net/ipv4/ip_default_ttl", "self/oom_score_adj", "self/attr/exec")
    for name in files:
        (host_directory / name).parent.mkdir(parents=True, exist_ok=True)
        (host_directory / name).write_text("untouched")
    config = oci.sh("cat /real/sys/net/ipv4/ip_default_ttl /real/self/oom_score_adj")
    for entry in config["mounts"]:
        if entry["destination"] == "/proc":
            entry["destination"] = "/real"
    config["mounts"].append(bind(host_directory, "/proc"))
    config["linux"]["maskedPaths"] = config["linux"]["readonlyPaths"] = []
    config["linux"]["sysctl"] = {"net.ipv4.ip_default_ttl": "77"}
    config["process"]["oomScoreAdj"] = 456
    done = oci("run", "-b", str(oci.bundle(config)), "box", check=False)
    assert done.returncode == 1
    assert "on /proc: only a proc file system can be mounted there" in done.stderr
    assert {(host_directory / name).read_text() for name in files} == {"untouched"}


@pytest.mark.native
@pytest.mark.parametrize("mounted", [True, False])
def test_cve_2026_41579_a_symlink_at_dev_leads_to_no_volume(oci, host_directory, mounted):
    config = oci.sh("test -c /dev/null")
    config["mounts"].insert(0, bind(host_directory, "/volume"))
    if not mounted:
        config["mounts"] = [m for m in config["mounts"] if not m["destination"].startswith("/dev")]
    bundle = oci.bundle(config)
    (bundle / "rootfs" / "dev").rmdir()
    (bundle / "rootfs" / "dev").symlink_to("volume")
    done = oci("run", "-b", str(bundle), "box", check=False)
    assert done.returncode == (0 if mounted else 1)
    assert not [p for p in host_directory.iterdir() if not p.is_dir()]


@pytest.mark.native
def test_cve_2026_41579_a_volume_that_is_dev_by_another_name_gets_no_nodes(oci, host_directory):
    config = oci.sh("true")
    config["mounts"] = [m for m in config["mounts"] if not m["destination"].startswith("/dev")]
    config["mounts"].append(bind(host_directory, "/link"))
    bundle = oci.bundle(config)
    (bundle / "rootfs" / "link").symlink_to("dev")
    done = oci("run", "-b", str(bundle), "box", check=False)
    assert "/dev is not the container's own" in done.stderr
    assert not list(host_directory.iterdir())


@pytest.mark.native
def test_cve_2026_47766_a_volume_bound_over_dev_later_gets_no_nodes(oci, host_directory):
    config = oci.sh("true")
    config["mounts"].append(bind(host_directory, "/late"))
    bundle = oci.bundle(config)
    (bundle / "rootfs" / "dev").rmdir()
    (bundle / "rootfs" / "late").mkdir()
    (bundle / "rootfs" / "dev").symlink_to("late")
    oci("run", "-b", str(bundle), "box", check=False)
    assert not list(host_directory.iterdir())
