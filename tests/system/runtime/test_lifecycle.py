"""What a container goes through under `cgagent oci`: operations, hooks, exec, log, descriptors."""

import json
import os
import signal
import stat
import subprocess
import time

import pytest

from cgagent.cgroups import Host
from tests.world.oci import PROGRAM

pytestmark = pytest.mark.system


@pytest.fixture
def sleeper(oci):
    """A running container."""
    bundle = oci.bundle(oci.sh("exec sleep 1000"))
    oci("run", "--detach", "--bundle", str(bundle), "box")
    return "box"


def wait_until(condition, slowness):
    deadline = time.monotonic() + 20 * slowness
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.02)


def test_create_start_delete(oci, slowness):
    config = oci.sh("touch /done; exec sleep 1000")
    config["annotations"] = {"a": "b"}
    bundle = oci.bundle(config)
    pid_file = oci.folder / "pid"
    oci("create", "--bundle", str(bundle), "--pid-file", str(pid_file), "box")
    state = oci.state()
    assert state["status"] == "created"
    assert state["pid"] == int(pid_file.read_text())
    assert (state["bundle"], state["annotations"]) == (str(bundle), {"a": "b"})
    assert not (bundle / "rootfs" / "done").exists()
    (bundle / "config.json").write_text("{}")  # of no effect any more
    oci("start", "box")
    wait_until((bundle / "rootfs" / "done").exists, slowness)
    assert oci.state()["status"] == "running"
    assert "is running, not created" in oci("start", "box", check=False).stderr
    assert "is running" in oci("delete", "box", check=False).stderr
    oci("kill", "box", "SIGRTMAX-1")  # which ends whoever does not handle it, but no PID 1
    oci("kill", "box", "KILL")
    wait_until(lambda: oci.state()["status"] == "stopped", slowness)
    assert "is not running" in oci("kill", "box", "TERM", check=False).stderr
    oci("delete", "box")
    assert not Host.detect().group(f"{oci.group}").exists()  # nor the one above it
    assert "does not exist" in oci("state", "box", check=False).stderr


@pytest.mark.native
def test_a_container_that_was_never_started_is_deleted(oci):
    oci("create", "-b", str(oci.bundle(oci.sh("true"))), "box")
    oci("delete", "box")
    assert not oci.root.exists()


@pytest.mark.native
def test_an_id_is_taken_once_and_must_be_a_name(oci, sleeper):
    bundle = str(oci.bundle(oci.sh("true")))
    assert "exists" in oci("create", "-b", bundle, "box", check=False).stderr
    assert oci.state()["status"] == "running"
    for name in ("a/b", "..", "", "a b"):
        assert oci("create", "-b", bundle, name, check=False).returncode == 1
    assert oci("state", check=False).returncode == 1


@pytest.mark.native
def test_deleting_what_is_not_there(oci):
    assert oci("delete", "box", check=False).returncode == 1
    oci("delete", "--force", "box")


@pytest.mark.native
def test_the_exit_code_is_the_containers(oci):
    assert oci.run(oci.sh("exit 7")).returncode == 7
    assert oci.run(oci.sh("kill -9 $$")).returncode == 0  # PID 1 does not die of its own signals
    assert not oci.root.exists()


def test_pause_and_resume(oci, sleeper):
    oci("pause", "box")
    assert oci.state()["status"] == "paused"
    assert oci("exec", "box", "true", check=False).returncode == 255
    oci("resume", "box")
    assert oci.state()["status"] == "running"


@pytest.mark.native
def test_exec(oci, sleeper):
    done = oci(
        "exec",
        "--env",
        "A=b",
        "--cwd",
        "/tmp",
        "--user",
        "5:6",
        "box",
        "sh",
        "-c",
        "echo $A $(pwd) $(id -u) $(id -g); cat /proc/1/comm; exit 9",
        check=False,
    )
    assert (done.stdout, done.returncode) == ("b /tmp 5 6\nsleep\n", 9)
    assert oci("exec", "box", "nosuch", check=False).returncode == 127
    assert oci("exec", "box", "/etc", check=False).returncode == 126
    pid_file = oci.folder / "pid"
    oci("exec", "--detach", "--pid-file", str(pid_file), "box", "sleep", "500")
    pid = int(pid_file.read_text())
    assert os.readlink(f"/proc/{pid}/ns/pid") == os.readlink(f"/proc/{oci.state()['pid']}/ns/pid")
    pids = json.loads(oci("ps", "--format", "json", "box").stdout)
    assert pids == sorted([oci.state()["pid"], pid])
    assert "sleep 500" in oci("ps", "box").stdout


def test_the_last_container_takes_the_groups_above_along(oci):
    """Whoever made them, but nothing that was there before."""
    host = Host.detect()
    host.group(f"{oci.group}/before").create()
    for name in ("first", "second"):
        config = oci.sh("true")
        config["linux"]["cgroupsPath"] = f"{oci.group}/before/a/b/{name}"
        oci("create", "-b", str(oci.bundle(config)), name)
    oci("delete", "first")
    assert host.group(f"{oci.group}/before/a/b").exists()
    oci("delete", "second")
    assert not host.group(f"{oci.group}/before/a").exists()
    assert host.group(f"{oci.group}/before").exists()


