"""`deploy/install` in a root of its own: the machine's, below a layer that goes with the test."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from tests.world import hosts
from tests.world.naming import CGROUP_PREFIX

pytestmark = [pytest.mark.system, pytest.mark.native]

PROJECT = Path(__file__).parents[2]

# Arguments: the checkout, an empty folder, and what to run in the new root. The layer is in memory:
# one on the disk would be below itself.
_ENTER = """
here=$1 folder=$2
shift 2
mount -t tmpfs {name} "$folder"
mkdir "$folder/upper" "$folder/work" "$folder/root"
mount -t overlay -o "lowerdir=/,upperdir=$folder/upper,workdir=$folder/work" {name} "$folder/root"
for place in proc sys dev; do mount --rbind "/$place" "$folder/root/$place"; done
mount -t tmpfs {name} "$folder/root/run"
mount -t tmpfs {name} "$folder/root/tmp"
mkdir -p "$folder/root$here"
mount --bind "$here" "$folder/root$here"
mount -o remount,ro,bind "$folder/root$here"
exec chroot "$folder/root" bash -euxc "$@"
"""

_INSTALL = """
cd /
touch /run/docker.sock
if {install} --no-start --docker-socket; then exit 9; fi
rm /run/docker.sock
if {install} --what; then exit 9; fi
{install} --no-start --docker-socket
test "$(readlink /run/docker.sock)" = /run/cgagent/cgagent.sock
grep -q '^L+ /run/docker.sock - .* /run/cgagent/cgagent.sock$' /etc/tmpfiles.d/cgagent-docker.conf
getent group cgagent >/dev/null
grep -q ExecStart=/usr/local/lib/cgagent/.venv/bin/cgagent /etc/systemd/system/cgagent.service
test -f /etc/systemd/system/cgagent.socket
cgagent --version
cgagent --no-start version
{install} --no-start --docker-socket
{install} --remove
test ! -e /usr/local/lib/cgagent
test ! -e /usr/local/bin/cgagent
test ! -e /etc/systemd/system/cgagent.service
test ! -L /run/docker.sock
test ! -e /etc/tmpfiles.d/cgagent-docker.conf
"""


@pytest.mark.timeout(600)
def test_installed_upgraded_and_removed(tmp_path):
    script = _INSTALL.format(install=f"{PROJECT}/deploy/install")
    enter = _ENTER.replace("{name}", f"{CGROUP_PREFIX}install")
    command = ["unshare", "--mount", "sh", "-euc", enter, "sh", str(PROJECT), str(tmp_path), script]
    with hosts.in_the_machines_network():  # packages are fetched
        done = subprocess.run(command, check=False, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr[-5000:]
    assert "is another daemon's; stop that one and remove it first" in done.stderr
    assert "unknown flag --what; known are" in done.stderr
    assert "cgagent 0.1.0" in done.stdout
    assert "removed; images, containers and volumes are still in /var/lib/cgagent" in done.stdout
