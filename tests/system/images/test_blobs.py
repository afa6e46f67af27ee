"""What images consist of: kept as it came, checked, mended, and enough to make all else of."""

from __future__ import annotations

import asyncio
import gzip
import json
import os
import shutil
import subprocess
import sys
import time

import httpx
import pytest

from cgagent.errors import InternalError, NoSuchImageError, NotFoundError
from cgagent.images import manifest
from cgagent.images.content import digest_of

pytestmark = [pytest.mark.system, pytest.mark.native]

CONTAINER = "c" * 64
HERE = {"os": "linux", "architecture": manifest.this_architecture()[0]}
ELSEWHERE = {"os": "linux", "architecture": "imaginary"}


def fetched(registry, path, *accepted):
    headers = {"Accept": ", ".join(accepted)} if accepted else {}
    answer = httpx.get(
        f"http://{registry.address}/v2/{path}", headers=headers, trust_env=False, timeout=30
    )
    assert answer.status_code == 200
    return answer


def blob_path(store, digest):
    return store.root / "images/blobs/sha256" / digest[7:]


def blobs(store):
    return {path.name for path in (store.root / "images/blobs/sha256").iterdir()}


def check(store, *, repair=False, progress=lambda _: None):
    return asyncio.run(store.images.check(progress, repair=repair))


def causes(report):
    return [(problem.image, problem.cause) for problem in report.problems]


def restarted(store, open_store):
    """As an agent's start does it, with the lines that are told."""
    again = open_store(store.root, sweep=False)
    told = again.images.recover()
    again.images.sweep(set())
    return again, told


def lose_layers(store):
    for layer in (store.root / "overlay2").iterdir():
        shutil.rmtree(layer)


def lose_rows(store):
    for path in store.root.glob("cgagent.db*"):
        path.unlink()


@pytest.fixture
def alpine(store, registry):
    return store.pull(f"{registry.address}/library/alpine")


@pytest.fixture
def layout(make):
    return make.OciLayout()


@pytest.fixture
def two(load, make):
    """An image of two layers from an archive of docker save."""
    (image,) = load(make.docker_archive(make.layer("base"), make.layer("top"), tags=["app:1"]))
    return image


# -- as it came -----------------------------------------------------------------------------


def test_a_pulled_image_is_byte_for_byte_that_of_the_registry(store, alpine, registry):
    answer = fetched(registry, "library/alpine/manifests/latest", *manifest.ACCEPTED)
    raw = store.images.manifest(alpine)
    assert raw == answer.content
    digest = answer.headers["Docker-Content-Digest"]
    assert alpine.digests == (f"{registry.address}/library/alpine@{digest}",)
    body = json.loads(raw)
    for part in (body["config"], *body["layers"]):
        with store.images.blob(part["digest"]) as blob:
            content = blob.read()
        assert content == fetched(registry, f"library/alpine/blobs/{part['digest']}").content
        assert len(content) == part["size"]
    assert alpine.id == body["config"]["digest"]  # as docker has it
    assert len(blobs(store)) == 2 + len(body["layers"])


def test_a_docker_archive_keeps_plain_layers_and_the_config_as_given(
    store, alpine_docker_archive, tmp_path
):
    (image, *_) = store.load(alpine_docker_archive)
    subprocess.run(["tar", "-C", tmp_path, "-xf", alpine_docker_archive], check=True)
    (listing,) = json.loads((tmp_path / "manifest.json").read_text())
    given = [tmp_path / name for name in (listing["Config"], *listing["Layers"])]
    assert len(image.diff_ids) == len(given) - 1
    for digest, path in zip((image.id, *image.diff_ids), given, strict=True):
        assert blob_path(store, digest).read_bytes() == path.read_bytes()
    assert store.images.manifest(image) is None
    assert len(blobs(store)) == len(given)


