"""The engines compared, each brought to the same few verbs with the same limits.

A peer is opened in an empty folder of its own, holds the busybox image from then on, and takes
everything with it when closed. Verbs raise `Failure` with the engine's words.
"""

from __future__ import annotations

import json
import subprocess
import sys
from itertools import count
from pathlib import Path
from typing import Any, ClassVar, Protocol, runtime_checkable

from benchmarks.api import UnixConnection
from benchmarks.process import Daemon, Failure, command, command_line, descendants, named
from tests.world import debian, images

__all__ = ["CGROUP_PARENT", "PEERS", "Api", "Engine", "Failure", "Peer"]

CGROUP_PARENT = "/cgagent-test-bench"
IMAGE = "busybox:latest"
MEMORY_BYTES = 256 << 20
CPUS = 0.5
PIDS = 64
_LIMITS = ("--memory", "256m", "--cpus", str(CPUS), "--pids-limit", str(PIDS))
_FLAGS = ("--network", "none", *_LIMITS)
_SLEEP = ("sleep", "100000")
_UNIFIED = Path("/sys/fs/cgroup/unified")


class Peer(Protocol):
    """What every peer can do."""

    name: ClassVar[str]
    packages: ClassVar[tuple[str, ...]]
    """Debian packages unpacked for it."""

    def open(self) -> None: ...
    def close(self) -> None: ...
    def version(self) -> str: ...
    def run(self) -> None:
        """One whole command: a container that runs ``true`` and is removed."""

    def start(self) -> str:
        """A container that sleeps; its name."""

    def remove(self, containers: list[str]) -> None: ...
    def exec(self, container: str) -> None:
        """Run ``true`` in it."""

    def freeze(self, container: str) -> None: ...
    def thaw(self, container: str) -> None: ...


@runtime_checkable
class Engine(Protocol):
    """A peer that keeps processes for its containers."""

    def engine_pids(self) -> set[int]:
        """Every process of its own, no process of a container."""


@runtime_checkable
class Api(Protocol):
    """A peer with a socket."""

    def run_by_api(self) -> str:
        """Create, start and wait for ``true``; the container, still to be removed."""


class _Client:
    """The verbs through a command line in docker's manner."""

    name: ClassVar[str]
    packages: ClassVar[tuple[str, ...]] = ()
    freeze_verb = "pause"
    thaw_verb = "unpause"
    run_flags: tuple[str, ...] = _FLAGS

    def __init__(self, folder: Path) -> None:
        folder.mkdir()
        self.folder = folder
        self.program: tuple[str, ...] = ()
        self.environment: dict[str, str] = {}

    def cli(self, *words: str) -> str:
        return command(*self.program, *words, environment=self.environment)

    def run(self) -> None:
        self.cli("run", "--rm", *self.run_flags, IMAGE, "true")

    def start(self) -> str:
        return self.cli("run", "-d", *self.run_flags, IMAGE, *_SLEEP).strip()

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


class Cgagent(_Client):
    """This project, as it is installed in the venv."""

    name = "cgagent"
    freeze_verb = "freeze"
    thaw_verb = "thaw"

    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        self._socket = folder / "run" / "cgagent.sock"
        self.program = (str(Path(sys.executable).with_name("cgagent")),)
        self.environment = {"CGAGENT_SOCKET": str(self._socket)}
        self._daemon: Daemon | None = None
        self._api = UnixConnection(self._socket)

    def open(self) -> None:
        if not Path(self.program[0]).exists():
            raise Failure(f"{self.program[0]} does not exist")
        self._socket.parent.mkdir()
        places = ("--data-root", str(self.folder / "data"), "--socket", str(self._socket))
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

    def engine_pids(self) -> set[int]:
        info = self._api.call("GET", "/v1/info")
        own = descendants(info["pid"], info["supervisor_pid"])
        return {pid for pid in own if tuple(command_line(pid)) != _SLEEP}

    def run_by_api(self) -> str:
        limits = {"memory_max_bytes": MEMORY_BYTES, "cpus": CPUS, "pids_max": PIDS}
        body = {"image": IMAGE, "command": ["true"], "network": "none", "limits": limits}
        container = str(self._api.call("POST", "/v1/containers", body)["id"])
        self._api.call("POST", f"/v1/containers/{container}/start")
        self._api.call("POST", f"/v1/containers/{container}/wait")
        return container


