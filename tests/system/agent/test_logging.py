"""Where output is kept: rotated files, the journal, nowhere; and who pays for much of it."""

from __future__ import annotations

import json
import os
import subprocess
import time
from pathlib import Path

import pytest

from cgagent.errors import CgagentError, InvalidInputError
from tests.world.agent import SLOWNESS, Agent, alive, eventually

pytestmark = [pytest.mark.system, pytest.mark.native]

JOURNALD = "/lib/systemd/systemd-journald"
COUNT = "i=0; while [ $i -lt {0} ]; do echo $i; i=$((i+1)); done"


def files(agent, container):
    folder = agent.data_root / "containers" / container
    return sorted(p for p in folder.iterdir() if "-json.log" in p.name)


def test_a_log_is_rotated_by_size_under_dockers_names(agent, container):
    options = {"max-size": "20k", "max-file": "3"}
    one = container("sh", "-c", COUNT.format(2000), log={"options": options})
    agent.wait(one)
    found = files(agent, one)
    assert [p.name.removeprefix(one) for p in found] == [
        "-json.log",
        "-json.log.1",
        "-json.log.2",
    ]
    assert all(p.stat().st_size < 20_000 + 100 for p in found)
    shown = [int(e["log"]) for e in agent.logs(one)]
    assert 400 < len(shown) < 800
    assert shown == list(range(2000 - len(shown), 2000))
    assert agent.cli("logs", "-n", "3", one).stdout == "1997\n1998\n1999\n"
    assert agent.detail(one)["resolved"]["log"] == {"driver": "json-file", "options": options}


def test_following_through_rotations_shows_every_line_once(agent, container):
    one = container(
        *("sh", "-c", f"for k in 1 2 3; do {COUNT.format(600)}; sleep 0.3; done"),
        log={"options": {"max-size": "10k", "max-file": "20"}},
    )
    done = agent.cli("logs", "-f", one)
    assert done.stdout.split() == [str(n) for n in range(600)] * 3


def test_a_log_survives_the_agent_between_two_rotations(own_agent):
    one = own_agent.launch(
        *("sh", "-c", f"{COUNT.format(500)}; sleep 1; {COUNT.format(500)}"),
        log={"options": {"max-size": "10k", "max-file": "30"}},
    )
    own_agent.kill9()
    own_agent.start()
    own_agent.wait(one)
    assert own_agent.log_text(one).split() == [str(n) for n in range(500)] * 2


def test_time_chooses_lines(agent, container):
    one = container("sh", "-c", "echo early; sleep 1; echo late")
    agent.wait(one)
    early, late = (e["time"] for e in agent.logs(one))
    assert agent.cli("logs", "--since", late, one).stdout == "late\n"
    assert agent.cli("logs", "--until", early, "-t", one).stdout == f"{early} early\n"
    assert agent.cli("logs", "--since", "1h", "--until", "30m", one).stdout == ""
    assert "is not a time" in agent.cli("logs", "--since", "lately", one).stderr


def test_nothing_is_kept_with_none(agent, container):
    seen = agent.cli("run", "--rm", "--log-driver", "none", "alpine", "echo", "seen")
    assert seen.stdout == "seen\n"
    one = container("echo", "lost", log={"driver": "none"})
    agent.wait(one)
    shown = agent.cli("logs", one)
    assert "configured logging driver does not support reading" in shown.stderr
    assert shown.returncode == 1
    assert files(agent, one) == []


@pytest.mark.parametrize(
    ("log", "told"),
    [
        ({"driver": "syslog"}, "log driver 'syslog' is not known"),
        ({"options": {"max-sise": "1m"}}, "unknown log opt 'max-sise' for json-file log driver"),
        ({"options": {"max-file": "0"}}, "cannot be less than 1"),
        ({"driver": "none", "options": {"max-size": "1m"}}, "for none log driver"),
    ],
)
def test_what_makes_no_sense_is_refused(agent, nothing_made, log, told):
    with pytest.raises(InvalidInputError, match=told):
        agent.create("true", log=log)


@pytest.mark.skipif(os.path.exists("/run/systemd/journal/socket"), reason="it has a journal")
def test_a_host_without_a_journal_says_so(agent, nothing_made):
    with pytest.raises(CgagentError, match="no /run/systemd/journal/socket on this host"):
        agent.create("true", log={"driver": "journald"})


def test_chosen_labels_and_variables_stand_in_every_entry(agent, container):
    one = container(
        *("echo", "text"),
        name="told",
        labels={"tier": "web", "other": "x"},
        env=["STAGE=live"],
        log={"options": {"labels": "tier,absent", "env": "STAGE", "tag": "{{.Name}}"}},
    )
    agent.wait(one)
    (entry,) = agent.logs(one)
    assert entry["attrs"] == {"tier": "web", "STAGE": "live", "tag": "told"}


def test_settings_of_the_agent_are_those_of_containers_without_their_own(
    data_root, alpine_docker_archive
):
    config = data_root / "config.toml"
    config.write_text('[log]\ndriver = "json-file"\nmax-size = "10k"\nmax-file = 2\n')
    with Agent(data_root, "--config", str(config)) as agent:
        agent.load(alpine_docker_archive)
        plain = agent.launch("sh", "-c", COUNT.format(1000))
        own = agent.launch("true", log={"options": {"max-file": "3"}})
        none = agent.launch("true", log={"driver": "none"})
        kept = [agent.detail(c)["resolved"]["log"]["options"] for c in (plain, own, none)]
        assert kept == [
            {"max-size": "10k", "max-file": "2"},
            {"max-size": "10k", "max-file": "3"},
            {},
        ]
        agent.wait(plain)
        assert len(files(agent, plain)) == 2


