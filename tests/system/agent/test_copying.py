"""``cp`` out of containers and into them, ``diff`` of what they changed."""

import io
import os
import stat
import subprocess
import sysconfig
import tarfile
import threading
import time
from pathlib import Path

import pytest

from tests.world.agent import SLOWNESS

pytestmark = pytest.mark.system


@pytest.fixture(params=["running", "stopped"])
def box(request, container, agent):
    """A container, running, or one that was never started."""
    return container("sleep", "1000", start=request.param == "running")


@pytest.fixture
def running(container):
    return container("sleep", "1000")


@pytest.fixture
def cp(agent):
    """``cgagent cp`` that must work, or must not."""

    def copy(*args, fails_with=None, **options):
        done = subprocess.run(
            agent.cli_command("cp", *args),
            check=False,
            capture_output=True,
            timeout=60 * SLOWNESS,
            **options,
        )
        if fails_with is None:
            assert (done.returncode, done.stderr) == (0, b"")
        else:
            assert done.returncode != 0
            assert done.stderr.count(b"\n") == 1
            assert fails_with in done.stderr.decode()
        return done.stdout

    return copy


@pytest.fixture
def tree(tmp_path):
    """A directory with a bit of everything."""
    top = tmp_path / "tree"
    (top / "deep" / "er").mkdir(parents=True)
    (top / "file").write_text("content\n")
    (top / "file").chmod(0o640)
    os.utime(top / "file", (1_000_000_000, 1_000_000_000))
    os.link(top / "file", top / "deep" / "same")
    (top / "link").symlink_to("file")
    (top / "out").symlink_to("/etc/hostname")
    os.mkfifo(top / "fifo")
    (top / "empty").mkdir()
    (top / ("long" * 50)).write_bytes(os.urandom(300_000))
    (top / "naïve name").write_text("x")
    return top


def listing(top):
    """Names with kinds, modes, contents."""
    found = {}
    for folder, folders, files in os.walk(top):
        for name in (*folders, *files):
            path = os.path.join(folder, name)
            status = os.lstat(path)
            content = None
            if stat.S_ISLNK(status.st_mode):
                content = os.readlink(path)
            elif stat.S_ISREG(status.st_mode):
                with open(path, "rb") as file:
                    content = file.read()
            found[os.path.relpath(path, top)] = (status.st_mode, content)
    return found


def test_a_tree_goes_in_and_comes_out_unchanged(agent, box, cp, tree, tmp_path):
    cp(str(tree), f"{box}:/tmp/copied")
    cp(f"{box}:/tmp/copied", str(tmp_path / "back"))
    assert listing(tmp_path / "back") == listing(tree)
    back = tmp_path / "back" / "file"
    assert back.stat().st_mtime == 1_000_000_000
    assert back.stat().st_ino == (tmp_path / "back" / "deep" / "same").stat().st_ino
    agent.post(box, "start")
    shown = agent.exec(box, "stat", "-c", "%u %g %a %F", "/tmp/copied/file", "/tmp/copied")
    assert shown.stdout == "0 0 640 regular file\n0 0 755 directory\n"


def test_owners_are_kept_when_asked_for(agent, running, cp, tmp_path):
    (tmp_path / "f").write_text("x")
    os.chown(tmp_path / "f", 1234, 2345)
    os.chmod(tmp_path / "f", 0o4755)  # noqa: S103 - a set-uid bit is what this is about
    cp("-a", str(tmp_path / "f"), f"{running}:/f")
    assert agent.exec(running, "stat", "-c", "%u %g %a", "/f").stdout == "1234 2345 4755\n"
    cp("-a", f"{running}:/f", str(tmp_path / "kept"))
    status = (tmp_path / "kept").stat()
    assert (status.st_uid, status.st_gid, stat.S_IMODE(status.st_mode)) == (1234, 2345, 0o4755)
    cp(f"{running}:/f", str(tmp_path / "mine"))
    status = (tmp_path / "mine").stat()
    assert (status.st_uid, stat.S_IMODE(status.st_mode)) == (os.geteuid(), 0o755)