@pytest.mark.native
def test_exec_has_the_cpus_it_asks_for(oci, sleeper):
    file = oci.folder / "process.json"
    script = "awk '/Cpus_allowed_list/{print $2}' /proc/self/status"
    process = {"args": ["sh", "-c", script], "cwd": "/", "env": ["PATH=/bin"]}
    cpu = max(os.sched_getaffinity(0))
    for asked, seen in [
        ({"initial": str(cpu)}, f"{cpu}\n"),
        ({"initial": "0-999", "final": str(cpu)}, f"{cpu}\n"),
        ({"final": "4000"}, "execCPUAffinity.final '4000': invalid argument"),
        ({"initial": "x"}, "must be like 0-3,8"),
    ]:
        file.write_text(json.dumps({**process, "execCPUAffinity": asked}))
        done = oci("exec", "--process", str(file), "box", check=False)
        assert seen in done.stdout + done.stderr


@pytest.mark.native
def test_exec_takes_a_process_file(oci, sleeper):
    process = {
        "args": ["sh", "-c", "echo $0"],
        "cwd": "/",
        "user": {"uid": 0, "gid": 0},
        "env": ["PATH=/bin"],
    }
    file = oci.folder / "process.json"
    file.write_text(json.dumps(process))
    assert oci("exec", "--process", str(file), "box").stdout == "sh\n"


@pytest.mark.native
def test_list(oci, sleeper):
    assert oci("list", "-q").stdout == "box\n"
    (view,) = json.loads(oci("list", "--format", "json").stdout)
    assert view["status"] == "running"
    assert [line.split()[0] for line in oci("list").stdout.splitlines()] == ["ID", "box"]


@pytest.mark.native
def test_a_signal_to_all(oci, slowness):
    oci("run", "-d", "-b", str(oci.bundle(oci.sh("sleep 500 & sleep 600"))), "box")
    wait_until(lambda: len(json.loads(oci("ps", "-f", "json", "box").stdout)) == 2, slowness)
    oci("kill", "--all", "box", "KILL")
    wait_until(lambda: oci("ps", "-f", "json", "box").stdout == "[]\n", slowness)


HOOK = (
    "#!/bin/sh\nname=$1; shift\nexec >>{log}\necho $name $(readlink /proc/self/ns/mnt); cat\necho\n"
)


@pytest.fixture
def hooks(oci):
    """A function: every kind of hook writes a line and its state to the log."""
    script, log = oci.folder / "hook", oci.folder / "log"
    script.write_text(HOOK.format(log=log))
    script.chmod(0o755)
    kinds = ("prestart", "createRuntime", "createContainer", "poststart", "poststop")
    entries = {k: [{"path": str(script), "args": ["hook", k]}] for k in kinds}
    inside = {
        "path": "/bin/sh",
        "args": ["sh", "-c", "cat >/seen; echo $A >>/seen"],
        "env": ["PATH=/bin", "A=b"],
    }
    return {**entries, "startContainer": [inside]}, log


def test_hooks(oci, hooks):
    config = oci.sh("cat /seen")
    config["hooks"], log = hooks
    state, variable = oci.output(config).rsplit("}", 1)[0] + "}", "b"
    assert json.loads(state)["id"] == "box"
    assert variable == "b"
    lines = log.read_text().split("\n")
    told = dict(zip([line.split()[0] for line in lines[::2] if line], lines[1::2], strict=False))
    assert list(told) == ["prestart", "createRuntime", "createContainer", "poststart", "poststop"]
    status = {kind: json.loads(text)["status"] for kind, text in told.items()}
    assert status == {
        "prestart": "creating",
        "createRuntime": "creating",
        "createContainer": "creating",
        "poststart": "running",
        "poststop": "stopped",
    }
    places = {line.split()[0]: line.split()[1] for line in lines[::2] if line}
    own = os.readlink("/proc/self/ns/mnt")
    assert [places[k] == own for k in told] == [True, True, False, True, True]


@pytest.mark.native
@pytest.mark.parametrize("kind", ["prestart", "createRuntime", "createContainer", "startContainer"])
def test_a_failing_hook_leaves_nothing(oci, kind):
    config = oci.sh("echo ran")
    config["hooks"] = {kind: [{"path": "/bin/sh", "args": ["sh", "-c", "echo why; exit 3"]}]}
    assert f"{kind} hook /bin/sh: exit code 3: why" in oci.refused(config)


@pytest.mark.native
def test_a_hook_has_a_time_limit(oci):
    config = oci.sh("echo ran")
    config["hooks"] = {"prestart": [{"path": "/bin/sleep", "args": ["sleep", "99"], "timeout": 1}]}
    assert "not done in 1 s" in oci.refused(config)


