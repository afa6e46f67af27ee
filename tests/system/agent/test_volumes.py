"""Volumes and other mounts, as containers see them and as they are left on the host."""

import json
import os
import subprocess
from pathlib import Path

import pytest

from cgagent.errors import CgagentError, ConflictError, InvalidInputError, NotFoundError

pytestmark = pytest.mark.system


@pytest.fixture
def volumes(agent):
    """Names of the volumes there are; those that a test leaves are removed."""

    def names():
        return [v["name"] for v in agent.client.request("GET", "/v1/volumes")]

    before = set(names())
    yield names
    for name in set(names()) - before:
        agent.client.request("DELETE", f"/v1/volumes/{name}")


def volume(agent, name):
    return agent.client.request("GET", f"/v1/volumes/{name}")


def sh(agent, script, **options):
    result = agent.run("sh", "-c", script, **options)
    assert result.stderr == ""
    return result.stdout


@pytest.mark.native
def test_a_volume_that_the_database_has_lost_is_there_again(own_agent):
    """As after a power cut, or with an older database: what is in it is nobody's to delete."""
    agent = own_agent
    agent.client.request("POST", "/v1/volumes", {"name": "kept"})
    directory = Path(volume(agent, "kept")["mountpoint"]).parent
    sh(agent, "echo one >/v/file", binds=["kept:/v"])
    agent.stop()
    lost = directory.with_name("lost")
    directory.rename(lost)
    (directory.with_name("empty") / "_data").mkdir(parents=True)
    agent.start()
    assert sh(agent, "cat /v/file", binds=["lost:/v"]) == "one\n"
    assert not directory.with_name("empty").exists()


@pytest.mark.native
def test_a_volume_outlives_containers_and_is_shared(agent, volumes):
    sh(agent, "echo one >/v/file", binds=["shared:/v"])
    assert sh(agent, "cat /other/file", binds=["shared:/other:ro"]) == "one\n"
    assert volumes() == ["shared"]
    place = Path(volume(agent, "shared")["mountpoint"])
    assert (place / "file").read_text() == "one\n"
    assert place == agent.data_root / "volumes" / "shared" / "_data"


@pytest.mark.native
def test_a_read_only_volume(agent, volumes):
    result = agent.run("touch", "/v/x", binds=["kept:/v:ro"])
    assert "Read-only file system" in result.stderr


@pytest.mark.native
def test_content_owners_and_modes_are_copied(agent, volumes):
    expected = sh(agent, "cd /etc; stat -c '%n %F %a %u:%g %s %Y' passwd shadow apk; id -g")
    found = sh(
        agent,
        "cd /etc; stat -c '%n %F %a %u:%g %s %Y' passwd shadow apk; id -g",
        binds=["etc:/etc"],
    )
    assert found == expected
    mode = "stat -c '%a %u:%g' /tmp"
    assert sh(agent, mode, binds=["temporary:/tmp"]) == sh(agent, mode)


@pytest.mark.native
def test_nocopy(agent, volumes):
    assert sh(agent, "ls /etc/apk", binds=["empty:/etc/apk:nocopy"]) == ""
    mount = {"type": "volume", "source": "empty", "destination": "/etc/apk"}
    assert sh(agent, "ls /etc/apk", mounts=[{**mount, "no_copy": True}]) == ""
    assert sh(agent, "ls /etc/apk", mounts=[mount]) != ""


@pytest.mark.native
def test_a_volume_with_content_is_left_as_it_is(agent, volumes):
    sh(agent, "echo mine >/v/mine", binds=["mine:/v"])
    assert sh(agent, "ls /etc/apk", binds=["mine:/etc/apk"]) == "mine\n"


@pytest.mark.native
def test_a_volume_in_use_is_not_removed(agent, volumes, container):
    made = container("true", start=False, binds=["busy:/v"])
    assert volume(agent, "busy")["containers"] == [agent.detail(made)["name"]]
    with pytest.raises(ConflictError, match=f"in use by {agent.detail(made)['name']}"):
        agent.client.request("DELETE", "/v1/volumes/busy")
    agent.remove(made)
    agent.client.request("DELETE", "/v1/volumes/busy")
    with pytest.raises(NotFoundError, match="'busy' does not exist"):
        volume(agent, "busy")
    assert not (agent.data_root / "volumes" / "busy").exists()


@pytest.mark.native
def test_anonymous_volumes_go_with_rm_and_when_asked(agent, volumes):
    before = volumes()
    sh(agent, "touch /v/x", binds=["/v"])
    assert volumes() == before
    kept = agent.create("true", binds=["/v"])
    (name,) = set(volumes()) - set(before)
    assert len(name) == 64
    agent.remove(kept)
    assert name in volumes()
    gone = agent.create("true", binds=["/v", "named:/w"])
    assert len(set(volumes()) - set(before)) == 3
    agent.client.request("DELETE", f"/v1/containers/{gone}?volumes=true")
    assert set(volumes()) - set(before) == {name, "named"}