def test_destinations_by_dockers_rules(agent, running, cp, tmp_path):
    (tmp_path / "d").mkdir()
    (tmp_path / "d" / "f").write_text("x")
    file, folder = str(tmp_path / "d" / "f"), str(tmp_path / "d")
    agent.exec(running, "mkdir", "-p", "/there")
    agent.exec(running, "touch", "/old")
    agent.exec(running, "ln", "-s", "there", "/link")
    cp(file, f"{running}:/new")  # a file that is not there
    cp(file, f"{running}:/old")  # one that is
    cp(file, f"{running}:/there")  # into a directory
    cp(file, f"{running}:link/g")  # relative to the root, through a link
    cp(folder, f"{running}:/fresh")  # a directory that is not there has the contents
    cp(folder, f"{running}:/there/")  # one that is there has the directory
    cp(f"{folder}/.", f"{running}:/there/d/inner")
    cp(f"{folder}/.", f"{running}:/link")
    expected = [
        "/new",
        "/old",
        "/there/f",
        "/there/g",
        "/fresh/f",
        "/there/d/f",
        "/there/d/inner/f",
    ]
    assert agent.exec(running, "cat", *expected).stdout == "x" * len(expected)
    cp(file, f"{running}:/none/", fails_with="directory /none/ does not exist")
    cp(file, f"{running}:/none/f", fails_with="/none")
    cp(file, f"{running}:/old/", fails_with="not a directory")
    cp(folder, f"{running}:/old", fails_with="a directory cannot be copied onto it")
    cp(str(tmp_path / "no"), f"{running}:/x", fails_with="does not exist")
    cp(f"{running}:/no/such", str(tmp_path), fails_with="/no/such: no such file")
    cp(f"{running}:/old", str(tmp_path / "no" / "x"), fails_with="create it first")
    cp(file, "no-such-container:/x", fails_with="no-such-container")
    cp(file, file, fails_with="one end must be")
    agent.exec(running, "mkdir", "/there/x")
    (tmp_path / "x").write_text("")
    cp(str(tmp_path / "x"), f"{running}:/there", fails_with="a directory is there")


def test_links_are_copied_as_links_unless_followed(agent, running, cp, tmp_path):
    agent.exec(running, "sh", "-c", "echo hi >/real; ln -s real /soft; ln -s /tmp /dir")
    cp(f"{running}:/soft", str(tmp_path / "soft"))
    assert os.readlink(tmp_path / "soft") == "real"
    cp("-L", f"{running}:/soft", str(tmp_path / "hard"))
    assert (tmp_path / "hard").read_text() == "hi\n"
    (tmp_path / "there").write_text("x")
    (tmp_path / "to").symlink_to("there")
    cp("-L", str(tmp_path / "to"), f"{running}:/dir")
    assert agent.exec(running, "cat", "/tmp/to").stdout == "x"


def test_tar_streams(box, cp, tmp_path):
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as tar:
        info = tarfile.TarInfo("a/b")
        info.size = 5
        tar.addfile(info, io.BytesIO(b"hello"))
    cp("-", f"{box}:/tmp", input=buffer.getvalue())
    with tarfile.open(fileobj=io.BytesIO(cp(f"{box}:/tmp/a", "-"))) as tar:
        assert tar.getnames() == ["a", "a/b"]
        assert tar.extractfile("a/b").read() == b"hello"
    cp(
        "-",
        f"{box}:/tmp",
        input=b"this is no archive" * 100,
        fails_with="the archive: a header field is damaged",
    )
    cp("-", f"{box}:/tmp/a/b", input=buffer.getvalue(), fails_with="not a directory")


def test_more_than_a_request_may_have(running, agent, cp, tmp_path):
    with open(tmp_path / "big", "wb") as file:
        file.writelines(os.urandom(1 << 20) for _ in range(20))
    cp(str(tmp_path / "big"), f"{running}:/big")
    cp(f"{running}:/big", str(tmp_path / "back"))
    assert (tmp_path / "back").read_bytes() == (tmp_path / "big").read_bytes()


def test_volumes_and_files_of_ours(agent, container, cp, tmp_path):
    (tmp_path / "v").mkdir()
    (tmp_path / "hosts").write_text("127.0.0.1 new\n")
    volumes = [{"source": str(tmp_path / "v"), "destination": "/v"}]
    one = container("sleep", "1000", start=False, volumes=volumes)
    cp(str(tmp_path / "hosts"), f"{one}:/v/x")
    assert (tmp_path / "v" / "x").read_text() == "127.0.0.1 new\n"
    agent.post(one, "start")
    cp(str(tmp_path / "hosts"), f"{one}:/etc/hosts")  # mounted: written into
    assert agent.exec(one, "cat", "/etc/hosts").stdout == "127.0.0.1 new\n"


@pytest.mark.parametrize("start", [True, False])
def test_a_read_only_root_stays_as_it_is(container, cp, tmp_path, start):
    one = container("sleep", "1000", read_only=True, start=start)
    (tmp_path / "x").write_text("")
    cp(str(tmp_path / "x"), f"{one}:/x", fails_with="read-only file system")
    assert cp(f"{one}:/etc/alpine-release", "-").startswith(b"alpine-release")


