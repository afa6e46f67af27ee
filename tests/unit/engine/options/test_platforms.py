"""What this machine runs, and what it does not."""

from dataclasses import replace

import pytest

from cgagent.engine.options import platforms
from cgagent.errors import InvalidInputError, NoSuchImageError, UnsupportedError
from cgagent.images.image import HOST


@pytest.fixture(autouse=True)
def machine(monkeypatch, tmp_path):
    monkeypatch.setattr(platforms.platform, "machine", lambda: "x86_64")
    monkeypatch.setattr(platforms, "_BINFMT", tmp_path)
    return tmp_path


@pytest.mark.parametrize("architecture", ["", "amd64", "386"])
def test_its_own(architecture):
    platforms.require_runnable(replace(HOST, architecture=architecture))


@pytest.mark.parametrize("text", ["linux/amd64", "amd64", "linux/x86_64", "LINUX/x86-64"])
def test_one_that_the_image_is_for(text):
    platforms.require_platform(replace(HOST, architecture="amd64"), "x", text)
    platforms.require_platform(HOST, "x", text)


def test_one_that_it_is_not_for():
    image = replace(HOST, architecture="amd64")
    with pytest.raises(NoSuchImageError, match="x is here for linux/amd64, not for linux/arm64;"):
        platforms.require_platform(image, "x", "aarch64")
    with pytest.raises(UnsupportedError, match="only linux/ARCH"):
        platforms.require_platform(image, "x", "windows/amd64")
    with pytest.raises(InvalidInputError, match="is not OS/ARCH"):
        platforms.require_platform(image, "x", "linux//")


def test_another_one_needs_an_emulator(machine):
    image = replace(HOST, id="sha256:0", names=("docker.io/library/x:1",), architecture="arm64")
    with pytest.raises(UnsupportedError, match="x:1 is made for linux/arm64, and this machine"):
        platforms.require_runnable(image)
    (machine / "qemu-aarch64").write_text("enabled\ninterpreter /usr/bin/qemu-aarch64\n")
    platforms.require_runnable(image)
