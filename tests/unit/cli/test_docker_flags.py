"""Each flag of docker's commands is in the help of ours, or in docs/docker.md with the reason."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from cgagent.cli import main

PAGE = Path(__file__).parents[3] / "docs" / "docker.md"
RUN = (
    "add-host annotation attach blkio-weight blkio-weight-device cap-add cap-drop cgroup-parent "
    "cgroupns cidfile cpu-period cpu-quota cpu-rt-period cpu-rt-runtime cpu-shares cpus "
    "cpuset-cpus cpuset-mems detach detach-keys device device-cgroup-rule device-read-bps "
    "device-read-iops device-write-bps device-write-iops disable-content-trust dns dns-option "
    "dns-search domainname entrypoint env env-file expose gpus group-add health-cmd "
    "health-interval health-retries health-start-interval health-start-period health-timeout "
    "hostname init interactive ip ip6 ipc isolation kernel-memory label label-file link "
    "link-local-ip log-driver log-opt mac-address memory memory-reservation memory-swap "
    "memory-swappiness mount name network network-alias no-healthcheck oom-kill-disable "
    "oom-score-adj pid pids-limit platform privileged publish publish-all pull quiet read-only "
    "restart rm runtime security-opt shm-size sig-proxy stop-signal stop-timeout storage-opt "
    "sysctl tmpfs tty ulimit use-api-socket user userns uts volume volume-driver volumes-from "
    "workdir"
)
DOCKERS = {
    "run": RUN,
    "build": "add-host allow annotation attest build-arg build-context builder cache-from cache-to "
    "call cgroup-parent check compress cpu-period cpu-quota cpu-shares cpuset-cpus cpuset-mems "
    "debug disable-content-trust file force-rm iidfile isolation label load memory memory-swap "
    "metadata-file network no-cache no-cache-filter output platform policy progress provenance "
    "pull push quiet rm sbom secret security-opt shm-size squash ssh tag target ulimit",
    "exec": "detach detach-keys env env-file interactive privileged tty user workdir",
    "ps": "all filter format last latest no-trunc quiet size",
    "logs": "details follow since tail timestamps until",
    "images": "all digests filter format no-trunc quiet tree",
    "pull": "all-tags disable-content-trust platform quiet",
    "push": "all-tags disable-content-trust platform quiet",
    "login": "password password-stdin username",
    "search": "filter format limit no-trunc",
    "load": "input platform quiet",
    "save": "output platform",
    "import": "change message platform",
    "export": "output",
    "commit": "author change message no-pause pause",
    "history": "format human no-trunc platform quiet",
    "rmi": "force no-prune platform",
    "start": "attach checkpoint checkpoint-dir detach-keys interactive",
    "stop": "signal timeout",
    "restart": "signal timeout",
    "kill": "signal",
    "rm": "force link volumes",
    "cp": "archive follow-link quiet",
    "attach": "detach-keys no-stdin sig-proxy",
    "inspect": "format size type",
    "stats": "all format no-stream no-trunc",
    "update": "blkio-weight cpu-period cpu-quota cpu-rt-period cpu-rt-runtime cpu-shares cpus "
    "cpuset-cpus cpuset-mems memory memory-reservation memory-swap pids-limit restart",
    "events": "filter format since until",
    "version": "format",
    "info": "format",
}
"""As ``docker COMMAND --help`` of Docker 29 lists them, without those of Windows alone.

Those of build are buildx's, and those that the classic builder has beside them.
"""


def missing_here():
    """Command -> flags of the table."""
    found = {}
    for line in PAGE.read_text().split("\n"):
        commands, flags, *_ = [*line.removeprefix("| ").split(" | "), ""]
        for command in commands.split(", "):
            found.setdefault(command, set()).update(re.findall(r"`--([a-z0-9-]+)`", flags))
    return found


@pytest.mark.parametrize("command", DOCKERS)
def test_each_flag_is_there_or_explained(command, monkeypatch, capsys):
    monkeypatch.setattr("sys.argv", ["cgagent", command, "--help"])
    with pytest.raises(SystemExit):
        main.main()
    help_has = set(re.findall(r"--([a-z][a-z0-9-]+)", capsys.readouterr().out))
    explained = missing_here().get(command, set())
    assert set(DOCKERS[command].split()) - help_has == explained
