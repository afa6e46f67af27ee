"""Archives of images: real ones, and some that no honest tool writes."""

from __future__ import annotations

import asyncio
import gzip
import hashlib
import io
import json
import os
import shutil
import subprocess
import tarfile

import pytest

from cgagent.errors import InvalidInputError, NoSuchImageError, NotFoundError, UnsupportedError
from cgagent.images import manifest
from cgagent.images.compression import zstd

pytestmark = [pytest.mark.system, pytest.mark.native]

HERE = {"os": "linux", "architecture": manifest.this_architecture()[0]}
ELSEWHERE = {"os": "linux", "architecture": "imaginary"}
NAME = "org.opencontainers.image.ref.name"
PIN = "sha256:" + 64 * "0"


def test_a_real_docker_archive(store, alpine_docker_archive):
    images = store.load(alpine_docker_archive)
    assert {tag for image in images for tag in image.tags} == {"alpine:latest", "alpine:3.23"}
    assert (store.diff(images[0]) / "bin/busybox").stat().st_mode & 0o111
    assert store.images.resolve("alpine").config.cmd == ("/bin/sh",)


def test_a_real_oci_archive_is_the_same_image(store, alpine_docker_archive, alpine_oci_archive):
    (image,) = store.load(alpine_oci_archive)
    assert store.load(alpine_docker_archive)[0].layers == image.layers


def test_a_compressed_archive(store, tmp_path, make):
    path = tmp_path / "a.tar.gz"
    path.write_bytes(gzip.compress(make.docker_archive(make.layer("a"))))
    (image,) = store.load(path)
    assert (store.diff(image) / "a").exists()
    assert not any(name.startswith("images/ingest/") for name in store.files())


def test_compressed_layers(load, store, make):
    layout, plain = make.OciLayout(), make.layer("a")
    (image,) = load(layout.archive(layout.image(gzip.compress(plain), plain_layers=[plain])))
    assert (store.diff(image) / "a").exists()


def test_a_layer_that_two_entries_link_to(load, store, make):
    one = make.layer("a")
    listing = [{"Config": "c.json", "RepoTags": None, "Layers": ["x/layer.tar", "y/layer.tar"]}]
    raw = make.layer(
        make.entry("manifest.json", json.dumps(listing).encode()),
        make.entry("c.json", make.config(one, one)),
        make.entry("x/layer.tar", one),
        make.entry("y/layer.tar", type=b"2", linkname="../x/layer.tar"),
    )
    (image,) = load(raw)
    assert len(image.layers) == 2
    assert image.names == ()
    assert store.images.resolve(image.id[7:19]) == image


def test_the_platform_of_this_machine_is_loaded(load, store, make):
    layout = make.OciLayout()
    there = layout.image(make.layer("there"), architecture="imaginary")
    here = layout.image(make.layer("here"))
    attestation = layout.image(make.layer("attestation"), architecture="unknown")
    index = layout.index(
        {**there, "platform": ELSEWHERE},
        {**attestation, "platform": {"os": "unknown", "architecture": "unknown"}},
        {**here, "platform": HERE},
    )
    (image,) = load(layout.archive({**index, "annotations": {NAME: "multi:1"}}))
    assert image.tags == ("multi:1",)
    assert (store.diff(image) / "here").exists()


def test_platforms_side_by_side_in_the_top_index(load, store, make):
    layout = make.OciLayout()
    (image,) = load(
        layout.archive(
            {**layout.image(make.layer("there")), "platform": ELSEWHERE},
            {**layout.image(make.layer("here")), "platform": HERE},
        )
    )
    assert (store.diff(image) / "here").exists()


def test_no_platform_for_this_machine(load, store, make):
    layout = make.OciLayout()
    entries = [{**layout.image(make.layer(name)), "platform": ELSEWHERE} for name in "ab"]
    with pytest.raises(UnsupportedError, match="only for linux/imaginary"):
        load(layout.archive(layout.index(*entries)))
    assert store.files() == set()


@pytest.mark.parametrize("name", ["latest", f"docker.io/a/b@{PIN}"])
def test_a_bare_tag_or_a_digest_names_no_image(load, make, name):
    """An archive may claim any digest: what is pinned by one comes from a registry."""
    layout = make.OciLayout()
    image = layout.image(make.layer("a"))
    (loaded,) = load(layout.archive({**image, "annotations": {NAME: name}}))
    assert loaded.names == ()


def test_a_pipe_is_no_archive(store, tmp_path):
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(InvalidInputError, match="no regular file"):
        store.load(tmp_path / "pipe")


def _self_referring(make):
    layout = make.OciLayout()
    entry = layout.image(make.layer("a"))
    for _ in range(6):
        entry = layout.index({**entry, "platform": HERE})
    return layout.archive(entry)


def _wrong_blob(make, which):
    layout = make.OciLayout()
    entry = layout.image(make.layer("a"))
    body = json.loads(layout.members[f"blobs/sha256/{entry['digest'][7:]}"])
    target = {"manifest": entry, "config": body["config"], "layer": body["layers"][0]}[which]
    name = f"blobs/sha256/{target['digest'][7:]}"
    layout.members[name] = layout.members[name] + b" " * 1024
    return layout.archive(entry)