@pytest.mark.native
def test_prune(agent, volumes, container):
    agent.client.request("POST", "/v1/volumes", {"name": "named"})
    unnamed = agent.client.request("POST", "/v1/volumes", {})["name"]
    container("true", start=False, binds=["used:/v"])
    done = agent.client.request("POST", "/v1/volumes/prune")
    assert done["removed"] == [unnamed]
    done = agent.cli("volume", "prune", "-af")
    assert done.stdout.startswith("Deleted Volumes:\nnamed\n\nTotal reclaimed space: ")
    assert volumes() == ["used"]


@pytest.mark.native
def test_prune_by_labels(agent, volumes):
    for name, labels in {"old": {"tier": "cache"}, "data": {"tier": "db"}, "bare": {}}.items():
        agent.client.request("POST", "/v1/volumes", {"name": name, "labels": labels})
    nameless = agent.client.request("POST", "/v1/volumes", {"labels": {"keep": ""}})["name"]
    assert agent.cli("volume", "prune", "-f", "--filter", "label!=keep").returncode == 0
    assert sorted(volumes()) == sorted(["old", "data", "bare", nameless])
    words = ("--filter", "all=true", "--filter", "label=tier=cache")
    assert "Deleted Volumes:\nold\n" in agent.cli("volume", "prune", "-f", *words).stdout
    agent.cli("volume", "prune", "-f", "--filter", "all=1", "--filter", "label!=tier")
    assert volumes() == ["data"]
    assert "it is true or false" in agent.cli("volume", "prune", "--filter", "all=x").stderr


@pytest.mark.native
def test_the_command_line(agent, volumes):
    assert agent.cli("volume", "create", "--label", "a=b", "one").stdout == "one\n"
    assert agent.cli("volume", "create", "one").stdout == "one\n"
    assert agent.cli("volume", "ls").stdout == "DRIVER   VOLUME NAME\nlocal    one\n"
    assert agent.cli("volume", "ls", "-qf", "label=a=b").stdout == "one\n"
    assert agent.cli("volume", "ls", "-qf", "dangling=false").stdout == ""
    found = json.loads(agent.cli("volume", "inspect", "one").stdout)[0]
    assert (found["Name"], found["Driver"], found["Labels"]) == ("one", "local", {"a": "b"})
    shown = agent.cli("volume", "inspect", "-f", "{{.Mountpoint}}", "one").stdout
    assert shown == found["Mountpoint"] + "\n"
    assert agent.cli("volume", "rm", "one").stdout == "one\n"
    again = agent.cli("volume", "rm", "one")
    assert (again.returncode, again.stderr.count("\n")) == (1, 1)
    assert agent.cli("volume", "rm", "-f", "one").returncode == 0
    wrong = agent.cli("volume", "create", "a/b")
    assert "includes invalid characters" in wrong.stderr


@pytest.mark.native
def test_mount_flags(agent, tmp_path, volumes):
    (tmp_path / "file").write_text("here\n")
    done = agent.cli(
        *("run", "--rm", "--mount", f"type=bind,src={tmp_path},dst=/b,readonly"),
        *("--mount", "src=vol,target=/v,volume-label=x=y"),
        *("--mount", "type=tmpfs,dst=/t,tmpfs-size=1m,tmpfs-mode=700"),
        *("--tmpfs", "/s:size=2m,exec", "alpine", "sh", "-c"),
        "cat /b/file; touch /b/x; touch /v/x /t/x; stat -c %a /t; mount | grep -E ' /(t|s) '",
    )
    assert "Read-only file system" in done.stderr
    shown = done.stdout.splitlines()
    assert shown[:2] == ["here", "700"]
    options = {line.split()[2]: line.split("(")[1] for line in shown[2:]}
    assert "size=1024k" in options["/t"]
    assert "noexec" in options["/t"]
    assert "size=2048k" in options["/s"]
    assert "noexec" not in options["/s"]
    assert {"nosuid", "nodev"} <= set(options["/s"].rstrip(")").split(","))
    assert volume(agent, "vol")["labels"] == {"x": "y"}


@pytest.mark.native
def test_a_missing_directory_is_made_for_v_and_refused_for_mount(agent, tmp_path):
    sh(agent, "touch /v/x", binds=[f"{tmp_path}/a/b:/v"])
    assert (tmp_path / "a" / "b" / "x").exists()
    mount = {"type": "bind", "source": f"{tmp_path}/c", "destination": "/v"}
    with pytest.raises(InvalidInputError, match="bind source path does not exist"):
        agent.create("true", mounts=[mount])
    assert not (tmp_path / "c").exists()


