"""Engines with images and a command line in docker's manner: cgagent, docker, podman."""

from __future__ import annotations

import sys
import time
from pathlib import Path
from typing import ClassVar

from benchmarks.api import UnixConnection
from benchmarks.peers import CGROUP_PARENT, CPUS, IMAGE, MEMORY_BYTES, PIDS, SLEEP
from benchmarks.process import Daemon, Failure, command, command_line, descendants, named
from tests.world import images

_LIMITS = ("--memory", "256m", "--cpus", str(CPUS), "--pids-limit", str(PIDS))
_CROWD = "i=0; while [ $i -lt $1 ]; do sleep 100000 & i=$((i+1)); done; echo ready; wait"
_CROWD_S = 120


class Client:
    """The verbs through a command line in docker's manner."""

    name: ClassVar[str]
    freeze_verb = "pause"
    thaw_verb = "unpause"

    def __init__(self, folder: Path, network: str = "none") -> None:
        """`network` is what its containers have: `none`, or `bridge`, each engine's own."""
        folder.mkdir(exist_ok=True)
        self.folder = folder
        self.network = network
        self.run_flags: tuple[str, ...] = ("--network", network, *_LIMITS)
        self.program: tuple[str, ...] = ()
        self.environment: dict[str, str] = {}

    def cli(self, *words: str) -> str:
        return command(*self.program, *words, environment=self.environment)

    def run(self) -> None:
        self.cli("run", "--rm", *self.run_flags, IMAGE, "true")

    def start(self) -> str:
        return self.cli("run", "-d", *self.run_flags, IMAGE, *SLEEP).strip()

    def start_crowd(self, tasks: int) -> str:
        flags = ("--network", "none", "--memory", "2g")
        container = self.cli(
            "run", "-d", *flags, IMAGE, "sh", "-c", _CROWD, "sh", str(tasks)
        ).strip()
        deadline = time.monotonic() + _CROWD_S
        while "ready" not in self.cli("logs", container):
            if time.monotonic() > deadline:
                raise Failure(f"{tasks} tasks were not started in {_CROWD_S} s")
            time.sleep(0.2)
        return container

    def write(self, mib: int, containers: int) -> list[str]:
        """Containers that write so much between them, in lines of 64 bytes; when all is written."""
        each = mib * 2**20 // containers
        lines = f"yes {'x' * 63} | head -c {each}"
        flags = ("--network", "none")
        ids = [
            self.cli("run", "-d", *flags, IMAGE, "sh", "-c", lines).strip()
            for _ in range(containers)
        ]
        self.cli("wait", *ids)
        return ids

    def read(self, container: str) -> None:
        self.cli("logs", container)

    def remove(self, containers: list[str]) -> None:
        if containers:
            self.cli("rm", "-f", *containers)

    def exec(self, container: str) -> None:
        self.cli("exec", container, "true")

    def freeze(self, container: str) -> None:
        self.cli(self.freeze_verb, container)

    def thaw(self, container: str) -> None:
        self.cli(self.thaw_verb, container)

    def version(self) -> str:
        return self.cli("--version").strip()

    def load_image(self) -> None:
        self.cli("load", "-i", str(images.busybox_docker_archive()))


class Cgagent(Client):
    """This project, as it is installed in the venv."""

    name = "cgagent"
    freeze_verb = "freeze"
    thaw_verb = "thaw"

    def __init__(self, folder: Path, network: str = "none") -> None:
        super().__init__(folder, network)
        self.socket = folder / "run" / "cgagent.sock"
        self.program = (str(Path(sys.executable).with_name("cgagent")),)
        self.environment = {"CGAGENT_SOCKET": str(self.socket)}
        self._daemon: Daemon | None = None
        self._api = UnixConnection(self.socket)

    def open(self) -> None:
        if not Path(self.program[0]).exists():
            raise Failure(f"{self.program[0]} does not exist")
        self.socket.parent.mkdir()
        places = ("--data-root", str(self.folder / "data"), "--socket", str(self.socket))
        others = ("--cgroup-parent", CGROUP_PARENT, "--metrics-listen", "")
        words = [*self.program, "serve", *places, *others]
        self._daemon = Daemon(words, self.folder / "log", self.environment)
        self._daemon.wait_for(lambda: self._api.call("GET", "/v1/info"))
        try:
            self.load_image()
        except Failure as failure:
            raise Failure(f"{failure}; {self._daemon.last_words()}") from None

    def close(self) -> None:
        self._api.close()
        if self._daemon is not None:
            self._daemon.end()

    def another(self) -> Cgagent:
        """The same agent by a connection of its own, for another thread."""
        return Cgagent(self.folder, self.network)

    def engine_pids(self) -> set[int]:
        info = self._api.call("GET", "/v1/info")
        own = descendants(info["pid"], info["keeper_pid"])
        return {pid for pid in own if tuple(command_line(pid)) != SLEEP}

    def create_by_api(self) -> str:
        limits = {"memory_max_bytes": MEMORY_BYTES, "cpus": CPUS, "pids_max": PIDS}
        asked = {"networks": [{"network": self.network}], "limits": limits}
        body = {"image": IMAGE, "command": ["true"], **asked}
        return str(self._api.call("POST", "/v1/containers", body)["id"])

    def start_by_api(self, container: str) -> None:
        self._api.call("POST", f"/v1/containers/{container}/start")

    def run_by_api(self) -> str:
        container = self.create_by_api()
        self.start_by_api(container)
        self._api.call("POST", f"/v1/containers/{container}/wait")
        return container

    def exec_by_api(self, container: str) -> None:
        self._api.stream(f"/v1/containers/{container}/exec?stdin=false", {"command": ["true"]})

    def freeze_by_api(self, container: str) -> None:
        self._api.call("POST", f"/v1/containers/{container}/freeze")

    def thaw_by_api(self, container: str) -> None:
        self._api.call("POST", f"/v1/containers/{container}/thaw")


