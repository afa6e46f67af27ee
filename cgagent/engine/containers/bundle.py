"""A container's directory: ``<data root>/containers/<id>``, and the files in it.

container.json   a second copy of its row in the database, in case that is lost
config.json      the OCI configuration, written anew at each start
exit.json        how the last run ended, written by the supervisor
<id>-json.log    its output, written by the supervisor; .1, .2: full ones, the last first
rootfs/          where its root is mounted, in its own mount namespace only
hostname hosts resolv.conf      bound over those of the image
exec-<id>.json   the process of a command run inside it

What most of them begin with is made ahead of time, in ``<data root>/ahead/<id>``, under the ids
that the pool keeps ready. A new container's directory is that one, renamed: a zygote that has
opened the files meanwhile still has the right ones.
"""

from __future__ import annotations

import json
import os
import shutil
from typing import TYPE_CHECKING, Any, Final

from cgagent.engine.options import networking
from cgagent.messages.record import MessageError, decode
from cgagent.network import files as network
from cgagent.runtime.messages.outcomes import Exit
from cgagent.runtime.protocol import CONFIG_FILE, EXIT_FILE
from cgagent.store.containers import RECORD_FILE
from cgagent.store.disk import disk_full_is_no_space

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from cgagent.engine.containers.config import ContainerConfig
    from cgagent.images.drivers import RootFs
    from cgagent.network.files import Mode
    from cgagent.network.values import Address

    _Etc = tuple[Mode, str, str, network.NameLookup]
    """What the files of ETC_FILES are made of: the arguments of `_etc`."""

ETC_FILES: Final = ("hostname", "hosts", "resolv.conf")
EXEC_FILES: Final = "exec-*.json"
_ROOT: Final = "rootfs"


def log_path(containers_dir: Path, container_id: str) -> str:
    return f"{containers_dir}/{container_id}/{container_id}-json.log"  # as `Bundle.log`


