"""Fetch everything the tests need: ``python -m tests.world.prepare [native] [v2] [v1] [hybrid]``.

Quick when it is all there. Without arguments: what `make test` needs.
"""

from __future__ import annotations

import sys

from tests.world import cache, debian, guest, images, registry, typescript


def native() -> None:
    """Images, a registry that holds them, the tools the tests call."""
    debian.install("skopeo", "umoci", "tmux", "crun", "runc", "kmod")
    images.alpine_docker_archive()
    images.busybox_docker_archive()
    registry.alpine_storage()
    debian.unpack("prometheus")
    debian.unpack("prometheus-alertmanager")
    typescript.unpack()


def main() -> None:
    for name in sys.argv[1:] or ["native", "v2"]:
        if name == "native":
            native()
        else:
            guest.prepare(name)
    print(f"ready in {cache.root()}")


if __name__ == "__main__":
    main()
