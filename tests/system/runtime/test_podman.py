"""podman over `cgagent-oci`, through conmon: what users of that runtime see."""

import os
import shutil
import subprocess

import pytest

from tests.world import debian, images, naming
from tests.world.oci import PROGRAM

pytestmark = [pytest.mark.system, pytest.mark.native]  # podman's images and conmon want a host

CONF = """[engine]
conmon_path = ["{conmon}"]
runtime = "cgagent"
cgroup_manager = "cgroupfs"
events_logger = "file"
[engine.runtimes]
cgagent = ["{program}"]
"""
# This machine may not raise limits; podman would ask for 1048576 open files.
FLAGS = ("--network", "none", "--ulimit", "nofile=999:999", "--ulimit", "nproc=999:999")


class Podman:
    def __init__(self, folder):
        self.group = naming.cgroup_path()
        podman, conmon = (
            debian.unpack(name) / "usr" / "bin" / name for name in ("podman", "conmon")
        )
        conf = folder / "containers.conf"
        conf.write_text(CONF.format(conmon=conmon, program=PROGRAM))
        places = ("--root", str(folder / "data"), "--runroot", str(folder / "run"))
        self._words = [str(podman), *places, "--storage-driver", "overlay"]
        self._environment = {**os.environ, "CONTAINERS_CONF": str(conf)}

    def __call__(self, *words, **options):
        return subprocess.run(
            [*self._words, *words],
            check=False,
            capture_output=True,
            text=True,
            timeout=60,
            env=self._environment,
            **options,
        )

    def run(self, *words):
        flags = (*FLAGS, "--cgroup-parent", self.group)
        return self("run", *flags, *words, stdin=subprocess.DEVNULL)


@pytest.fixture(scope="module")
def podman(state_root):
    from cgagent.cgroups import Host

    folder = state_root / "podman"
    folder.mkdir()
    program = Podman(folder)
    try:
        loaded = program("load", "-i", str(images.busybox_docker_archive()))
        assert loaded.returncode == 0, loaded.stderr
        yield program
        program("rm", "--all", "--force", "--time", "0")
        program("rmi", "--all", "--force")
    finally:
        group = Host.detect().group(program.group)
        if group.exists():
            group.kill()
            group.remove()
        subprocess.run(["umount", "--lazy", str(folder / "data" / "overlay")], check=False)
        shutil.rmtree(folder)


def test_output_and_exit_code(podman):
    done = podman.run("--rm", "busybox", "sh", "-c", "echo hello; echo oops >&2; exit 7")
    assert (done.stdout, done.stderr, done.returncode) == ("hello\n", "oops\n", 7)


def test_true_is_as_the_readme_says(podman):
    assert podman.run("--rm", "busybox", "true").returncode == 0


@pytest.mark.parametrize(("command", "code"), [("nosuch", 127), ("/etc", 126)])
def test_commands_that_cannot_run(podman, command, code):
    done = podman.run("--rm", "busybox", command)
    assert done.returncode == code
    assert command in done.stderr


def test_limits_are_set(podman):
    script = "cat /sys/fs/cgroup/memory/memory.limit_in_bytes /sys/fs/cgroup/memory.max"
    done = podman.run("--rm", "--memory", "64m", "busybox", "sh", "-c", script)
    assert done.stdout == f"{64 << 20}\n"


def test_a_terminal(podman):
    done = podman.run("--rm", "-t", "busybox", "sh", "-c", "tty; exit 6")
    assert done.stdout.strip() == "/dev/pts/0"
    assert done.returncode == 6


def test_exec_pause_stop(podman):
    assert podman.run("-d", "--name", "box", "busybox", "sleep", "1000").returncode == 0
    done = podman("exec", "box", "sh", "-c", "cat /proc/1/comm; exit 4")
    assert (done.stdout, done.returncode) == ("sleep\n", 4)
    assert podman("pause", "box").returncode == 0
    assert "paused" in podman("inspect", "-f", "{{.State.Status}}", "box").stdout
    assert podman("unpause", "box").returncode == 0
    assert "sleep" in podman("top", "box").stdout
    assert podman("stop", "--time", "1", "box").returncode == 0
    assert podman("inspect", "-f", "{{.State.ExitCode}}", "box").stdout == "137\n"
    assert podman("rm", "box").returncode == 0