class Bundle:
    def __init__(self, containers_dir: Path, container_id: str) -> None:
        self.path = containers_dir / container_id
        self.root = self.path / _ROOT
        self.log = self.path / f"{container_id}-json.log"
        self.ahead = ahead_dir(containers_dir) / container_id
        self.ahead_root = self.ahead / _ROOT
        usual_name = usual_hostname(container_id)
        self._usual: _Etc = ("bridge", usual_name, "", network.NameLookup())

    def etc_file(self, name: str) -> Path:
        """One of `ETC_FILES`, which is mounted in the container's /etc."""
        return self.path / name

    def make(self, config: ContainerConfig, hostname: str) -> None:
        """Create the directory. On failure nothing is left."""
        asked: _Etc = (_mode(config), hostname, config.domainname, network.alone(config))
        try:
            with disk_full_is_no_space(f"container directory {self.path}", self.path):
                is_ahead = self._take_ahead()
                if is_ahead and asked == self._usual:
                    return
                if not is_ahead:
                    _make_directory(self.path)
                there = _etc(*self._usual) if is_ahead else {}
                for name, text in _etc(*asked).items():
                    if there.get(name) != text:  # written anew, not replaced: it may be open
                        (self.path / name).write_text(text)
        except BaseException:
            self.remove()
            raise

    def write_network_files(
        self,
        config: ContainerConfig,
        hostname: str,
        addresses: Sequence[Address],
        gateway: Address | None,
        linked: Sequence[tuple[Address, str]] = (),
        *,
        named: bool,
    ) -> None:
        """/etc/hosts and /etc/resolv.conf, now that the container is in its networks.

        They may be open and mounted, and are written in place. `named`: containers' names are
        answered in one of the networks; `linked` are those of others, where none are.
        """
        lookup = network.alone(config)
        mode: Mode = "names" if named else _mode(config)
        domain = config.domainname
        texts = {
            "hosts": network.hosts(
                mode, hostname, domain, lookup, addresses, linked=linked, gateway=gateway
            ),
            "resolv.conf": network.resolv_conf(mode, lookup),
        }
        with disk_full_is_no_space(f"container directory {self.path}", self.path):
            for name, text in texts.items():
                if (self.path / name).read_text() != text:
                    (self.path / name).write_text(text)

    def make_ahead(self) -> None:
        """For a container to come: what it will have unless something else is asked for."""
        with disk_full_is_no_space(f"container directory {self.ahead}", self.ahead):
            self.path.parent.mkdir(mode=0o700, exist_ok=True)  # to be renamed into
            _make_directory(self.ahead)
            (self.ahead / RECORD_FILE).touch(mode=0o600)  # overwriting it is ten times as quick
            for name, text in _etc(*self._usual).items():
                (self.ahead / name).write_text(text)

    def _take_ahead(self) -> bool:
        try:
            os.rename(self.ahead, self.path)
        except FileNotFoundError:
            return False
        return True

    def drop_ahead(self) -> None:
        """What was made ahead, if no container has taken it."""
        shutil.rmtree(self.ahead, ignore_errors=True)

    def remove(self) -> None:
        shutil.rmtree(self.path, ignore_errors=True)

    def write_config(self, config: dict[str, Any]) -> None:
        """The OCI configuration. One that was written ahead may be in the way."""
        (self.path / CONFIG_FILE).unlink(missing_ok=True)  # not truncated: that would be synced
        self._write(self.path / CONFIG_FILE, config)

    def write_config_ahead(self, config: dict[str, Any]) -> None:
        """Of a container to come, without what its process is told."""
        process = {**config["process"], "args": [], "env": []}
        self._write(self.ahead / CONFIG_FILE, {**config, "process": process})

    def read_config(self) -> dict[str, Any]:
        """The OCI configuration of the last start."""
        config: dict[str, Any] = json.loads((self.path / CONFIG_FILE).read_text())
        return config

    def write_exec(self, exec_id: str, process: dict[str, Any]) -> str:
        """The path of the process configuration."""
        name = f"exec-{exec_id}.json"
        self._write(self.path / name, process)
        return str(self.path / name)

    @staticmethod
    def _write(path: Path, value: dict[str, Any]) -> None:
        with disk_full_is_no_space(f"container directory {path.parent}", path):
            path.write_text(json.dumps(value))

    def mount_points(self) -> list[str]:
        """Where something was mounted at the last start."""
        try:
            return [m["destination"] for m in self.read_config()["mounts"]]
        except (FileNotFoundError, json.JSONDecodeError):
            return []

    def take_exit(self) -> Exit | None:
        """How the last run ended, if the supervisor has written it."""
        try:
            exit_: Exit = decode((self.path / EXIT_FILE).read_bytes(), Exit)
        except (FileNotFoundError, MessageError):
            return None
        return exit_

    def clear_exit(self) -> None:
        (self.path / EXIT_FILE).unlink(missing_ok=True)


def usual_hostname(container_id: str) -> str:
    return container_id[:12]


def ahead_dir(containers_dir: Path) -> Path:
    return containers_dir.with_name("ahead")


def _make_directory(path: Path) -> None:
    path.parent.mkdir(mode=0o700, exist_ok=True)  # logs are nobody else's business
    path.mkdir(mode=0o700)
    (path / _ROOT).mkdir(mode=0o700)


def _mode(config: ContainerConfig) -> Mode:
    if networking.mode(config) == networking.HOST:
        return "host"
    return "bridge" if networking.places(config) else "none"


def _etc(mode: Mode, hostname: str, domainname: str, lookup: network.NameLookup) -> dict[str, str]:
    """The texts of ETC_FILES."""
    hosts = network.hosts(mode, hostname, domainname, lookup)
    texts = (hostname + "\n", hosts, network.resolv_conf(mode, lookup))
    return dict(zip(ETC_FILES, texts, strict=True))


def root_mount(rootfs: RootFs, *, thrown_away: bool = False) -> dict[str, Any]:
    """The overlay that is the container's root, or its tree, as an OCI mount.

    Of an overlay to be `thrown_away` at its end nothing is synced: neither when something in it
    asks for that, nor the host's file system when it is unmounted.
    """
    if rootfs.work is None:
        return {"destination": "/", "type": "bind", "source": rootfs.upper, "options": ["bind"]}
    return {
        "destination": "/",
        "type": "overlay",
        "source": "overlay",
        "options": [
            "lowerdir=" + ":".join(rootfs.lowers),
            f"upperdir={rootfs.upper}",
            f"workdir={rootfs.work}",
            *(["volatile"] if thrown_away else []),
        ],
    }
