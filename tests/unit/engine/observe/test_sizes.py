"""Sizes of containers' files, in directories that look like theirs."""

import asyncio
from types import SimpleNamespace

from cgagent.engine.observe.sizes import ContainerSizes, Size
from cgagent.errors import NoSuchImageError

MIB = 1 << 20


def container(id_, upper, image="known"):
    rootfs = None if upper is None else SimpleNamespace(upper=str(upper), work="work")
    return SimpleNamespace(id=id_, record=SimpleNamespace(rootfs=rootfs, image_id=image))


class Images:
    def written_bytes(self, container_id):
        return 3 * MIB if container_id == "counted" else None

    def resolve(self, name):
        if name != "known":
            raise NoSuchImageError("no such image")
        return SimpleNamespace(size_bytes=5 * MIB)


def sizes(*containers, time_s=10.0):
    return asyncio.run(ContainerSizes(Images(), time_s).of(containers))


def test_what_is_written_and_the_image(tmp_path):
    (tmp_path / "deep").mkdir()
    (tmp_path / "deep/file").write_bytes(b"x" * MIB)
    found = sizes(
        container("one", tmp_path),
        container("gone", tmp_path / "none"),
        container("lost", tmp_path, image="removed"),
        container("adopted", None),
        container("counted", tmp_path),
    )
    assert MIB <= found["one"].written < MIB + 65536
    assert found["one"].whole == found["one"].written + 5 * MIB
    assert found["gone"] == Size(written=0, whole=5 * MIB)
    assert found["lost"].whole == found["lost"].written == found["one"].written
    assert found["adopted"] == Size()
    assert found["counted"] == Size(written=3 * MIB, whole=8 * MIB)


def test_what_takes_too_long_is_not_known(tmp_path):
    assert sizes(container("one", tmp_path), time_s=0.0) == {"one": Size()}
