"""Images by command: history, tag, rmi, archives, commit, prune, df."""

from __future__ import annotations

import gzip
import io
import json
import re
import subprocess
import tarfile

import pytest

from cgagent.images.manifest import this_architecture
from tests.world import layered
from tests.world.agent import SLOWNESS, Agent, eventually

pytestmark = [pytest.mark.system, pytest.mark.native]


@pytest.fixture
def cli(agent):
    def run(*args, code=0, **options):
        done = subprocess.run(
            agent.cli_command(*args),
            check=False,
            capture_output=True,
            timeout=60 * SLOWNESS,
            **options,
        )
        assert done.returncode == code, done.stderr
        return done.stdout if code == 0 else done.stderr.decode()

    return run


@pytest.fixture
def tags(agent):
    """Names to be taken off after the test."""
    names = []
    yield names
    for name in names:
        agent.cli("rmi", "-f", name)


@pytest.fixture
def other(data_root):
    with Agent(data_root) as running:
        yield running


def lines(output):
    return output.decode().splitlines()


def test_tag_and_rmi(cli, tags):
    tags.append("mine:1")
    cli("tag", "alpine", "mine:1")
    assert cli("images", "-q", "mine") == cli("images", "-q", "alpine:latest")
    assert lines(cli("rmi", "mine:1")) == ["Untagged: mine:1"]
    assert "no such image" in cli("rmi", "mine:1", code=1)
    assert "has a digest" in cli("tag", "alpine", f"x@sha256:{'0' * 64}", code=1)


def test_rmi_of_what_is_used(cli, agent, container, tags):
    """By force. Its files stay as long as the container that stands on them, which can start."""
    tags.append("used:1")
    cli("import", "-", "used:1", input=tar_of({"bin/true": b""}))
    one = container("/bin/true", image="used:1", start=False)
    id_ = lines(cli("images", "-q", "--no-trunc", "used"))[0]
    assert "uses it" in cli("rmi", "used:1", code=1)
    assert "uses it" in cli("rmi", id_, code=1)
    assert lines(cli("rmi", "-f", "used:1")) == ["Untagged: used:1", f"Deleted: {id_}"]
    assert id_ not in lines(cli("images", "-a", "-q", "--no-trunc"))
    assert "no such image" in cli("run", "--pull", "never", id_, code=125)
    cli("image", "prune", "-f")
    assert "exec format error" in cli("start", one, code=1)
    assert "A /new" in copied_into(cli, one, "/new")
    cli("commit", one, "used:1")
    assert b"bin/true" in cli("export", one)
    agent.remove(one)
    assert "nothing is wrong" in cli("system", "check").decode()


def copied_into(cli, container, path):
    cli("cp", "-", f"{container}:/", input=tar_of({path: b"new"}))
    return lines(cli("diff", container))


def test_rmi_of_what_runs(cli, agent, tags, container):
    """By name it is left without one; by its id it is not removed, by force or not."""
    shown = cli("export", container("sh", image="busybox", start=False))
    cli("import", "-", "runs:1", input=shown)
    one = container("sleep", "1000", image="runs:1")
    id_ = lines(cli("images", "-q", "--no-trunc", "runs"))[0]
    assert "uses it" in cli("rmi", "-f", id_, code=1)
    assert lines(cli("rmi", "-f", "runs:1")) == ["Untagged: runs:1"]
    assert lines(cli("images", "-q", "--no-trunc", "-f", "dangling=true")) == [id_]
    agent.remove(one)
    assert f"Deleted: {id_}" in cli("image", "prune", "-f").decode()


def test_history_and_inspect(cli):
    shown = cli("history", "alpine").decode()
    assert re.match(r"IMAGE +CREATED +CREATED BY +SIZE +COMMENT\n[0-9a-f]{12} +\d+ \w+s ago", shown)
    assert cli("history", "-q", "--no-trunc", "alpine") == cli(
        "images", "-q", "--no-trunc", "alpine:latest"
    )
    (image,) = json.loads(cli("inspect", "alpine"))
    assert image["RepoTags"] == ["alpine:3.23", "alpine:latest"]
    assert image["Config"]["Cmd"] == ["/bin/sh"]
    assert cli("image", "inspect", "-f", "{{.Os}}", "alpine") == b"linux\n"
    native = json.loads(cli("inspect", "--native", "--type", "image", "alpine"))
    assert native[0]["document"]["rootfs"]["type"] == "layers"
    assert "does not exist" in cli("inspect", "--type", "container", "alpine", code=1)


@pytest.mark.parametrize(
    "args",
    [
        ("inspect", "--type", "container"),
        *(("start",), ("stop",), ("logs",), ("rm",), ("kill",), ("wait",), ("diff",), ("export",)),
        *(("attach",), ("commit",), ("freeze",), ("top",)),
    ],
)
def test_a_name_with_a_slash_is_no_container(cli, args):
    told = cli(*args, "no/such", code=1)
    assert "container 'no/such' does not exist" in told