# -- containers that mean harm ------------------------------------------------------------------


def test_links_inside_lead_nowhere_but_inside(agent, box, cp, tmp_path):
    """CVE-2018-15664: the container's links, and the way up, are the container's own."""
    secret = tmp_path / "secret"
    secret.mkdir()
    traps = io.BytesIO()
    with tarfile.open(fileobj=traps, mode="w") as tar:
        for name, to in (("abs", str(secret)), ("up", "../../../../../../../.." + str(secret))):
            info = tarfile.TarInfo(name)
            info.type, info.linkname = tarfile.SYMTYPE, to
            tar.addfile(info)
    cp("-", f"{box}:/", input=traps.getvalue())
    (tmp_path / "x").write_text("x")
    for path in ("/abs/x", "/up/x", "/up/", f"/../../../..{secret}/x", "/abs/../../../x/"):
        cp(str(tmp_path / "x"), f"{box}:{path}", fails_with="")
        assert os.listdir(secret) == []
    (secret / "key").write_text("key")
    for path in ("/abs/key", "/up/key", f"/..{secret}/key"):
        cp(f"{box}:{path}", "-", fails_with="no such file")


def test_an_archive_with_names_that_lead_out(agent, running, cp, tmp_path):
    for name, kind, link in (
        ("../../evil", tarfile.REGTYPE, ""),
        ("x/../../evil", tarfile.REGTYPE, ""),
        ("hard", tarfile.LNKTYPE, "../../etc/passwd"),
    ):
        buffer = io.BytesIO()
        with tarfile.open(fileobj=buffer, mode="w") as tar:
            info = tarfile.TarInfo(name)
            info.type, info.linkname = kind, link
            tar.addfile(info)
        cp("-", f"{running}:/tmp", input=buffer.getvalue(), fails_with="leads out")


def test_a_link_first_and_then_a_file_below_it(agent, running, cp, tmp_path):
    """Within the container it is followed; not one step further."""
    victim = tmp_path / "victim"
    victim.mkdir()
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as tar:
        info = tarfile.TarInfo("l")
        info.type, info.linkname = tarfile.SYMTYPE, str(victim)
        tar.addfile(info)
        info = tarfile.TarInfo("l/x")
        tar.addfile(info)
    agent.exec(running, "mkdir", "-p", str(victim))
    cp("-", f"{running}:/tmp", input=buffer.getvalue())
    assert os.listdir(victim) == []
    assert agent.exec(running, "ls", str(victim)).stdout == "x\n"


def test_directories_swapped_for_links_all_the_while(agent, container, cp, tmp_path):
    victim = tmp_path / "victim"
    victim.mkdir()
    swap = (
        f"mkdir -p /d/in /w; ln -s {victim} /d/lnk; touch /d/in/f; "
        "while :; do mv /d/in /d/t; mv /d/lnk /d/in; mv /d/in /d/lnk; mv /d/t /d/in; done"
    )
    one = container("sh", "-c", swap)
    (tmp_path / "x").write_text("x")
    (victim / "secret").write_text("secret")
    until = time.monotonic() + 3 * SLOWNESS
    while time.monotonic() < until:
        subprocess.run(
            agent.cli_command("cp", str(tmp_path / "x"), f"{one}:/d/in/x"),
            check=False,
            capture_output=True,
        )
        out = tmp_path / f"out{time.monotonic_ns()}"
        subprocess.run(
            agent.cli_command("cp", f"{one}:/d", str(out)), check=False, capture_output=True
        )
        assert os.listdir(victim) == ["secret"]
        for folder, _, files in os.walk(out):
            assert "secret" not in files, folder


def test_no_code_of_the_containers_is_loaded(agent, running, cp, tmp_path):
    """CVE-2019-14271: modules where ours would be looked for, and a tree that needs much of tar."""
    library = sysconfig.get_path("stdlib")
    names = [p.stem for p in Path(library).glob("*.py")]
    names += [f"encodings/{p.stem}" for p in Path(library, "encodings").glob("*.py")]
    poison = tmp_path / "poison"
    (poison / "encodings").mkdir(parents=True)
    for name in names:
        (poison / f"{name}.py").write_text("open('/loaded', 'w').close()\n")
    agent.exec(running, "mkdir", "-p", library)
    cp(f"{poison}/.", f"{running}:{library}")
    odd = os.path.join(os.fsencode(tmp_path), b"\xff\xfe" + b"n" * 150)
    with open(odd, "w") as file:
        file.write("x")
    cp(os.fsdecode(odd), f"{running}:/tmp")
    cp(f"{running}:/tmp", str(tmp_path / "back"))
    cp(f"{running}:/no", "-", fails_with="no such file")
    cp("-", f"{running}:/tmp", input=b"x" * 1024, fails_with="the archive")
    assert agent.exec(running, "ls", "/loaded").exit_code != 0