def test_a_container_that_floods_its_log_slows_only_itself(agent, container):
    """Another's start, output and exit come while one writes as fast as it can."""
    loud = container("sh", "-c", "yes", log={"options": {"max-size": "1m", "max-file": "2"}})
    eventually(lambda: len(files(agent, loud)) == 2)
    before = time.monotonic()
    for _ in range(5):
        assert agent.run("echo", "quiet").stdout == "quiet\n"
    assert (time.monotonic() - before) / 5 < 2 * SLOWNESS
    agent.post(loud, "kill")
    agent.wait(loud)
    assert sum(p.stat().st_size for p in files(agent, loud)) < 3_000_000


@pytest.fixture
def journal(data_root):
    """systemd-journald in a mount namespace of its own; the pid to join it by."""
    ours = data_root / "journald"
    script = (
        "set -e; mount --make-rprivate /; mkdir -p /run/systemd /run/log;"
        "mount -t tmpfs tmpfs /run/systemd; mount -t tmpfs tmpfs /run/log;"
        f"mkdir -p /run/systemd/journal /run/log/journal; exec {JOURNALD}"
    )
    made = [p for p in ("/run/systemd", "/run/log") if not os.path.exists(p)]
    with ours.open("wb") as log:
        process = subprocess.Popen(["unshare", "-m", "sh", "-c", script], stdout=log, stderr=log)
    try:
        socket = Path(f"/proc/{process.pid}/root/run/systemd/journal/socket")
        eventually(lambda: socket.exists() or not alive(process.pid), "the journal does not listen")
        yield process.pid
    finally:
        process.terminate()
        process.wait(20)
        for path in made:
            os.rmdir(path)


class Beside(Agent):
    """An agent in the mount namespace of another process."""

    pid_beside = 0

    def command(self, *flags):
        return ["nsenter", f"--mount=/proc/{self.pid_beside}/ns/mnt", *super().command(*flags)]


@pytest.mark.skipif(not os.path.exists(JOURNALD), reason="systemd-journald is not installed")
def test_a_journal_gets_every_line_with_dockers_fields(journal, data_root, alpine_docker_archive):
    agent = Beside(data_root, forked=False)
    agent.pid_beside = journal
    with agent:
        agent.load(alpine_docker_archive)
        script = f"{COUNT.format(1000)}; echo bad >&2; printf open"
        log = {"driver": "journald", "options": {"tag": "{{.Name}}/{{.ID}}", "labels": "a.b"}}
        labels = {"a.b": "of its own"}
        one = agent.launch("sh", "-c", script, name="box", log=log, labels=labels)
        agent.wait(one)
        assert agent.state(one)["log_dropped_bytes"] == 0
        entries = eventually(lambda: journal_of(journal, one, 1002))
        assert "does not support reading" in agent.cli("logs", one).stderr
    text = [e["MESSAGE"] for e in entries if e["PRIORITY"] == "6"]
    assert text == [*map(str, range(1000)), "open"]
    (bad,) = (e for e in entries if e["PRIORITY"] == "3")
    assert bad["MESSAGE"] == "bad"
    assert bad["A_B"] == "of its own"
    last = next(e for e in entries if e["MESSAGE"] == "open")
    assert {k: last[k] for k in last if k.startswith(("CONTAINER_", "IMAGE_", "SYSLOG_"))} == {
        "CONTAINER_ID": one[:12],
        "CONTAINER_ID_FULL": one,
        "CONTAINER_NAME": "box",
        "CONTAINER_TAG": f"box/{one[:12]}",
        "SYSLOG_IDENTIFIER": f"box/{one[:12]}",
        "IMAGE_NAME": "alpine",
        "CONTAINER_PARTIAL_MESSAGE": "true",
    }


def journal_of(pid, container, count):
    """Its entries, when they are all there."""
    done = subprocess.run(
        [
            *("nsenter", f"--mount=/proc/{pid}/ns/mnt", "journalctl", "-o", "json", "--no-pager"),
            f"CONTAINER_ID_FULL={container}",
        ],
        check=True,
        capture_output=True,
        text=True,
    )
    entries = [json.loads(line) for line in done.stdout.splitlines()]
    return entries if len(entries) >= count else None


def test_rotated_files_are_compressed_and_read(agent, container):
    options = {"max-size": "20k", "max-file": "8", "compress": "true"}
    script = f"{COUNT.format(1000)}; sleep 1.5; {COUNT.format(1000)}"
    one = container("sh", "-c", script, log={"options": options})
    done = agent.cli("logs", "-f", one)
    assert done.stdout.split() == [str(n) for n in range(1000)] * 2
    eventually(lambda: all(p.name.endswith((".log", ".gz")) for p in files(agent, one)))
    assert len(files(agent, one)) > 3
    assert agent.log_text(one).split() == [str(n) for n in range(1000)] * 2
    assert agent.cli("logs", "-n", "1500", one).stdout.split()[0] == "500"


def test_details_are_shown_as_docker_does(agent, container):
    log = {"options": {"labels-regex": "^ti", "env": "STAGE"}}
    one = container(
        *("sh", "-c", "echo text; echo more"),
        labels={"tier": "a b", "other": "x"},
        env=["STAGE=live"],
        log=log,
    )
    plain = container("echo", "text")
    agent.wait(one)
    agent.wait(plain)
    shown = agent.cli("logs", "--details", one).stdout
    assert shown == "STAGE=live,tier=a+b text\nSTAGE=live,tier=a+b more\n"
    time_, details, _ = agent.cli("logs", "--details", "-t", "-n1", one).stdout.split(" ")
    assert time_.endswith("Z")
    assert details == "STAGE=live,tier=a+b"
    assert agent.cli("logs", "--details", plain).stdout == " text\n"
