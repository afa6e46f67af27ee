"""Fetch everything the tests need: ``python -m tests.world.prepare [native] [v2] [v1] [hybrid]``.

Quick when it is all there. Without arguments: what `make test` needs.
"""

from __future__ import annotations

import sys

from tests.world import (
    browser,
    cache,
    crane,
    debian,
    dockers,
    guest,
    images,
    registry,
    swagger,
    typescript,
)


def native() -> None:
    """Images, a registry that holds them, the tools the tests call."""
    debian.install("skopeo", "umoci", "buildah", "tmux", "crun", "runc", "kmod", "tini")
    debian.install("libnftables1", "nftables", "iptables", "iproute2", "procps", "bind9-dnsutils")
    debian.install("btrfs-progs", "zsh", "fish", "man-db", "groff-base")
    images.alpine_docker_archive()
    images.busybox_docker_archive()
    images.debian_oci_archive()
    crane.program()
    registry.alpine_storage()
    debian.unpack("prometheus")
    debian.unpack("prometheus-alertmanager")
    typescript.unpack()
    browser.chromium()
    browser.modules()
    swagger.path()
    dockers.debians_cli()
    dockers.python_library()
    dockers.compose_2()
    dockers.compose_5()
    for name in ("dockercalls", "gotemplates", "testcontainers", "reaper"):
        dockers.go_program(name)


def main() -> None:
    for name in sys.argv[1:] or ["native", "v2"]:
        if name == "native":
            native()
        else:
            guest.prepare(name)
    print(f"ready in {cache.root()}")


if __name__ == "__main__":
    main()