@pytest.fixture
def shared_mount(tmp_path):
    """A mount whose later mounts others may hear of."""
    place = tmp_path / "shared"
    place.mkdir()
    for command in (
        ["mount", "-t", "tmpfs", "none", place],
        ["mount", "--make-shared", place],
    ):
        subprocess.run(command, check=True)
    (place / "below").mkdir()
    yield place
    subprocess.run(["umount", "-R", place], check=True)


def test_propagation(agent, container, shared_mount):
    below = shared_mount / "below"
    slave = container("sleep", "1000", binds=[f"{shared_mount}:/m:rslave"])
    private = container("sleep", "1000", binds=[f"{shared_mount}:/m"])
    subprocess.run(["mount", "-t", "tmpfs", "none", below], check=True)
    (below / "late").touch()
    assert agent.exec(slave, "ls", "/m/below").stdout == "late\n"
    assert agent.exec(private, "ls", "/m/below").stdout == ""
    subprocess.run(["umount", below], check=True)
    both = container(
        "sh",
        "-c",
        "mount -t tmpfs none /m/below && touch /m/below/inside && sleep 1000",
        binds=[f"{shared_mount}:/m:rshared"],
        cap_add=["SYS_ADMIN"],
    )
    deadline = 200
    while not (below / "inside").exists() and deadline:
        agent.exec(both, "sleep", "0.1")
        deadline -= 1
    assert (below / "inside").exists()


HOSTS = ["/sys:/sys:ro", "/proc:/proc", "/dev:/dev", "/proc:/host/proc:ro", "/:/rootfs:ro,rslave"]


@pytest.mark.parametrize("more", [{}, {"privileged": True}, {"userns": "auto"}], ids=str)
def test_the_hosts_kernel_file_systems_as_exporters_want_them(agent, container, more):
    binds = HOSTS[:4] if "userns" in more else HOSTS  # the root cannot be mapped on each machine
    one = container("sleep", "1000", binds=binds, **more)
    shown = "cat /proc/1/comm /host/proc/1/comm; ls -d /sys/fs/cgroup/*; echo x >/dev/null"
    done = agent.exec(one, "sh", "-c", shown)
    assert done.stderr == ""
    lines = done.stdout.splitlines()
    assert lines[:2] == Path("/proc/1/comm").read_text().split() * 2
    assert {str(path) for path in Path("/sys/fs/cgroup").iterdir()} <= set(lines)


@pytest.mark.parametrize("mode", ["rw", "ro"])
def test_cgroups_of_the_hosts_sys_are_as_it_was_asked_for(agent, mode):
    shown = "awk '$5 == \"/sys/fs/cgroup\" { print substr($6, 1, 2) }' /proc/self/mountinfo"
    assert agent.run("sh", "-c", shown, binds=[f"/sys:/sys:{mode}"]).stdout == f"{mode}\n"


@pytest.mark.native
def test_only_a_proc_is_mounted_over_proc(agent, container, tmp_path):
    one = container("true", start=False, binds=[f"{tmp_path}:/proc"])
    with pytest.raises(InvalidInputError, match="only a proc file system"):
        agent.post(one, "start")


@pytest.mark.native
@pytest.mark.parametrize(
    ("binds", "complaint"),
    [
        (["a:/x"], "'a' is too short"),
        (["a b:/x"], "includes invalid characters"),
        (["../x:/x"], "includes invalid characters"),
        (["name:x"], "must be an absolute path other than /"),
        (["name:/proc"], "only a proc file system"),
        (["name://proc"], "only a proc file system"),
        (["name:/x:ro,rw"], "invalid mode: 'ro,rw'"),
        (["name:/x:rshared"], "for a path of the host only"),
        (["/tmp:/x:nocopy"], "for a volume only"),
        (["one:/x", "two:/x/"], "duplicate mount point: /x"),
        (["a:b:c:d"], "invalid volume specification"),
        ([""], "invalid volume specification"),
    ],
)
def test_volumes_that_are_none(agent, volumes, nothing_made, binds, complaint):
    before = volumes()
    with pytest.raises(InvalidInputError, match=complaint):
        agent.create("true", binds=binds)
    assert volumes() == before


@pytest.mark.native
def test_a_volume_made_for_a_container_that_came_to_nothing_is_removed(agent, volumes, container):
    container("true", start=False, name="taken")
    before = volumes()
    with pytest.raises(CgagentError):
        agent.create("true", binds=["fresh:/etc"], name="taken")
    assert volumes() == before
    assert set(os.listdir(agent.data_root / "volumes")) == set(before)
