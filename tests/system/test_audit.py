"""The audit of a test run counts what the run made, and nothing that others make meanwhile."""

from __future__ import annotations

import os
import subprocess
import sys
import uuid
from contextlib import ExitStack, contextmanager
from pathlib import Path

import pytest
from pyroute2 import IPRoute

from tests.world.audit import Snapshot, difference
from tests.world.naming import RUN

pytestmark = [pytest.mark.system, pytest.mark.native]

SLEEP = "import time; print(flush=True); time.sleep(1000)"


def mount(made, point, source):
    point.mkdir(parents=True)
    made.callback(point.rmdir)
    subprocess.run(["mount", "-t", "tmpfs", source, point], check=True)
    made.callback(subprocess.run, ["umount", point], check=True)


def bind_namespace(made, point):
    point.touch()
    made.callback(point.unlink)
    subprocess.run(["unshare", f"--net={point}", "true"], check=True)
    made.callback(subprocess.run, ["umount", point], check=True)


@contextmanager
def a_link():
    """In the tests' own network, where nobody else makes any."""
    name = f"v{uuid.uuid4().hex[:8]}"
    with IPRoute() as route:
        route.link("add", ifname=name, kind="veth", peer=f"{name}p")
        yield
        route.link("del", index=route.link_lookup(ifname=name)[0])


def make_groups(made, name):
    lines = Path("/proc/mounts").read_text().split("\n")
    for words in map(str.split, lines):
        if words and words[2] in ("cgroup", "cgroup2"):
            group = Path(words[1], name)
            group.mkdir()
            made.callback(group.rmdir)


def start_process(made, *words, environment):
    """It lives in a network namespace of its own."""
    command = ["unshare", "--net", sys.executable, "-c", SLEEP, *words]
    running = made.enter_context(
        subprocess.Popen(command, stdout=subprocess.PIPE, env=environment, cwd="/")
    )
    made.callback(running.kill)
    running.stdout.readline()
    return running.pid


@contextmanager
def everything(tag, folder, environment):
    """One of each kind that the audit counts, with `tag` in its name, below `folder`."""
    with ExitStack() as made:
        mount(made, folder / "mount", f"tmpfs-{tag}")
        bind_namespace(made, folder / "namespace")
        make_groups(made, f"cgagent-test-{tag}")
        yield start_process(made, "cgagent", environment=environment)


def test_what_others_make_meanwhile_does_not_matter(tmp_path_factory, request):
    other = uuid.uuid4().hex
    folder = Path(f"/tmp/cgagent-test-{other}")
    folder.mkdir()
    request.addfinalizer(folder.rmdir)
    others = {"PATH": os.environ["PATH"], "CGAGENT_TEST_RUN": other[:8]}
    before = Snapshot.take((tmp_path_factory.getbasetemp(),))
    with everything(other, folder, others):
        assert difference(before, Snapshot.take((tmp_path_factory.getbasetemp(),))) == []


def test_what_is_ours_counts_until_it_is_gone(state_root, tmp_path):
    before = Snapshot.take(contents=(state_root,))
    with everything(f"{RUN}-x", state_root / "ours", dict(os.environ)) as pid, a_link():
        left = difference(before, Snapshot.take(contents=(state_root,)))
        kinds = {line.partition(":")[0] for line in left}
        assert kinds == {
            "cgroups",
            "mounts",
            "network_namespaces",
            "processes",
            "links",
            "files",
        }
        assert any(line.startswith(f"processes: {pid} ") for line in left)
    (state_root / "ours").rmdir()
    assert difference(before, Snapshot.take(contents=(state_root,))) == []


def test_a_process_is_ours_by_what_it_has_open(state_root):
    before = Snapshot.take(contents=(state_root,))
    with (
        (state_root / "open").open("w") as out,
        subprocess.Popen(["sleep", "1000"], stdout=out, env={}, cwd="/") as running,
    ):
        assert f"processes: {running.pid} sleep 1000" in difference(
            before, Snapshot.take(contents=(state_root,))
        )
        running.kill()
    (state_root / "open").unlink()