@pytest.mark.native
def test_a_failing_poststop_hook_is_a_warning(oci):
    config = oci.sh("true")
    config["hooks"] = {"poststop": [{"path": "/bin/false"}, {"path": "/bin/nosuch"}]}
    result = oci.run(config)
    assert result.returncode == 0
    assert result.stderr.count("warning: poststop hook") == 2


@pytest.mark.native
def test_the_log_has_two_formats(oci):
    log = oci.folder / "log"
    oci("--log", str(log), "--log-format", "json", "state", "nosuch", check=False)
    line = json.loads(log.read_text())
    assert line["level"] == "error"
    assert line["msg"] == "container nosuch does not exist"
    assert set(line) == {"level", "msg", "time"}
    log.unlink()
    oci("--log", str(log), "state", "nosuch", check=False)
    assert 'level=error msg="container nosuch does not exist"' in log.read_text()


@pytest.mark.native
def test_a_terminal_goes_over_the_console_socket(oci):
    config = oci.sh("tty; stty size; exec sleep 1000")
    config["process"].update(terminal=True, consoleSize={"height": 33, "width": 44})
    assert oci.terminal(oci.bundle(config), 2) == b"/dev/pts/0\r\n33 44\r\n"


@pytest.mark.native
def test_a_terminal_needs_a_console_socket(oci):
    config = oci.sh("true")
    config["process"]["terminal"] = True
    assert "--console-socket" in oci.refused(config)


def test_descriptors_are_preserved_and_no_others(oci):
    given = oci.folder / "given"
    given.write_text("given\n")
    bundle = oci.bundle(oci.sh("ls /proc/$$/fd; cat <&3"))
    command = f'exec 3<{given} 4</etc; exec "$@"'
    words = [PROGRAM, "--root", str(oci.root), "run", "--preserve-fds", "1", "-b", str(bundle)]
    done = subprocess.run(
        ["sh", "-c", command, "sh", *words, "box"],
        check=True,
        capture_output=True,
        text=True,
        stdin=subprocess.DEVNULL,
    )
    assert done.stdout == "0\n1\n2\n3\ngiven\n"


@pytest.mark.native
def test_version_features_spec(oci, tmp_path):
    assert oci("--version").stdout.startswith("cgagent-oci version ")
    features = json.loads(oci("features").stdout)
    assert features["ociVersionMax"] == "1.2.0"
    assert "rro" in features["mountOptions"]
    oci("spec", "--bundle", str(tmp_path))
    assert json.loads((tmp_path / "config.json").read_text())["process"]["args"] == ["sh"]
    assert oci("spec", "--bundle", str(tmp_path), check=False).returncode == 1


@pytest.mark.native
def test_systemds_cgroups_are_refused_clearly(oci):
    assert "cgroupfs" in oci("--systemd-cgroup", "list", check=False).stderr
    config = oci.sh("true")
    config["linux"]["cgroupsPath"] = "system.slice:box:1"
    assert "systemd" in oci.refused(config)


@pytest.mark.native
def test_a_killed_create_leaves_what_delete_force_removes(oci):
    oci.root.mkdir(exist_ok=True)
    (oci.root / "box").mkdir()
    oci("delete", "--force", "box")
    assert not oci.root.exists()


@pytest.mark.native
def test_what_a_killed_create_has_made_goes_with_delete_force(oci, slowness):
    config, hooked = oci.sh("true"), oci.folder / "hooked"
    script = f"echo $$ >{hooked}.new; mv {hooked}.new {hooked}; exec sleep 1000"
    config["hooks"] = {"createRuntime": [{"path": "/bin/sh", "args": ["sh", "-c", script]}]}
    words = [PROGRAM, "--root", str(oci.root), "create", "-b", str(oci.bundle(config)), "box"]
    with subprocess.Popen(words, stdin=subprocess.DEVNULL) as process:
        wait_until(hooked.exists, slowness)
        process.kill()
    os.kill(int(hooked.read_text()), signal.SIGKILL)
    assert Host.detect().group(f"{oci.group}/box").exists()
    oci("delete", "--force", "box")
    assert not Host.detect().group(oci.group).exists()
    assert not oci.root.exists()


@pytest.mark.native
def test_signals_reach_the_container_through_a_foreground_run(oci, slowness):
    bundle = oci.bundle(
        oci.sh("trap 'echo got; exit 5' TERM; touch /up; while :; do sleep 0.1; done")
    )
    words = [PROGRAM, "--root", str(oci.root), "run", "-b", str(bundle), "box"]
    with subprocess.Popen(words, stdout=subprocess.PIPE, stdin=subprocess.DEVNULL) as running:
        wait_until((bundle / "rootfs" / "up").exists, slowness)
        running.send_signal(signal.SIGTERM)
        assert running.stdout.read() == b"got\n"
    assert running.returncode == 5


@pytest.mark.native
def test_the_state_is_nobody_elses(oci, sleeper):
    assert stat.S_IMODE(os.stat(oci.root / "box").st_mode) == 0o700