class Docker(Client):
    """Debian's docker.io with a daemon of its own."""

    name = "docker"

    def __init__(self, folder: Path, network: str = "none") -> None:
        super().__init__(folder, network)
        self.socket = folder / "docker.sock"
        self.program = ("docker", "--host", f"unix://{self.socket}")
        self._daemon: Daemon | None = None
        self._api = UnixConnection(self.socket)

    def open(self) -> None:
        words = [
            *("dockerd", "--host", f"unix://{self.socket}"),
            *("--data-root", str(self.folder / "data"), "--exec-root", str(self.folder / "exec")),
            *("--pidfile", str(self.folder / "pid"), "--cgroup-parent", CGROUP_PARENT),
            *("--exec-opt", "native.cgroupdriver=cgroupfs", "--storage-driver", "overlay2"),
        ]
        if self.network == "none":
            words += ["--bridge", "none", "--iptables=false", "--ip6tables=false"]
        self._daemon = Daemon(words, self.folder / "log", self.environment)
        self._daemon.wait_for(lambda: self._api.call("GET", "/info"))
        self.load_image()

    def close(self) -> None:
        self._api.close()
        if self._daemon is not None:
            self._daemon.end()

    def engine_pids(self) -> set[int]:
        return named("dockerd", "containerd", "containerd-shim-runc-v2")

    def create_by_api(self) -> str:
        limits = {"Memory": MEMORY_BYTES, "NanoCpus": int(CPUS * 1e9), "PidsLimit": PIDS}
        host = {"NetworkMode": self.network, **limits}
        body = {"Image": IMAGE, "Cmd": ["true"], "HostConfig": host}
        return str(self._api.call("POST", "/containers/create", body)["Id"])

    def start_by_api(self, container: str) -> None:
        self._api.call("POST", f"/containers/{container}/start")

    def run_by_api(self) -> str:
        container = self.create_by_api()
        self.start_by_api(container)
        self._api.call("POST", f"/containers/{container}/wait")
        return container

    def exec_by_api(self, container: str) -> None:
        body = {"Cmd": ["true"], "AttachStdout": True, "AttachStderr": True}
        made = self._api.call("POST", f"/containers/{container}/exec", body)
        self._api.stream(f"/exec/{made['Id']}/start", {"Detach": False, "Tty": False})

    def freeze_by_api(self, container: str) -> None:
        self._api.call("POST", f"/containers/{container}/pause")

    def thaw_by_api(self, container: str) -> None:
        self._api.call("POST", f"/containers/{container}/unpause")


class Podman(Client):
    """Debian's podman, without a daemon; one conmon for each container."""

    name = "podman"

    def __init__(self, folder: Path, network: str = "none") -> None:
        super().__init__(folder, network)
        self.run_flags += ("--cgroup-parent", CGROUP_PARENT)
        places = ("--root", str(folder / "data"), "--runroot", str(folder / "run"))
        self.program = ("podman", *places, "--storage-driver", "overlay")
        # A file and not flags: conmon calls podman back, and gets no flags to pass on.
        self.environment = {"CONTAINERS_CONF": str(folder / "containers.conf")}

    def open(self) -> None:
        # Not crun: its version 1.21 refuses a hybrid tree of cgroups.
        (self.folder / "containers.conf").write_text(
            '[engine]\nruntime = "runc"\ncgroup_manager = "cgroupfs"\nevents_logger = "file"\n'
        )
        self.load_image()

    def remove(self, containers: list[str]) -> None:
        if containers:  # without -t 0 it waits 10 s for a SIGTERM that PID 1 ignores
            self.cli("rm", "-f", "-t", "0", *containers)

    def close(self) -> None:
        """Nothing runs between its commands; its containers are removed by whoever made them."""

    def engine_pids(self) -> set[int]:
        return named("conmon")