def _oversized(make):
    listing = [{"Config": "c.json", "Layers": [], "x": "y" * (4 << 20)}]
    return make.tar_of({"manifest.json": json.dumps(listing).encode()})


def _listing(make, listing, **members):
    return make.tar_of({"manifest.json": json.dumps(listing).encode(), **members})


@pytest.mark.parametrize(
    ("build", "message"),
    [
        (lambda _: b"", "no image archive"),
        (lambda _: b"rubbish" * 1000, "damaged"),
        (lambda make: make.tar_of({"etc/passwd": b""}), "no image archive"),
        (lambda make: make.docker_archive(make.layer("a"))[:2000], "cut off"),
        (lambda make: make.tar_of({"manifest.json": b"{"}), "not JSON"),
        (lambda make: _listing(make, {}), "not a list"),
        (lambda make: _listing(make, []), "holds no image"),
        (lambda make: _listing(make, [{"Config": "../../etc/passwd"}]), "lacks"),
        (lambda make: _listing(make, [{"Config": 7}]), "no string"),
        (
            lambda make: make.layer(
                make.entry("manifest.json", type=b"2", linkname="manifest.json")
            ),
            "lacks 'manifest.json'",
        ),
        (lambda make: make.docker_archive(make.layer("a"), tags=["Bad:1"]), "lower case"),
        (lambda make: make.docker_archive(make.layer("a"), tags=[f"a/b@{PIN}"]), "has a digest"),
        (
            lambda make: make.docker_archive(make.layer("a"), config={"Labels": {"a": "\ud800"}}),
            "is not JSON",
        ),
        (
            lambda make: make.docker_archive(make.layer("a"), rootfs={"diff_ids": []}),
            "its config names 0 layers, its manifest 1",
        ),
        (lambda make: make.docker_archive(make.layer("a"), config={"Cmd": 1}), "Cmd"),
        (_oversized, "more than 4194304"),
        (
            lambda make: _listing(make, [{"Config": "c"}] * 50, c=b"{}" + bytes(3 << 20)),
            "have more than",
        ),
        (_self_referring, "indexes lie in indexes"),
        (lambda make: _wrong_blob(make, "manifest"), "has the digest"),
        (lambda make: _wrong_blob(make, "config"), "has the digest"),
        (lambda make: _wrong_blob(make, "layer"), "has the digest"),
    ],
)
def test_bad_archives_are_refused_and_leave_nothing(load, store, make, build, message):
    with pytest.raises(InvalidInputError, match=message) as raised:
        load(build(make))
    assert "\n" not in raised.value.message
    assert store.files() == set()
    assert store.images.list() == []


def test_zstd_archives_and_layers(load, make):
    layout = make.OciLayout()
    plain = make.layer("a")
    entry = layout.image(zstd.compress(plain), plain_layers=[plain])
    (image,) = load(zstd.compress(layout.archive(entry)))
    assert len(image.layers) == 1


def test_a_damaged_zstd_layer_is_refused(load, store, make):
    layout = make.OciLayout()
    entry = layout.image(b"\x28\xb5\x2f\xfd" + bytes(100))
    with pytest.raises(InvalidInputError, match="compressed data"):
        load(layout.archive(entry))
    assert store.files() == set()


def test_no_such_file(store, tmp_path):
    with pytest.raises(NotFoundError, match="does not exist"):
        store.load(tmp_path / "none.tar")
    with pytest.raises(InvalidInputError, match="is no image archive: neither"):
        store.load(tmp_path)


def test_all_images_of_an_archive_or_none(load, store, make):
    good, bad = make.layer("good"), make.layer("bad")
    listing = [
        {"Config": f"{n}.json", "RepoTags": [f"{n}:1"], "Layers": [f"{n}.tar"]}
        for n in ("good", "bad")
    ]
    with pytest.raises(InvalidInputError, match="its content has the digest"):
        load(
            _listing(
                make,
                listing,
                **{
                    "good.json": make.config(good),
                    "bad.json": make.config(bad),
                    "good.tar": good,
                    "bad.tar": make.layer("other"),
                },
            )
        )
    assert store.files() == set()


def test_loads_at_the_same_time_do_not_collide(store, tmp_path, make):
    path = tmp_path / "a.tar"
    path.write_bytes(make.docker_archive(*(make.layer(f"f{n}") for n in range(5))))

    async def both():
        return await asyncio.gather(*(store.images.load(str(path)) for _ in range(4)))

    loaded = asyncio.run(both())
    assert all(images == loaded[0] for images in loaded)
    assert len(list((store.root / "overlay2").iterdir())) == 5