def test_an_oci_archive_keeps_indexes_and_compressed_layers(store, load, make, layout):
    plain = make.layer("a")
    there = layout.image(make.layer("there"))
    here = layout.image(gzip.compress(plain), plain_layers=[plain])
    index = layout.index({**there, "platform": ELSEWHERE}, {**here, "platform": HERE})
    name = {"annotations": {"org.opencontainers.image.ref.name": "a/b:1"}}
    (image,) = load(layout.archive({**index, **name}))
    raw = store.images.manifest(image)
    assert raw == layout.members[f"blobs/sha256/{here['digest'][7:]}"]
    body = json.loads(raw)
    kept = {index["digest"], here["digest"], image.id, body["layers"][0]["digest"]}
    assert {f"sha256:{name}" for name in blobs(store)} == kept
    assert causes(check(store)) == []  # the manifest for another platform need not be here


def test_an_image_that_was_loaded_and_is_pulled_has_the_registrys_blobs(
    store, alpine_docker_archive, registry
):
    (loaded, *_) = store.load(alpine_docker_archive)
    image = store.pull(f"{registry.address}/library/alpine")
    assert image.diff_ids == loaded.diff_ids
    for part in json.loads(store.images.manifest(image))["layers"]:
        assert blob_path(store, part["digest"]).stat().st_size == part["size"]
    assert causes(check(store)) == []


def test_blobs_go_with_their_last_image_and_shared_ones_stay(store, load, make, two):
    (other,) = load(make.docker_archive(make.layer("base"), make.layer("x"), tags=["other:1"]))
    before = blobs(store)
    store.images.remove("app:1", in_use=lambda _: [])
    assert blobs(store) == before - {two.id[7:], two.diff_ids[1][7:]}
    assert other.diff_ids[0][7:] in blobs(store)
    store.images.remove("other:1", in_use=lambda _: [])
    assert store.files() == set()


def test_the_index_of_a_name_goes_with_the_name(store, make, layout, odd_registry):
    index = layout.index({**layout.image(make.layer("a")), "platform": HERE})
    with odd_registry(layout, index) as odd:
        image = store.pull(f"{odd.address}/odd")
        (by_digest,) = image.digests
        store.images.remove(f"{odd.address}/odd:latest", in_use=lambda _: [])
        with pytest.raises(NoSuchImageError):
            store.images.resolve(by_digest)
    assert store.files() == set()


def test_what_is_not_here(store):
    with pytest.raises(NotFoundError, match="is not here"):
        store.images.blob(f"sha256:{'0' * 64}")


# -- unpacked layers are made of blobs ------------------------------------------------------


def test_a_lost_layer_is_unpacked_again_for_the_next_container(store, two):
    lose_layers(store)
    with pytest.raises(InternalError, match="a layer of it is lost"):
        store.images.prepare(two, CONTAINER)
    asyncio.run(store.images.complete(two))
    root = store.images.prepare(two, CONTAINER)
    assert [os.listdir(lower) for lower in root.lowers] == [["top"], ["base"]]
    store.images.release(CONTAINER)


def test_a_lost_layer_comes_back_under_its_number_at_the_next_start(store, two, open_store):
    lowers = store.images.prepare(two, CONTAINER).lowers
    lose_layers(store)
    again = open_store(store.root, sweep=False)
    (first, second) = again.images.recover()
    assert "(docker.io/library/app:1): its layer" in first
    assert "was unpacked again" in second
    assert [os.listdir(lower) for lower in lowers] == [["top"], ["base"]]


def test_a_layer_without_its_blob_cannot_be_made_again(store, two, open_store):
    lose_layers(store)
    blob_path(store, two.diff_ids[1]).unlink()
    with pytest.raises(InternalError, match="is lost and cannot be unpacked again"):
        asyncio.run(store.images.complete(two))
    again, told = restarted(store, open_store)
    assert "cannot be unpacked again" in told[-1]
    assert again.images.list() == []  # so that it is pulled when it is wanted
    assert again.files() == set()


def test_a_layer_that_a_power_cut_may_have_cut_is_unpacked_again(store, two, open_store):
    def damaged():
        for lower in (store.diff(two, 0), store.diff(two, 1)):
            (lower / "part").touch()
        return restarted(store, open_store)[1]

    assert damaged() == []
    another_boot(store)
    assert len(damaged()) == 2
    assert os.listdir(store.diff(two)) == ["top"]
    store.images.settle()
    another_boot(store)
    assert damaged() == []


