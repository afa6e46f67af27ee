"""The working directory: made for a container, not for a command run inside one."""

import os

import pytest

pytestmark = [pytest.mark.system, pytest.mark.native]


@pytest.mark.parametrize("readonly", [False, True])
@pytest.mark.parametrize("cwd", ["/new/below", "/dangling", "/dangling/below", "/to-tmp/new"])
def test_one_that_is_missing_is_made_before_the_root_is_read_only(oci, cwd, readonly):
    config = oci.sh("pwd -P")
    config["root"]["readonly"] = readonly
    config["process"]["cwd"] = cwd
    bundle = oci.bundle(config)
    os.symlink("/lost/found", bundle / "rootfs/dangling")
    os.symlink("../../tmp", bundle / "rootfs/to-tmp")
    done = oci("run", "-b", str(bundle), "box")
    real = cwd.replace("/dangling", "/lost/found").replace("/to-tmp", "/tmp")
    assert done.stdout == f"{real}\n"
    assert (bundle / f"rootfs{real}").is_dir()


@pytest.mark.parametrize("target", ["/loop", "/etc/file"])
def test_one_that_cannot_be_made_is_told(oci, target):
    config = oci.sh("true")
    config["process"]["cwd"] = "/loop"
    bundle = oci.bundle(config)
    (bundle / "rootfs/etc/file").touch()
    os.symlink(target, bundle / "rootfs/loop")
    done = oci("run", "-b", str(bundle), "box", check=False)
    assert done.returncode == 1
    assert "working directory '/loop'" in done.stderr


def test_a_command_inside_needs_one_that_is_there(oci):
    bundle = oci.bundle(oci.config("sleep", "1000"))
    oci("run", "-d", "-b", str(bundle), "box")
    done = oci("exec", "--cwd", "/typo", "box", "pwd", check=False)
    assert "working directory '/typo': no such file or directory" in done.stderr
    assert done.returncode != 0
    assert not (bundle / "rootfs/typo").exists()