def test_save_rmi_load(cli, agent, other):
    saved = cli("save", "alpine", "busybox")
    assert cli("save", "busybox") == cli("image", "save", "busybox:latest")
    done = subprocess.run(
        other.cli_command("load", "-q"),
        input=gzip.compress(saved, 1),
        capture_output=True,
        check=True,
    )
    assert sorted(lines(done.stdout)) == [
        "Loaded image: alpine:3.23",
        "Loaded image: alpine:latest",
        "Loaded image: busybox:latest",
    ]
    assert other.cli("images", "-q").stdout == agent.cli("images", "-q").stdout
    assert not list((other.data_root / "images" / "ingest").iterdir())


def test_saving_to_a_file(cli, tmp_path):
    path = tmp_path / "a.tar"
    cli("save", "-o", str(path), "busybox")
    assert path.read_bytes() == cli("save", "busybox")
    assert "no such image" in cli("save", "-o", str(tmp_path / "b"), "absent", code=1)
    assert list(tmp_path.iterdir()) == [path]


def test_a_load_that_is_cut_off_leaves_nothing(cli, agent):
    told = cli("load", code=1, input=cli("save", "busybox")[:100_000])
    assert "cut off" in told
    assert not list((agent.data_root / "images" / "ingest").iterdir())


def tar_of(files):
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as tar:
        for name, data in files.items():
            info = tarfile.TarInfo(name)
            info.size = len(data)
            info.mode = 0o755
            tar.addfile(info, io.BytesIO(data))
    return buffer.getvalue()


def test_import(cli, container, tags):
    tags.append("tree:1")
    shown = cli("export", container("sh", image="busybox", start=False))
    change = ("-c", 'CMD ["cat", "/etc/group"]', "-c", "ENV A=1 B='2 3'", "-c", "WORKDIR /tmp")
    id_ = cli("import", "-m", "why", *change, "-", "tree:1", input=gzip.compress(shown, 1))
    assert id_.startswith(b"sha256:")
    assert b"nobody" in cli("run", "--rm", "tree:1")
    (image,) = json.loads(cli("inspect", "--type", "image", "tree:1"))
    assert image["Config"] == {
        "Cmd": ["cat", "/etc/group"],
        "Env": ["A=1", "B=2 3"],
        "WorkingDir": "/tmp",
    }
    assert image["Comment"] == "why"
    assert "is none of" in cli("import", "-c", "RUN x", "-", input=shown, code=1)


@pytest.fixture
def shelled(cli, tags):
    """An image of busybox whose configuration has a shell of its own, and a mark of Windows'.

    Its name.
    """
    tags.append("shelled:1")
    with tarfile.open(fileobj=io.BytesIO(cli("save", "busybox"))) as tar:

        def read(name):
            return tar.extractfile(name).read()

        (listed,) = json.loads(read("manifest.json"))
        config, layers = json.loads(read(listed["Config"])), [*map(read, listed["Layers"])]
    config["config"] |= {
        "Shell": ["/bin/sh", "-e", "-c"],
        "ArgsEscaped": True,
        "Cmd": ["sleep", "1000"],
        "Healthcheck": {"Test": ["CMD-SHELL", "false; echo after"], "Interval": 10**9},
    }
    plain = [gzip.decompress(one) if one[:2] == b"\x1f\x8b" else one for one in layers]
    cli("load", "-q", input=layered.docker_archive("shelled:1", config, plain))
    return "shelled:1"


def test_the_shell_of_an_image_runs_its_health_check(agent, shelled, container):
    """It ends at the first command that fails, as -e says."""
    one = container(image=shelled)
    probe = eventually(lambda: agent.state(one)["health"]["log"])[0]
    assert (probe["exit_code"], probe["output"]) == (1, "")


def test_the_shell_of_an_image_is_that_of_its_instructions(cli, agent, shelled, tags, container):
    tags.append("shelled:2")
    one = container(image=shelled, start=False)
    cli("commit", "-c", "CMD echo $((1+1)); false; echo no", one, "shelled:2")
    (made,) = json.loads(cli("inspect", "--type", "image", "shelled:2"))
    assert made["Config"]["Cmd"][:3] == ["/bin/sh", "-e", "-c"]
    assert made["Config"]["Shell"] == ["/bin/sh", "-e", "-c"]
    done = agent.cli("run", "--rm", "shelled:2")
    assert (done.returncode, done.stdout) == (1, "2\n")


