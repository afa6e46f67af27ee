"""Flags that docker users are used to, by the command line."""

import bz2
import lzma
import os
import re
import subprocess

import pytest

from cgagent.images.manifest import this_architecture
from tests.world.agent import SLOWNESS, eventually

pytestmark = [pytest.mark.system, pytest.mark.native]


@pytest.fixture
def cli(agent):
    def run(*words, fails=False, **options):
        done = agent.cli(*words, **options)
        assert (done.returncode != 0) is fails, done.stderr
        return done.stderr if fails else done.stdout

    yield run
    agent.remove_all()
    agent.client.request("POST", "/v1/volumes/prune")


def test_streams_of_a_run_that_are_chosen(agent, cli):
    script = "cat; echo out; echo err >&2"
    done = agent.cli("run", "--rm=true", "-a", "stderr", "alpine", "sh", "-c", script)
    assert (done.stdout, done.stderr) == ("", "err\n")
    assert cli("run", "--rm", "-a", "STDOUT", "-i=false", "alpine", "sh", "-c", script) == "out\n"


def test_start_with_the_streams_of_run(cli):
    cli("create", "--name", "one", "-i", "alpine", "sh", "-c", "cat; echo end; exit 4")
    assert cli("start", "-ai", "one", fails=True, input="given\n") == ""
    assert cli("logs", "one") == "given\nend\n"
    cli("create", "--name", "two", "alpine", "echo", "hello")
    assert cli("start", "-a", "two") == "hello\n"
    cli("run", "-d", "--name", "three", "alpine", "sleep", "100")
    assert "runs already" in cli("start", "-a", "three", fails=True)


def test_volumes_of_another_container(cli, tmp_path):
    cli(
        "run", "-d", "--name", "one", "-v", "/data", "-v", f"{tmp_path}:/w", "alpine", "sleep", "99"
    )
    cli("exec", "one", "touch", "/data/x", "/w/y")
    assert cli("run", "--rm", "--volumes-from", "one", "alpine", "ls", "/data", "/w") == (
        "/data:\nx\n\n/w:\ny\n"
    )
    refused = cli("run", "--rm", "--volumes-from", "one:ro", "alpine", "touch", "/w/z", fails=True)
    assert "Read-only" in refused
    assert "mode is ro or rw" in cli("create", "--volumes-from", "one:x", "alpine", fails=True)


def test_which_image(cli):
    assert "no such image" in cli("run", "--pull", "never", "nosuch", "true", fails=True)
    assert "--platform windows/amd64: only linux/" in cli(
        *("run", "--platform", "windows/amd64", "alpine", "true"), fails=True
    )
    own, other = ("amd64", "aarch64") if this_architecture()[0] == "amd64" else ("arm64", "x86_64")
    for spelled in ("linux", own, os.uname().machine, f"linux/{own}"):
        assert cli("run", "--rm", "--platform", spelled, "alpine", "echo", "yes") == "yes\n"
    words = ("run", "--pull", "never", "--platform", f"linux/{other}", "alpine", "true")
    assert f"is here for linux/{own}, not for linux/" in cli(*words, fails=True)


def test_environment_of_a_command_from_a_file(cli, tmp_path):
    (tmp_path / "env").write_text("A=1\n# no\nB=x y\n")
    cli("run", "-d", "--name", "one", "alpine", "sleep", "100")
    flags = ("--env-file", str(tmp_path / "env"), "-e", "A=2")
    assert cli("exec", *flags, "one", "sh", "-c", "echo $A $B") == "2 x y\n"


@pytest.mark.parametrize("compress", [bytes, bz2.compress, lzma.compress])
def test_an_archive_on_standard_input(agent, busybox_docker_archive, compress):
    data = busybox_docker_archive.read_bytes()
    if compress is lzma.compress:
        data = lzma.compress(data, preset=0)
    elif compress is bz2.compress:
        data = bz2.compress(data, 1)
    done = subprocess.run(
        agent.cli_command("load", "-q"),
        check=False,
        input=data,
        capture_output=True,
        timeout=60 * SLOWNESS,
    )
    assert (done.returncode, done.stderr) == (0, b"")
    assert done.stdout.startswith(b"Loaded image: busybox:")


def test_a_directory_named_by_two_dots(cli, tmp_path):
    (tmp_path / "top" / "below").mkdir(parents=True)
    (tmp_path / "top" / "file").write_text("x")
    cli("create", "--name", "one", "alpine", "true")
    cli("cp", f"{tmp_path}/top/below/..", "one:/srv")
    cli("cp", "one:/srv/top/below/..", str(tmp_path / "below"), fails=False)
    assert os.path.isfile(tmp_path / "below" / "file")
    os.mkdir(tmp_path / "there")
    cli("cp", "one:/srv/top/below/..", str(tmp_path / "there"))
    assert os.path.isfile(tmp_path / "there" / "top" / "file")


def test_sizes(cli):
    cli("run", "-d", "--name", "big", "alpine", "sh", "-c", "head -c 3m /dev/zero >/f; sleep 99")
    cli("create", "--name", "none", "alpine", "true")
    eventually(lambda: re.search(r" 3(\.\d+)?MiB \(virtual 1\d", cli("ps", "-s")))
    shown = cli("ps", "-as", "--format", "{{.Names}} {{.Size}}")
    assert re.search(r"^none (0B|\d+KiB) \(virtual \d+\.?\d*MiB\)$", shown, re.MULTILINE)
    assert cli("ps", "-s").split("\n")[0].endswith("SIZE")
    whole, written = cli("inspect", "-s", "-f", "{{.SizeRootFs}} {{.SizeRw}}", "big").split()
    assert 3 << 20 <= int(written) < int(whole)
    assert "there is no field" in cli("inspect", "-f", "{{.SizeRw}}", "big", fails=True)