def another_boot(store):
    with store.database.transaction() as db:
        db.execute("UPDATE layers SET boot_id = 'another' WHERE boot_id IS NOT NULL")


# -- the database is lost -------------------------------------------------------------------


@pytest.mark.parametrize("layers_too", [False, True])
def test_images_are_made_again_of_their_blobs(store, alpine, two, open_store, layers_too):
    lose_rows(store)
    if layers_too:
        lose_layers(store)
    again, told = restarted(store, open_store)
    assert sorted(line.endswith("was lost and is there again") for line in told) == [True, True]
    found = {image.id: image for image in again.images.list()}
    assert found == {alpine.id: alpine, two.id: two}
    assert again.images.manifest(alpine) == store.images.manifest(alpine)
    assert causes(check(again)) == []
    root = again.images.prepare(alpine, CONTAINER)
    assert os.path.exists(f"{root.lowers[0]}/bin/busybox")
    again.images.release(CONTAINER)
    for image in (alpine, two):
        again.images.remove(image.id, in_use=lambda _: [])
    assert again.files() == set()


def test_an_index_comes_back_too(store, make, layout, odd_registry, open_store):
    index = layout.index(
        {**layout.image(make.layer("there")), "platform": ELSEWHERE},
        {**layout.image(make.layer("here")), "platform": HERE},
    )
    with odd_registry(layout, index) as odd:
        image = store.pull(f"{odd.address}/odd")
    lose_rows(store)
    again, _ = restarted(store, open_store)
    assert again.images.list() == [image]
    assert causes(check(again)) == []
    assert len(blobs(again)) == 4


def test_an_image_whose_config_is_lost_with_the_database_is_told_of(store, two, open_store):
    lose_rows(store)
    blob_path(store, two.id).write_bytes(b"{}")
    again, (told,) = restarted(store, open_store)
    assert "was lost and cannot be made again" in told
    assert again.images.list() == []
    assert again.files() == set()


# -- check and repair -----------------------------------------------------------------------


def layer_of(store, image):
    return json.loads(store.images.manifest(image))["layers"][0]["digest"]


def damage(path):
    with path.open("r+b") as file:
        file.seek(1000)
        file.write(b"damage")


def shorten(path):
    os.truncate(path, 1000)


@pytest.mark.parametrize(
    ("harm", "cause"),
    [
        (damage, "is damaged"),
        (shorten, "has 1000 bytes, not"),
        (lambda path: path.unlink(), "is missing"),
    ],
)
def test_a_bad_blob_is_told_by_its_images_name_and_fetched_again(
    store, alpine, registry, harm, cause
):
    seen = []
    assert causes(check(store, progress=seen.append)) == []
    assert {p.status for p in seen} == {"Checking"}
    digest = layer_of(store, alpine)
    whole = blob_path(store, digest).read_bytes()
    harm(blob_path(store, digest))
    ((image, told),) = causes(check(store))
    assert image == f"{registry.address}/library/alpine:latest"
    assert told.startswith(f"blob {digest} {cause}")
    report = check(store, repair=True)
    assert (len(report.repaired), report.problems, report.failures) == (1, (), ())
    assert blob_path(store, digest).read_bytes() == whole
    assert causes(check(store)) == []


def test_manifest_config_and_relations_are_mended(store, alpine):
    digest = store.images.resolve(alpine.id).digests[0].partition("@")[2]
    for bad in (digest, alpine.id):
        blob_path(store, bad).write_bytes(b"{}")
    assert len(check(store).problems) == 2
    assert causes(check(store, repair=True)) == []
    with store.database.transaction() as db:
        db.execute("DELETE FROM blob_links")
        db.execute("UPDATE blobs SET diff_id = NULL")
    told = [cause for _, cause in causes(check(store))]
    assert f"what {digest} refers to is not what the database says" in told
    assert f"no blob is known for its layer {alpine.diff_ids[0]}" in told
    assert causes(check(store, repair=True)) == []


def test_lost_layers_are_found_and_unpacked_again(store, two):
    lose_layers(store)
    assert causes(check(store)) == [
        ("app:1", f"layer {chain_id} is not there unpacked") for chain_id in two.layers
    ]
    report = check(store, repair=True)
    assert (len(report.repaired), report.problems) == (2, ())
    assert os.listdir(store.diff(two)) == ["top"]