class Docker(_Client):
    """Debian's docker.io with a daemon of its own."""

    name = "docker"
    packages: ClassVar[tuple[str, ...]] = ("docker.io", "containerd")

    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        roots = [debian.unpack(package) for package in self.packages]
        path = [str(root / "usr" / sub) for root in roots for sub in ("bin", "sbin")]
        self._socket = folder / "docker.sock"
        self.program = (f"{roots[0]}/usr/bin/docker", "--host", f"unix://{self._socket}")
        self.environment = {"PATH": ":".join([*path, "/usr/sbin:/usr/bin:/sbin:/bin"])}
        self._daemon: Daemon | None = None
        self._api = UnixConnection(self._socket)

    def open(self) -> None:
        dockerd = debian.unpack("docker.io") / "usr" / "sbin" / "dockerd"
        words = [
            *(str(dockerd), "--host", f"unix://{self._socket}"),
            *("--data-root", str(self.folder / "data"), "--exec-root", str(self.folder / "exec")),
            *("--pidfile", str(self.folder / "pid"), "--cgroup-parent", CGROUP_PARENT),
            *("--exec-opt", "native.cgroupdriver=cgroupfs", "--storage-driver", "overlay2"),
            *("--bridge", "none", "--iptables=false", "--ip6tables=false"),
        ]
        self._daemon = Daemon(words, self.folder / "log", self.environment)
        self._daemon.wait_for(lambda: self._api.call("GET", "/info"))
        self.load_image()

    def close(self) -> None:
        self._api.close()
        if self._daemon is not None:
            self._daemon.end()

    def engine_pids(self) -> set[int]:
        return named("dockerd", "containerd", "containerd-shim-runc-v2")

    def run_by_api(self) -> str:
        limits = {"Memory": MEMORY_BYTES, "NanoCpus": int(CPUS * 1e9), "PidsLimit": PIDS}
        body = {"Image": IMAGE, "Cmd": ["true"], "HostConfig": {"NetworkMode": "none", **limits}}
        container = str(self._api.call("POST", "/containers/create", body)["Id"])
        self._api.call("POST", f"/containers/{container}/start")
        self._api.call("POST", f"/containers/{container}/wait")
        return container


class Podman(_Client):
    """Debian's podman, without a daemon; one conmon for each container."""

    name = "podman"
    packages: ClassVar[tuple[str, ...]] = ("podman", "conmon")
    run_flags = (*_FLAGS, "--cgroup-parent", CGROUP_PARENT)

    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        podman, self._conmon = (
            debian.unpack(package) / "usr" / "bin" / package for package in self.packages
        )
        places = ("--root", str(folder / "data"), "--runroot", str(folder / "run"))
        self.program = (str(podman), *places, "--storage-driver", "overlay")
        # A file and not flags: conmon calls podman back, and gets no flags to pass on.
        self.environment = {"CONTAINERS_CONF": str(folder / "containers.conf")}

    def open(self) -> None:
        (self.folder / "containers.conf").write_text(
            f'[engine]\nconmon_path = ["{self._conmon}"]\nruntime = "runc"\n'
            'cgroup_manager = "cgroupfs"\nevents_logger = "file"\n'
        )
        self.load_image()

    def remove(self, containers: list[str]) -> None:
        if containers:  # without -t 0 it waits 10 s for a SIGTERM that PID 1 ignores
            self.cli("rm", "-f", "-t", "0", *containers)

    def close(self) -> None:
        """Nothing runs between its commands; its containers are removed by whoever made them."""

    def engine_pids(self) -> set[int]:
        return named("conmon")


