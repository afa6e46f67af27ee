"""``cp`` with containers and archives that mean harm, and with clients that go away."""

import contextlib
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

from tests.world.agent import SLOWNESS, eventually

pytestmark = [pytest.mark.system, pytest.mark.native]


def copying(agent, operation):
    """The agent's processes that copy: "read" or "write"."""
    found = []
    for pid in Path(f"/proc/{agent.pid}/task/{agent.pid}/children").read_text().split():
        with contextlib.suppress(FileNotFoundError, ProcessLookupError):
            command = Path(f"/proc/{pid}/cmdline").read_text()
            found += [pid] if f'"op": "{operation}"' in command else []
    return found


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


@pytest.mark.parametrize("start", [True, False])
def test_a_device_that_is_mounted_there_is_not_written_to(container, cp, tmp_path, start):
    """CVE-2026-41567: it cannot be replaced, so what it is decides."""
    box = container("sleep", "1000", binds=["/dev/full:/device"], start=start)
    (tmp_path / "f").write_text("text")
    cp(tmp_path / "f", f"{box}:/device", fails_with="something is mounted there")


@pytest.mark.parametrize("userns", ["", "auto"])
def test_a_file_that_is_mounted_there_stays_mounted(agent, container, cp, tmp_path, userns):
    ours, new = tmp_path / "ours", tmp_path / "new"
    ours.write_text("before")
    new.write_text("after")
    box = container(
        "sleep", "1000", binds=[f"{ours}:/rw", f"{ours}:/ro:ro"], userns=userns or "host"
    )
    cp(new, f"{box}:/ro", fails_with="read-only file system")
    assert agent.exec(box, "cat", "/ro").stdout == ours.read_text() == "before"
    cp(new, f"{box}:/rw")
    assert agent.exec(box, "cat", "/ro").stdout == ours.read_text() == "after"


def test_mount_points_of_what_does_not_run_do_not_lead_out(agent, container, cp, tmp_path):
    """CVE-2026-42306: the container has put a link where a directory above a volume's was."""
    victim = tmp_path / "victim"
    victim.mkdir()
    swap = f"mkdir -p {victim}; mv /link /old && ln -s ../../../../..{victim} /link"
    box = container("sh", "-c", swap, binds=["swapped:/link/made"])
    try:
        assert agent.wait(box) == 0
        (tmp_path / "f").write_text("text")
        cp(tmp_path / "f", f"{box}:/link/made/f")
        assert os.listdir(victim) == []
        assert b"text" in cp(f"{box}:{victim}/made/f", "-")
    finally:
        agent.remove(box)
        agent.client.request("DELETE", "/v1/volumes/swapped")


def test_a_client_that_goes_away_leaves_no_process(agent, running):
    agent.exec(running, "sh", "-c", "dd if=/dev/zero of=/big bs=1M count=50 2>/dev/null")
    with subprocess.Popen(
        agent.cli_command("cp", f"{running}:/big", "-"), stdout=subprocess.PIPE
    ) as process:
        process.stdout.read(1000)
        assert copying(agent, "read")
        process.kill()
    eventually(lambda: not copying(agent, "read"))


def test_a_start_waits_for_a_copy_into_what_does_not_run(agent, container):
    """The root must not be mounted twice."""
    one = container("true", start=False)
    read, write = os.pipe()
    with subprocess.Popen(agent.cli_command("cp", "-", f"{one}:/tmp"), stdin=read) as process:
        os.close(read)
        eventually(lambda: copying(agent, "write"))
        starter = threading.Thread(target=agent.cli, args=("start", one))
        starter.start()
        time.sleep(0.5 * SLOWNESS)
        assert agent.state(one)["status"] == "created"
        os.write(write, bytes(1024))
        os.close(write)
        assert process.wait(20 * SLOWNESS) == 0
    starter.join(20 * SLOWNESS)
    assert agent.wait(one) == 0