def test_fifos_and_devices_do_not_stop_it(agent, running, cp, tmp_path):
    agent.exec(running, "sh", "-c", "mkdir /odd; mkfifo /odd/p; mknod /odd/n c 1 3; echo x >/odd/z")
    cp(f"{running}:/odd", str(tmp_path / "odd"))
    assert stat.S_ISFIFO((tmp_path / "odd" / "p").stat().st_mode)
    assert stat.S_ISCHR((tmp_path / "odd" / "n").stat().st_mode)
    assert (tmp_path / "odd" / "z").read_text() == "x\n"
    (tmp_path / "f").write_text("new")
    cp(str(tmp_path / "f"), f"{running}:/odd/p")  # replaced, not written into
    assert agent.exec(running, "cat", "/odd/p").stdout == "new"


def test_a_client_that_goes_away_leaves_no_process(agent, running):
    agent.exec(running, "sh", "-c", "dd if=/dev/zero of=/big bs=1M count=50 2>/dev/null")
    children = f"/proc/{agent.pid}/task/{agent.pid}/children"

    def copying():
        with open(children) as file:
            pids = file.read().split()
        found = []
        for pid in pids:
            with open(f"/proc/{pid}/cmdline") as file:
                found += [pid] if "unpack" in file.read() else []
        return found

    with subprocess.Popen(
        agent.cli_command("cp", f"{running}:/big", "-"), stdout=subprocess.PIPE
    ) as process:
        process.stdout.read(1000)
        assert copying()
        process.kill()
    deadline = time.monotonic() + 10 * SLOWNESS
    while copying() and time.monotonic() < deadline:
        time.sleep(0.05)
    assert not copying()


def test_a_start_waits_for_a_copy_into_what_does_not_run(agent, container):
    """The root must not be mounted twice."""
    one = container("true", start=False)
    read, write = os.pipe()
    with subprocess.Popen(agent.cli_command("cp", "-", f"{one}:/tmp"), stdin=read) as process:
        os.close(read)
        time.sleep(0.5 * SLOWNESS)
        starter = threading.Thread(target=agent.cli, args=("start", one))
        starter.start()
        time.sleep(0.5 * SLOWNESS)
        assert agent.state(one)["status"] == "created"
        os.write(write, bytes(1024))
        os.close(write)
        assert process.wait(20 * SLOWNESS) == 0
    starter.join(20 * SLOWNESS)
    assert agent.wait(one) == 0


# -- diff ---------------------------------------------------------------------------------------


def changes(agent, one):
    done = agent.cli("diff", one)
    assert done.stderr == ""
    return done.stdout.splitlines()


def test_what_a_container_changed(agent, container):
    one = container("sleep", "1000")
    assert changes(agent, one) == []
    script = (
        "echo x >/etc/new; echo x >>/etc/passwd; rm /etc/alpine-release; mkdir -p /a/b; "
        "touch /a/b/c; rm -r /etc/apk; mkdir /etc/apk; touch /etc/apk/arch; chmod 700 /srv; "
        "rm -r /opt; echo >/opt"
    )
    before = agent.exec(one, "ls", "/etc/apk").stdout.split()
    assert agent.exec(one, "sh", "-c", script).exit_code == 0
    found = changes(agent, one)
    expected = {
        *("A /a", "A /a/b", "A /a/b/c", "C /etc", "A /etc/new", "C /etc/passwd"),
        *("D /etc/alpine-release", "C /etc/apk", "C /srv", "C /opt"),
        *(f"D /etc/apk/{name}" for name in before if name != "arch"),
        "C /etc/apk/arch",
    }
    assert set(found) == expected
    assert [line[2:] for line in found] == sorted(line[2:] for line in found)
    agent.post(one, "kill")
    agent.wait(one)
    assert changes(agent, one) == found


def test_nothing_of_ours_is_shown(agent, container, tmp_path):
    volumes = [{"source": str(tmp_path), "destination": "/vol"}]
    one = container("sleep", "1000", tty=True, volumes=volumes)
    assert changes(agent, one) == []