class _Bundle:
    """An OCI runtime alone on a bundle: no image, no log, no state but the runtime's own."""

    name: ClassVar[str]
    packages: ClassVar[tuple[str, ...]] = ()

    def __init__(self, folder: Path) -> None:
        folder.mkdir()
        self.folder = folder
        self.program: tuple[str, ...] = (self.name, "--root", str(folder / "state"))
        self._numbers = count()

    def cli(self, *words: str) -> str:
        return command(*self.program, *words)

    def open(self) -> None:
        images.busybox_rootfs(self.folder / "rootfs")
        self._bundle("true", ["true"])
        self._bundle("sleep", list(_SLEEP))

    def close(self) -> None:
        """Nothing runs between its commands."""

    def version(self) -> str:
        return command(self.name, "--version").splitlines()[0]

    def run(self) -> None:
        self.cli("run", "--bundle", str(self.folder / "true"), self._next())

    def start(self) -> str:
        container = self._next()
        # The container inherits standard output: a pipe to us would never close.
        words = ("run", "--detach", "--bundle", str(self.folder / "sleep"), container)
        command("sh", "-c", 'exec "$@" >/dev/null 2>&1', "sh", *self.program, *words)
        return container

    def remove(self, containers: list[str]) -> None:
        for container in containers:
            self.cli("delete", "--force", container)

    def exec(self, container: str) -> None:
        self.cli("exec", container, "true")

    def freeze(self, container: str) -> None:
        self.cli("pause", container)

    def thaw(self, container: str) -> None:
        self.cli("resume", container)

    def _next(self) -> str:
        return f"{self.name}-{next(self._numbers)}"

    def _bundle(self, name: str, arguments: list[str]) -> None:
        bundle = self.folder / name
        bundle.mkdir()
        command("runc", "spec", "--bundle", str(bundle))
        config: dict[str, Any] = json.loads((bundle / "config.json").read_text())
        config["root"]["path"] = str(self.folder / "rootfs")
        config["process"].update(terminal=False, args=arguments)
        # One for each bundle: crun kills whatever is in the cgroup of a container that ends.
        config["linux"]["cgroupsPath"] = f"{CGROUP_PARENT}/{self.name}-{name}"
        config["linux"]["resources"].update(
            memory={"limit": MEMORY_BYTES},
            cpu={"quota": int(CPUS * 100_000), "period": 100_000},
            pids={"limit": PIDS},
        )
        (bundle / "config.json").write_text(json.dumps(config))


class Crun(_Bundle):
    """Debian's crun refuses a cgroup2 hierarchy next to v1 ones when it has controllers.

    There it gets a mount namespace in which that hierarchy is covered; entering it adds an exec.
    """

    name = "crun"

    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        self._holder: subprocess.Popen[bytes] | None = None

    def open(self) -> None:
        controllers = _UNIFIED / "cgroup.controllers"
        if controllers.exists() and controllers.read_text().strip():
            cover = f"mount -t tmpfs none {_UNIFIED} && echo && exec sleep infinity"
            words = ["unshare", "--mount", "--propagation", "private", "sh", "-c", cover]
            self._holder = subprocess.Popen(words, stdout=subprocess.PIPE)
            assert self._holder.stdout is not None  # noqa: S101 - as asked for
            self._holder.stdout.readline()
            self.program = ("nsenter", f"--mount=/proc/{self._holder.pid}/ns/mnt", *self.program)
        super().open()

    def close(self) -> None:
        if self._holder is not None:
            self._holder.terminate()
            self._holder.wait()


class Runc(_Bundle):
    name = "runc"


PEERS: dict[str, type[Cgagent | Docker | Podman | Crun | Runc]] = {
    peer.name: peer for peer in (Cgagent, Docker, Podman, Crun, Runc)
}