def test_arguments_that_windows_has_escaped_are_taken_as_they_are(cli, agent, shelled, container):
    """ArgsEscaped means nothing on Linux, and stays in what is made of the image."""
    (image,) = json.loads(cli("inspect", "--type", "image", shelled))
    assert image["Config"]["ArgsEscaped"] is True
    one = container("echo", 'a "b" c\\', image=shelled)
    assert agent.wait(one) == 0
    assert agent.cli("logs", one).stdout == 'a "b" c\\\n'


def entries(raw):
    with tarfile.open(fileobj=io.BytesIO(raw)) as tar:
        return {
            one.name: (
                *(one.type, one.mode, one.uid, one.gid, one.linkname, one.size),
                one.pax_headers.get("mtime", one.mtime),
                {k: v for k, v in one.pax_headers.items() if "xattr" in k},
            )
            for one in tar
            if one.name not in OF_MOUNTS
        }


OF_MOUNTS = {".", "etc", "etc/resolv.conf", "etc/hosts", "etc/hostname"}
"""They change when a container is set up."""
CHANGES = """
set -e
rm -r /etc/apk; rm -rf /usr/share
mkdir /usr/share /new
echo 1 > /usr/share/fresh
echo hello > /new/a; ln /new/a /new/b; ln -s a /new/c; mkfifo /new/p; mknod /new/null c 1 3
chown 12:34 /new/a; chmod 4755 /new/a; chmod 1777 /new; touch -t 200102030405.06 /new/a
rm -f /etc/issue /etc/os-release; mkdir /etc/issue
echo x >> /etc/passwd
setfattr -n user.a -v b /new 2>/dev/null || true
"""


def test_commit(cli, agent, container, other, tags):
    tags.append("mine/changed:1")
    one = container("sh", "-c", f"{CHANGES}\nsleep 1000")
    cli(
        "exec",
        one,
        "sh",
        "-c",
        "until grep -q ^x /etc/passwd; do sleep 0.1; done",
    )
    options = ("-m", "why", "-a", "me", "-c", "CMD sleep 1", "-c", "LABEL a=b")
    id_ = cli("commit", *options, one, "mine/changed:1").decode().strip()
    assert agent.client.request("GET", f"/v1/containers/{one}")["state"]["status"] == "running"
    here = entries(cli("export", one))
    again = agent.create("true", image="mine/changed:1")
    try:
        assert entries(cli("export", again)) == here
        assert b"\nD " not in cli("diff", again)
    finally:
        agent.remove(again)
    (image,) = json.loads(cli("inspect", "--type", "image", "mine/changed:1"))
    assert image["Config"]["Cmd"] == ["/bin/sh", "-c", "sleep 1"]
    assert (image["Author"], image["Comment"], image["Id"]) == ("me", "why", id_)
    saved = cli("save", "mine/changed:1")
    subprocess.run(other.cli_command("load", "-q"), input=saved, check=True, capture_output=True)
    assert other.cli("images", "-q", "--no-trunc", "mine/changed").stdout.strip() == id_
    assert (
        subprocess.run(
            other.cli_command("save", "mine/changed:1"), check=True, capture_output=True
        ).stdout
        == saved
    )


def test_commit_of_nothing_adds_no_layer(cli, agent, container, tags):
    tags.append("same:1")
    one = container("true", start=False)
    cli("commit", one, "same:1")
    images = json.loads(cli("inspect", "--type", "image", "alpine", "same:1"))
    assert images[0]["RootFS"] == images[1]["RootFS"]
    assert cli("history", "same:1").decode().splitlines()[1].split()[-1] == "0B"


def test_prune_and_df(other, alpine_docker_archive):
    other.load(alpine_docker_archive)
    one = other.create("sh", "-c", "head -c 1000000 /dev/zero > /big")
    other.cli("start", "-a", one)
    other.cli("tag", "alpine", "second:1")
    shown = other.cli("system", "df").stdout.splitlines()
    assert [line.split("  ")[0] for line in shown] == [
        "TYPE",
        "Images",
        "Containers",
        "Local Volumes",
        "Build Cache",
    ]
    assert shown[1].split()[1:3] == ["1", "1"]
    assert re.search(r" 9[78]\d(\.\d)?KiB", shown[2])
    assert "Images space usage" in other.cli("system", "df", "-v").stdout
    each = json.loads(other.cli("system", "df", "-v", "--format", "{{json .}}").stdout)
    assert {row["Tag"] for row in each["Images"]} == {"3.23", "latest", "1"}
    assert each["Containers"][0]["ID"] == one[:12]
    other.client.request("POST", "/v1/volumes", {"labels": {"keep": "yes"}})
    assert '"Links":"0"' in other.cli("system", "df", "-v", "--format", "{{json .Volumes}}").stdout
    pruned = other.cli("system", "prune", "-f", "--volumes", "--filter", "label!=keep").stdout
    assert "Deleted Volumes" not in pruned
    one = other.create("sh", "-c", "head -c 1000000 /dev/zero > /big")
    other.cli("start", "-a", one)
    asked = subprocess.run(
        other.cli_command("system", "prune", "-a"), input=b"n\n", capture_output=True, check=True
    )
    assert b"Are you sure" in asked.stdout
    assert len(other.containers()) == 1
    assert "Total reclaimed space: 0B" in other.cli("image", "prune", "-a", "-f").stdout
    done = other.cli("container", "prune", "-f", "--filter", "until=1h").stdout
    assert "Total reclaimed space: 0B" in done
    done = other.cli("system", "prune", "-a", "-f", "--volumes").stdout
    assert one in done
    assert "Untagged: alpine:latest" in done
    assert re.search(r"Total reclaimed space: \d+(\.\d+)?MiB", done)
    assert other.cli("images", "-q").stdout == ""
    assert not list((other.data_root / "images" / "blobs" / "sha256").iterdir())


