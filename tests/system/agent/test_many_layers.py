"""Images of as many layers as the kernel mounts, and of more."""

from __future__ import annotations

import pytest

from cgagent.errors import UnsupportedError
from cgagent.kernel import mount as km
from cgagent.runtime.container import mounts
from tests.world import layered

pytestmark = [pytest.mark.system, pytest.mark.native]


@pytest.mark.parametrize("count", [126, 127, 300, 500])
def test_an_image_of_many_layers_runs(agent, tmp_path, count):
    name = f"many:{count}"
    layered.archive(tmp_path / "many.tar", name, count)
    agent.load(tmp_path / "many.tar")
    try:
        result = agent.run("sh", "-c", "ls /many | wc -l; cat /last", image=name)
        assert result.stdout.split() == [str(count - 1), str(count - 2)]
    finally:
        agent.client.request("DELETE", f"/v1/images/{name}")


def test_more_layers_than_overlayfs_takes_are_refused(agent, tmp_path):
    layered.archive(tmp_path / "many.tar", "many:501", 501)
    with pytest.raises(RuntimeError, match="has 501 layers, more than 500"):
        agent.load(tmp_path / "many.tar")


def test_a_kernel_that_takes_one_page_of_options_says_so(monkeypatch, tmp_path):
    """Before 6.7 it knows no ``lowerdir+``."""
    known = km._configure

    def as_before(fd, key, value):
        known(fd, "no-such-option" if key == "lowerdir+" else key, value)

    monkeypatch.setattr(km, "_configure", as_before)
    lowers = [str(tmp_path / str(n)) for n in range(400)]
    options = ["lowerdir=" + ":".join(lowers), "upperdir=/u", "workdir=/w"]
    root = {"destination": "/", "type": "overlay", "source": "overlay", "options": options}
    with pytest.raises(UnsupportedError, match=r"400 layers.*Linux 6.7 takes 500"):
        mounts.make_root([root], str(tmp_path))