def test_a_cancelled_load_leaves_nothing(store, tmp_path, make):
    path = tmp_path / "a.tar"
    path.write_bytes(make.docker_archive(make.layer(make.entry("a", bytes(64 << 20)))))

    async def cancelled():
        extracting = asyncio.Event()
        load = asyncio.create_task(store.images.load(str(path), lambda _: extracting.set()))
        await extracting.wait()
        load.cancel()
        with pytest.raises(asyncio.CancelledError):
            await load

    asyncio.run(cancelled())
    assert store.files() == set()
    assert store.images.list() == []
    assert store.load(path)


# -- saving ---------------------------------------------------------------------------------------


def save(store, *names, form="docker"):
    with store.images.saving(names, form) as chunks:
        return b"".join(chunks)


def members(raw):
    with tarfile.open(fileobj=io.BytesIO(raw)) as tar:
        return {one.name: tar.extractfile(one).read() for one in tar}


@pytest.mark.parametrize("form", ["docker", "oci-archive", "docker-archive"])
def test_what_was_saved_is_the_same_image(store, open_store, tmp_path, make, form):
    path = tmp_path / "a.tar"
    path.write_bytes(make.docker_archive(make.layer("a"), make.layer("b"), tags=["x:1", "y/z:2"]))
    (image,) = store.load(path)
    raw = save(store, "x:1", "y/z", form=form)
    assert raw == save(store, "x:1", "y/z", form=form)
    path.write_bytes(raw)
    (again,) = open_store(store.root / "other").load(path)
    assert (again.id, again.layers, again.names) == (image.id, image.layers, image.names)


def test_an_index_and_its_manifest_survive(store, open_store, tmp_path, make):
    layout = make.OciLayout()
    layer = make.layer(make.entry("a", bytes(9999)))
    here = layout.image(gzip.compress(layer), plain_layers=[layer])
    index = layout.index({**here, "platform": HERE}, {**here, "platform": ELSEWHERE})
    index["annotations"] = {NAME: "docker.io/library/multi:1"}
    path = tmp_path / "b.tar"
    path.write_bytes(layout.archive(index))
    (image,) = store.load(path)
    raw = save(store, "multi:1")
    listed = json.loads(members(raw)["index.json"])["manifests"]
    assert [one["digest"] for one in listed] == [index["digest"]]
    path.write_bytes(raw)
    other = open_store(store.root / "other")
    (again,) = other.load(path)
    assert other.images.manifest(again) == store.images.manifest(image)
    assert save(other, "multi:1") == raw


def test_shared_layers_are_saved_once(load, store, make):
    base = make.layer(make.entry("base", bytes(100_000)))
    for name in ("p:1", "q:1"):
        load(make.docker_archive(base, make.layer(name[0]), tags=[name]))
    assert sum(len(one) == len(base) for one in members(save(store, "p", "q")).values()) == 1
    assert [e["RepoTags"] for e in json.loads(members(save(store, "q", "p"))["manifest.json"])] == [
        ["q:1"],
        ["p:1"],
    ]


def test_a_repository_means_all_its_tags(load, store, make):
    load(make.docker_archive(make.layer("a"), tags=["many:1"]))
    load(make.docker_archive(make.layer("b"), tags=["many:2", "other:1"]))
    listing = json.loads(members(save(store, "many"))["manifest.json"])
    assert sorted(tag for one in listing for tag in one["RepoTags"]) == ["many:1", "many:2"]
    with pytest.raises(NoSuchImageError):
        save(store, "none")


def test_saving_by_id_names_nothing(load, store, make):
    (image,) = load(make.docker_archive(make.layer("a")))
    (one,) = json.loads(members(save(store, image.id))["manifest.json"])
    assert one["RepoTags"] is None


def test_skopeo_reads_what_was_saved(store, tmp_path, alpine_docker_archive):
    image = store.load(alpine_docker_archive)[0]
    for form, transport in (
        ("docker", "docker-archive"),
        ("docker", "oci-archive"),
        ("oci-archive", "oci-archive"),
        ("docker-archive", "docker-archive"),
    ):
        path = tmp_path / f"{form}.tar"
        path.write_bytes(save(store, "alpine:latest", form=form))
        name = f"{transport}:{path}"
        shown = subprocess.run(
            ["skopeo", "inspect", "--config", "--raw", name], check=True, stdout=subprocess.PIPE
        ).stdout
        assert make_digest(shown) == image.id
        copy = f"dir:{tmp_path / form}-{transport}"
        subprocess.run(["skopeo", "copy", "-q", name, copy], check=True)


def make_digest(raw):
    return f"sha256:{hashlib.sha256(raw).hexdigest()}"


def test_a_directory_is_an_image(store, tmp_path, alpine_oci_archive):
    layout = tmp_path / "layout"
    shutil.unpack_archive(str(alpine_oci_archive), layout, "tar")
    (image,) = store.load(layout)
    assert store.images.resolve(image.id).config.cmd == ("/bin/sh",)
    (layout / "index.json").rename(tmp_path / "index.json")
    (layout / "index.json").symlink_to(tmp_path / "index.json")
    with pytest.raises(InvalidInputError, match="no image archive"):
        store.load(layout)