def test_what_an_image_says_is_how_it_is_run(cli, container, tags):
    tags.append("said:1")
    tree = cli("export", container("sh", image="busybox", start=False))
    changes = (
        *("ENV WORD=said", 'ENTRYPOINT ["/bin/sh", "-c"]', "WORKDIR /etc", "USER nobody"),
        *('CMD ["echo $WORD $PWD $(id -un); ls /bin | head -1; touch /home/x; ls /home"]',),
        *("VOLUME /home", "EXPOSE 80", "LABEL a=b", "STOPSIGNAL 10", "ONBUILD RUN true"),
    )
    flags = [word for change in changes for word in ("-c", change)]
    cli("import", *flags, "-", "said:1", input=tree)
    first, *_ = lines(cli("run", "--rm", "said:1"))
    assert first == "said /etc nobody"
    assert (
        lines(cli("run", "--rm", "-e", "WORD=x", "-u", "0", "-w", "/", "said:1"))[0] == "x / root"
    )
    one = cli("create", "said:1").decode().strip()
    (shown,) = json.loads(cli("inspect", one))
    assert shown["Config"]["StopSignal"] == "10"
    assert shown["Config"]["Labels"] == {"a": "b"}
    assert [m["Destination"] for m in shown["Mounts"]] == ["/home"]
    (image,) = json.loads(cli("inspect", "said:1"))
    assert image["Config"]["OnBuild"] == ["RUN true"]
    assert image["Config"]["ExposedPorts"] == {"80/tcp": {}}
    cli("rm", "-v", one)


def test_run_with_pull(cli):
    assert "no such image" in cli("run", "--pull", "never", "absent:1", "true", code=125)
    assert cli("run", "--rm", "--pull", "missing", "alpine", "true") == b""
    told = cli("run", "--pull", "never", "--platform", "linux/s390x", "alpine", "true", code=125)
    assert "not for linux/s390x" in told
    own = f"linux/{this_architecture()[0]}"
    assert cli("run", "--rm", "--platform", own, "alpine", "true") == b""


def test_the_management_forms(cli):
    assert cli("image", "ls", "-q") == cli("images", "-q")
    assert cli("container", "ls", "-aq") == cli("ps", "-aq")
    assert cli("container", "run", "--rm", "alpine", "sh", "-c", "exit 3", code=3) == ""
    assert "are what there is" in cli("image", "nothing", code=1)


def test_images_as_a_tree(cli, tags):
    tags.append("twig:1")
    cli("import", "-", "twig:1", input=tar_of({"a": b"1"}))
    shown = cli("images", "--tree").decode()
    assert re.search(
        r"^twig:1 +[0-9a-f]{12} +1B\n└─ layer 1 +[0-9a-f]{12} +1B$", shown, re.MULTILINE
    )


def test_what_umoci_made_is_loaded(cli, agent, tmp_path, tags, alpine_oci_archive):
    tags.append("umoci:1")
    layout, bundle = tmp_path / "layout", tmp_path / "bundle"
    source = f"oci-archive:{alpine_oci_archive}"
    for command in (
        ("skopeo", "copy", "-q", source, f"oci:{layout}:umoci:1"),
        ("umoci", "unpack", "--image", f"{layout}:umoci:1", bundle),
        ("sh", "-c", f"cd {bundle}/rootfs && rm -r etc/apk && ln -s a b && echo x > new"),
        ("umoci", "repack", "--image", f"{layout}:umoci:1", bundle),
    ):
        subprocess.run(command, check=True, capture_output=True)
    assert lines(cli("load", "-q", "-i", str(layout))) == ["Loaded image: umoci:1"]
    assert cli("run", "--rm", "umoci:1", "sh", "-c", "cat new; ls etc/apk 2>&1; readlink b") == (
        b"x\nls: etc/apk: No such file or directory\na\n"
    )
