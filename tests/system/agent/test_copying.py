"""``cp`` out of containers and into them, ``diff`` of what they changed."""

import io
import os
import stat
import tarfile

import pytest

pytestmark = [pytest.mark.system, pytest.mark.native]


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


def test_the_whole_root_of_one_that_runs(running, cp):
    """What the kernel shows in /proc and /sys is none of the container's files."""
    with tarfile.open(fileobj=io.BytesIO(cp(f"{running}:/", "-"))) as archive:
        names = {name.rstrip("/") for name in archive.getnames()}
    first = min(names, key=len)
    inside = {name.removeprefix(first).lstrip("/") for name in names}
    assert {"etc/alpine-release", "etc/hosts", "proc", "sys", "dev/pts"} <= inside
    assert not {name for name in inside if name.startswith(("proc/", "sys/", "dev/pts/"))}


def test_more_than_a_request_may_have(running, agent, cp, tmp_path):
    with open(tmp_path / "big", "wb") as file:
        file.writelines(os.urandom(1 << 20) for _ in range(20))
    cp(str(tmp_path / "big"), f"{running}:/big")
    cp(f"{running}:/big", str(tmp_path / "back"))
    assert (tmp_path / "back").read_bytes() == (tmp_path / "big").read_bytes()


def test_volumes_and_files_of_ours(agent, container, cp, tmp_path):
    (tmp_path / "v").mkdir()
    (tmp_path / "hosts").write_text("127.0.0.1 new\n")
    one = container("sleep", "1000", start=False, binds=[f"{tmp_path / 'v'}:/v", "data:/data"])
    cp(str(tmp_path / "hosts"), f"{one}:/data/x")
    cp(str(tmp_path / "hosts"), f"{one}:/v/x")
    assert (tmp_path / "v" / "x").read_text() == "127.0.0.1 new\n"
    agent.post(one, "start")
    cp(str(tmp_path / "hosts"), f"{one}:/etc/hosts")  # mounted: written into
    assert agent.exec(one, "cat", "/etc/hosts", "/data/x").stdout == "127.0.0.1 new\n" * 2
    agent.remove(one)
    agent.client.request("DELETE", "/v1/volumes/data")


@pytest.mark.parametrize("start", [True, False])
def test_a_read_only_root_stays_as_it_is(container, cp, tmp_path, start):
    one = container("sleep", "1000", read_only=True, start=start)
    (tmp_path / "x").write_text("")
    cp(str(tmp_path / "x"), f"{one}:/x", fails_with="read-only file system")
    assert cp(f"{one}:/etc/alpine-release", "-").startswith(b"alpine-release")


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
    one = container("sleep", "1000", tty=True, binds=[f"{tmp_path}:/vol"])
    assert changes(agent, one) == []
