"""Debian's firewalld, ufw and docker, unpacked and run for one network namespace."""

from __future__ import annotations

import os
import subprocess
import time
from typing import TYPE_CHECKING

from tests.world import debian

if TYPE_CHECKING:
    from pathlib import Path

    from tests.world.hosts import Host

_START_S = 60
# The packages' files beside those of the machine, changes in the folder, an own /run.
_SET_UP = """
folder=$1 usr=$2 etc=$3
shift 3
mount -t tmpfs tmpfs /run
mount -t overlay -o "lowerdir=$usr:/usr,upperdir=$folder/usr,workdir=$folder/work" overlay /usr
mount -t overlay -o "lowerdir=$etc:/etc,upperdir=$folder/etc,workdir=$folder/work2" overlay /etc
exec "$@"
"""
_BUS = """<busconfig>
  <type>system</type>
  <listen>unix:path={socket}</listen>
  <policy context="default">
    <allow user="*"/> <allow own="*"/> <allow send_destination="*"/> <allow receive_sender="*"/>
  </policy>
</busconfig>
"""


class _Unpacked:
    """Programs of packages in a mount namespace that has their files, and a host's network."""

    def __init__(self, host: Host, folder: Path, *packages: str) -> None:
        """`folder`: empty, on a file system that overlays may have their upper layer on."""
        unpacked = [debian.unpack(name) for name in packages]
        for name in ("usr", "etc", "work", "work2"):
            (folder / name).mkdir()
        layers = [
            ":".join(str(package / part) for package in unpacked if (package / part).is_dir())
            for part in ("usr", "etc")
        ]
        self._host = host
        self._environment = {**os.environ, "DBUS_SYSTEM_BUS_ADDRESS": f"unix:path={folder}/bus"}
        self._process = self._popen(
            *("unshare", "--mount", "sh", "-ec", _SET_UP, "sh", str(folder), *layers),
            *("sh", "-c", "echo ready; exec sleep infinity"),
        )
        assert self._process.stdout is not None
        said = self._process.stdout.readline()
        assert said == "ready\n", said

    def _popen(self, *command: str) -> subprocess.Popen[str]:
        output = {"stdout": subprocess.PIPE, "stderr": subprocess.STDOUT}
        return self._host.popen(*command, env=self._environment, **output)

    def popen(self, *command: str) -> subprocess.Popen[str]:
        return self._popen("nsenter", "--mount", f"--target={self._process.pid}", *command)

    def run(self, command: str, *, check: bool = True) -> str:
        """What a command prints."""
        called = self.popen(*command.split())
        said = called.communicate()[0].strip()
        assert called.returncode == 0 or not check, f"{command}: {said}"
        return str(said)

    def close(self) -> None:
        self._process.terminate()
        self._process.communicate()


class Firewalld:
    """Runs with a bus of its own."""

    def __init__(self, host: Host, folder: Path, slowness: float) -> None:
        debian.install("dbus", "python3-dbus", "python3-gi", "gir1.2-glib-2.0")
        packages = ("firewalld", "python3-firewall", "python3-nftables")
        self._unpacked = _Unpacked(host, folder, *packages)
        (folder / "bus.conf").write_text(_BUS.format(socket=folder / "bus"))
        bus = ("dbus-daemon", "--nofork", f"--config-file={folder}/bus.conf")
        daemon = ("/usr/bin/python3", "-I", "/usr/sbin/firewalld", "--nofork", "--nopid")
        self._processes = [
            self._unpacked.popen(*command)
            for command in (bus, (*daemon, f"--log-file={folder}/log"))
        ]
        deadline = time.monotonic() + _START_S * slowness
        while self._unpacked.run("firewall-cmd --state", check=False) != "running":
            assert time.monotonic() < deadline, (folder / "log").read_text()

    def run(self, command: str) -> str:
        return self._unpacked.run(command)

    def close(self) -> None:
        for process in self._processes:
            process.terminate()
            process.communicate()
        self._unpacked.close()


class Ufw:
    """Is enabled as its package leaves it: what comes in and what is forwarded is dropped."""

    def __init__(self, host: Host, folder: Path) -> None:
        self._unpacked = _Unpacked(host, folder, "ufw")
        for command in (  # as its package does when it is installed
            f"cp -r {debian.unpack('ufw')}/lib/ufw /usr/lib/ufw",
            "cp -r /usr/share/ufw/iptables/. /usr/share/ufw/ufw.conf /etc/ufw",
            f"cp {debian.unpack('ufw')}/etc/default/ufw /etc/default/ufw",
        ):
            self._unpacked.run(command)
        self.run("ufw --force enable")

    def run(self, command: str) -> str:
        return self._unpacked.run(f"/usr/bin/python3 -I /usr/sbin/{command}")

    def close(self) -> None:
        self._unpacked.close()


class Docker:
    """Its daemon, without containers: a bridge and rules."""

    def __init__(self, host: Host, folder: Path, slowness: float) -> None:
        self._unpacked = _Unpacked(host, folder, "docker.io", "containerd", "runc")
        self._folder, self._slowness = folder, slowness
        self._start()

    def _start(self) -> None:
        log = self._folder / "log"
        log.unlink(missing_ok=True)
        roots = f"--data-root {self._folder}/data --exec-root /run/docker --pidfile /run/docker.pid"
        options = f"--host unix:///run/docker.sock --storage-driver vfs {roots}"
        self._daemon = self._unpacked.popen("sh", "-c", f"exec dockerd {options} >{log} 2>&1")
        deadline = time.monotonic() + _START_S * self._slowness
        while not log.exists() or "API listen" not in log.read_text():
            assert time.monotonic() < deadline, log.read_text()
            time.sleep(0.1)

    def _end(self) -> None:
        self._daemon.terminate()
        self._daemon.communicate()

    def restart(self) -> None:
        self._end()
        self._start()

    def close(self) -> None:
        self._end()
        self._unpacked.close()
