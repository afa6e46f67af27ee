import pytest

from cgagent.engine.options import init
from cgagent.errors import UnsupportedError


def test_a_host_without_one_is_told_the_package(monkeypatch, tmp_path):
    monkeypatch.setattr(init, "_PATH", str(tmp_path))
    with pytest.raises(UnsupportedError, match="apt-get install tini"):
        init.find()
    program = tmp_path / "tini-static"
    program.touch(0o755)
    assert init.find() == str(program)
    mount = init.mount_point()
    assert (mount.source, mount.destination) == (str(program), "/sbin/docker-init")
    assert "ro" in mount.options