def test_what_no_registry_has_stays_wrong_until_it_is_loaded_again(store, two, tmp_path):
    blob_path(store, two.diff_ids[0]).unlink()
    report = check(store, repair=True)
    assert causes(report) == [("app:1", f"blob {two.diff_ids[0]} is missing")]
    store.load(tmp_path / "archive.tar")
    assert causes(check(store)) == []


def test_a_registry_that_is_away_is_told_of(make, layout, store, odd_registry):
    with odd_registry(layout, layout.image(make.layer("a"))) as odd:
        image = store.pull(f"{odd.address}/odd")
    blob_path(store, layer_of(store, image)).unlink()
    report = check(store, repair=True)
    assert len(report.problems) == 1
    assert "does not answer" in report.failures[0]


def test_a_pull_mends_as_well(store, alpine, registry):
    blob_path(store, layer_of(store, alpine)).unlink()
    lose_layers(store)
    store.pull(f"{registry.address}/library/alpine")
    assert causes(check(store)) == []


def test_a_check_can_be_cancelled(store, load, make):
    load(make.docker_archive(make.layer(make.entry("a", bytes(400 << 20)))))

    async def cancelled():
        begun = asyncio.Event()
        loop = asyncio.get_running_loop()

        def watch(_):
            loop.call_soon_threadsafe(begun.set)

        running = asyncio.create_task(store.images.check(watch, repair=False))
        await begun.wait()
        running.cancel()
        with pytest.raises(asyncio.CancelledError):
            await running

    asyncio.run(cancelled())


def test_an_image_can_be_removed_from_a_full_disk(open_store, tmp_path, make):
    root = tmp_path / "small"
    root.mkdir()
    archive = tmp_path / "a.tar"
    archive.write_bytes(make.docker_archive(make.layer(make.entry("a", bytes(5 << 20)))))
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=20m", "tmpfs", root], check=True)
    try:
        store = open_store(root)
        (image,) = store.load(archive)
        subprocess.run(["dd", "if=/dev/zero", f"of={root}/fill"], check=False, capture_output=True)
        store.images.remove(image.id, in_use=lambda _: [])
        assert store.files() == {"fill"}
    finally:
        subprocess.run(["umount", "--lazy", root], check=True)


# -- killed at any instant ------------------------------------------------------------------

PULL = """
import asyncio, sys
from pathlib import Path
from cgagent.config import Settings
from cgagent.images.store import Images
from cgagent.store import Database

root = Path(sys.argv[1])
images = Images(Settings(data_root=root), Database(root))
from cgagent.images.distribution.registries import Registries
print("begun", flush=True)
asyncio.run(images.pull(sys.argv[2]))
print("pulled", flush=True)
"""


def killed_pull(root, name, after_s):
    """Was it done?"""
    command = [sys.executable, "-c", PULL, root, name]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as agent:
        assert agent.stdout.readline() == "begun\n"
        time.sleep(after_s)
        agent.kill()
        return agent.stdout.read() == "pulled\n"


@pytest.fixture
def kept(load, make):
    return load(make.docker_archive(make.layer("kept"), tags=["kept:1"]))[0]


@pytest.mark.parametrize("after_ms", range(0, 400, 50))
def test_a_pull_killed_at_any_instant(open_store, kept, store, registry, after_ms):
    before = store.files()
    name = f"{registry.address}/library/alpine"
    done = killed_pull(store.root, name, after_ms / 1000)
    for path in (store.root / "images/blobs/sha256").iterdir():
        assert digest_of(path.read_bytes()) == f"sha256:{path.name}"
    again, _ = restarted(store, open_store)
    names = {name for image in again.images.list() for name in image.tags}
    assert names - {f"{name}:latest"} == {"kept:1"}
    assert not done or f"{name}:latest" in names
    assert causes(check(again)) == []
    if names == {"kept:1"}:
        assert again.files() == before
    assert (again.diff(kept) / "kept").exists()
    assert (again.diff(again.pull(name)) / "bin/busybox").exists()
    assert causes(check(again)) == []
