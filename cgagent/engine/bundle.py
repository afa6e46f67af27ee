"""A container's directory: ``<data root>/containers/<id>``, and the files in it.

config.json      the OCI configuration, written anew at each start
exit.json        how the last run ended, written by the supervisor
<id>-json.log    its output, written by the supervisor; .1, .2: full ones, the last first
rootfs/          where its root is mounted, in its own mount namespace only
hostname hosts resolv.conf      bound over those of the image
exec-<id>.json   the process of a command run inside it
"""

from __future__ import annotations

import json
import shutil
from typing import TYPE_CHECKING, Any

from cgagent.network import files as network
from cgagent.runtime import spec
from cgagent.runtime.protocol import CONFIG_FILE, EXIT_FILE
from cgagent.store.disk import disk_full_is_no_space

if TYPE_CHECKING:
    from pathlib import Path

    from cgagent.engine.container import Options
    from cgagent.images import RootFs
    from cgagent.runtime.spec import Plan


class Bundle:
    def __init__(self, containers_dir: Path, container_id: str) -> None:
        self.path = containers_dir / container_id
        self.root = self.path / "rootfs"
        self.log = self.path / f"{container_id}-json.log"

    def make(self, options: Options) -> None:
        """Create the directory. On failure nothing is left."""
        try:
            with disk_full_is_no_space(f"container directory {self.path}"):
                self.path.parent.mkdir(mode=0o700, exist_ok=True)  # logs are nobody else's business
                self.path.mkdir(mode=0o700)
                self.root.mkdir(mode=0o700)
                (self.path / "hostname").write_text(options.hostname + "\n")
                (self.path / "hosts").write_text(
                    network.hosts(
                        options.network, options.hostname, options.domainname, options.lookup
                    )
                )
                (self.path / "resolv.conf").write_text(
                    network.resolv_conf(options.network, options.lookup)
                )
        except BaseException:
            self.remove()
            raise

    def remove(self) -> None:
        shutil.rmtree(self.path, ignore_errors=True)

    def write_config(self, plan: Plan) -> dict[str, Any]:
        """Write the OCI configuration; it is returned as well."""
        config = spec.build(plan)
        self._write(CONFIG_FILE, config)
        return config

    def read_config(self) -> dict[str, Any]:
        """The OCI configuration of the last start."""
        config: dict[str, Any] = json.loads((self.path / CONFIG_FILE).read_text())
        return config

    def write_exec(self, exec_id: str, process: dict[str, Any]) -> str:
        """The path of the process configuration."""
        name = f"exec-{exec_id}.json"
        self._write(name, process)
        return str(self.path / name)

    def _write(self, name: str, value: dict[str, Any]) -> None:
        with disk_full_is_no_space(f"container directory {self.path}"):
            (self.path / name).write_text(json.dumps(value))

    def mount_points(self) -> list[str]:
        """Where something was mounted at the last start."""
        try:
            return [m["destination"] for m in self.read_config()["mounts"]]
        except (FileNotFoundError, json.JSONDecodeError):
            return []

    def take_exit(self) -> dict[str, Any] | None:
        """How the last run ended, if the supervisor has written it."""
        try:
            value = json.loads((self.path / EXIT_FILE).read_text())
        except (FileNotFoundError, json.JSONDecodeError):
            return None
        return value if isinstance(value, dict) else None

    def clear_exit(self) -> None:
        (self.path / EXIT_FILE).unlink(missing_ok=True)


def root_mount(rootfs: RootFs) -> dict[str, Any]:
    """The overlay that is the container's root, as an OCI mount."""
    return {
        "destination": "/",
        "type": "overlay",
        "source": "overlay",
        "options": [
            "lowerdir=" + ":".join(rootfs.lowers),
            f"upperdir={rootfs.upper}",
            f"workdir={rootfs.work}",
        ],
    }
