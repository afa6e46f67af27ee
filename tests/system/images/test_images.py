"""Names, removal, root file systems, and what a killed agent leaves."""

from __future__ import annotations

import asyncio
import json
import os
import shutil
import sqlite3
import subprocess
import sys
import traceback
from contextlib import closing, suppress

import pytest

from cgagent.errors import ConflictError, InvalidInputError, NoSuchImageError
from cgagent.images import layers
from cgagent.images.image import HOST
from cgagent.images.removal import User
from cgagent.store import Database

pytestmark = [pytest.mark.system, pytest.mark.native]

CONTAINER = "c" * 64


def unused(image_id):
    return []


@pytest.fixture
def image(load, make):
    return load(
        make.docker_archive(make.layer("base"), make.layer("top"), tags=["app:1", "app:2"])
    )[0]


def test_every_way_to_name_an_image(store, image):
    digits = image.id.removeprefix("sha256:")
    for name in ("app:1", "docker.io/library/app:2", image.id, digits, digits[:4], image.id[:20]):
        assert store.images.resolve(name) == image


@pytest.mark.parametrize("name", ["app", "nothing", "sha256:0000", "f" * 64, "abc"])
def test_a_name_that_is_not_there(store, image, name):
    with pytest.raises(NoSuchImageError, match=f"no such image: {name}; 'cgagent pull {name}'"):
        store.images.resolve(name)


def test_a_malformed_name_is_the_callers_fault(store):
    with pytest.raises(InvalidInputError, match="must be lower case"):
        store.images.resolve("App")


def test_names_go_one_by_one_and_the_image_with_the_last(store, image):
    assert store.images.remove("app:1", in_use=unused).lines == ("Untagged: app:1",)
    assert store.images.remove("app:2", in_use=unused).lines == (
        "Untagged: app:2",
        f"Deleted: {image.id}",
        *(f"Deleted: {chain_id}" for chain_id in reversed(image.layers)),
    )
    assert store.files() == set()


def test_layers_of_another_image_stay(store, image, load, make):
    (other,) = load(make.docker_archive(make.layer("base"), make.layer("x"), tags=["other:1"]))
    assert other.layers[0] == image.layers[0]
    lines = store.images.remove("other:1", in_use=unused).lines
    assert f"Deleted: {other.layers[1]}" in lines
    assert f"Deleted: {other.layers[0]}" not in lines
    assert (store.diff(image, 0) / "base").exists()


def test_an_image_in_use_stays_whole(store, image):
    web = User("web", running=True)
    store.images.remove("app:1", in_use=lambda _: [web])
    with pytest.raises(ConflictError, match="web"):
        store.images.remove("app:2", in_use=lambda image_id: [web] * (image_id == image.id))
    store.images.prepare(image, CONTAINER)
    with pytest.raises(ConflictError, match="cccccccccccc"):
        store.images.remove(image.id, in_use=unused, force=True)
    assert store.images.resolve("app:2").layers == image.layers


def test_names_in_several_repositories_go_by_force(store, image, load, make):
    load(make.docker_archive(make.layer("base"), make.layer("top"), tags=["second:1"]))
    with pytest.raises(ConflictError, match="several names"):
        store.images.remove(image.id, in_use=unused)
    lines = store.images.remove(image.id, in_use=unused, force=True).lines
    assert lines[:3] == ("Untagged: app:1", "Untagged: app:2", "Untagged: second:1")


def test_a_tag_moves_to_a_new_image(store, image, load, make):
    (new,) = load(make.docker_archive(make.layer("new"), tags=["app:1"]))
    assert store.images.resolve("app:1").id == new.id
    assert store.images.resolve(image.id).tags == ("app:2",)
    assert [one.id for one in store.images.list()] == [new.id, image.id]


def test_the_host_is_an_image_that_is_not_listed_nor_removed(store):
    host = store.images.resolve("host")
    assert host == HOST
    assert store.images.list() == []
    with pytest.raises(ConflictError):
        store.images.remove("host", in_use=unused)
    root = store.images.prepare(host, CONTAINER)
    assert root.lowers == ("/",)
    assert os.stat(root.upper).st_mode == os.stat("/").st_mode
    store.images.release(CONTAINER)
    assert store.files() == set()


def test_a_root_has_the_attributes_of_the_images(store, load, make):
    root_entry = make.entry("./", type=b"5", mode=0o711, uid=9)
    (image,) = load(make.docker_archive(make.layer(root_entry), make.layer("x")))
    root = store.images.prepare(image, CONTAINER)
    assert (os.stat(root.upper).st_mode & 0o7777, os.stat(root.upper).st_uid) == (0o711, 9)
    with pytest.raises(ConflictError, match="has a root file system already"):
        store.images.prepare(image, CONTAINER)
    store.images.release(CONTAINER)
    store.images.release(CONTAINER)


def test_an_image_removed_meanwhile(store, image):
    store.images.remove("app:1", in_use=unused)
    store.images.remove("app:2", in_use=unused)
    with pytest.raises(NoSuchImageError, match="removed meanwhile"):
        store.images.prepare(image, CONTAINER)
    assert store.files() == set()


def test_many_layers_fit_into_the_page_of_mount_options(store, load, make):
    (image,) = load(make.docker_archive(*(make.layer(f"f{n}") for n in range(127))))
    root = store.images.prepare(image, CONTAINER)
    beneath = [lower.replace(str(store.root), "/var/lib/cgagent") for lower in root.lowers]
    container = f"/var/lib/cgagent/containers-rw/{CONTAINER}"
    options = f"lowerdir={':'.join(beneath)},upperdir={container}/upper,workdir={container}/work"
    assert len(options) < 4096
    assert [os.listdir(lower) for lower in root.lowers[:2]] == [["f126"], ["f125"]]


def test_a_sweep_removes_what_a_killed_agent_left(store, image, open_store):
    kept = store.images.prepare(image, CONTAINER)
    store.images.prepare(image, "d" * 64)
    before = {name for name in store.files() if "d" * 64 not in name}
    for name in ("overlay2/tmp-x/diff", "containers-rw/" + "e" * 64):
        (store.root / name).mkdir(parents=True)
    (store.root / "overlay2" / ("0" * 64) / "diff" / "x").mkdir(parents=True)
    (store.root / "l" / "zz").symlink_to("../overlay2/nothing")
    (store.root / "images/ingest/tmp-x").write_bytes(b"x")
    store.images.sweep({CONTAINER})
    assert store.files() == before
    assert os.path.isdir(kept.upper)
    with pytest.raises(ConflictError):
        store.images.remove(image.id, in_use=unused)


LOAD = """
import asyncio, sys
from pathlib import Path
from cgagent.config import Settings
from cgagent.images.store import Images
from cgagent.store import Database

root = Path(sys.argv[1])
images = Images(Settings(data_root=root), Database(root))
asyncio.run(images.load(sys.argv[2], lambda progress: print(progress.status, flush=True)))
"""


def test_an_agent_killed_while_unpacking(data_root, open_store, make, tmp_path):
    archive = tmp_path / "a.tar"
    archive.write_bytes(make.docker_archive(make.layer(make.entry("a", bytes(200 << 20)))))
    command = [sys.executable, "-c", LOAD, data_root, archive]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as agent:
        assert agent.stdout.readline() == "Extracting\n"
        agent.kill()
    store = open_store(data_root)  # it sweeps
    assert store.files() == set()
    assert store.load(archive)


def boot_ids(store):
    with closing(sqlite3.connect(store.root / "cgagent.db")) as database:
        return [row[0] for row in database.execute("SELECT boot_id FROM layers ORDER BY number")]


def test_what_is_unpacked_again_while_layers_are_written_to_disk_is_not_taken_for_written(
    store, image, monkeypatch
):
    def unpack_again(_path):
        shutil.rmtree(store.diff(image).parent)
        assert asyncio.run(store.images.complete(image))

    monkeypatch.setattr(layers, "sync_file_system", unpack_again)
    store.images.settle()
    assert [boot_id is None for boot_id in boot_ids(store)] == [True, False]
    record = json.loads((store.diff(image).parent / "layer.json").read_text())
    assert record["boot_id"] is not None
    monkeypatch.undo()
    store.images.settle()
    assert boot_ids(store) == [None, None]


def test_an_image_that_is_removed_while_layers_are_written_to_disk(
    store, image, monkeypatch, caplog
):
    def remove(_path):
        store.images.remove(image.id, in_use=unused, force=True)

    monkeypatch.setattr(layers, "sync_file_system", remove)
    store.images.settle()
    assert store.files() == set()
    assert caplog.messages == []


def test_no_change_of_the_database_holds_up_the_event_loop(
    store, make, load, registry, monkeypatch
):
    """It may wait for the disk."""
    transaction, seen = Database.transaction, []

    def noted(*args, **how):
        with suppress(RuntimeError):
            asyncio.get_running_loop()
            seen.append("".join(traceback.format_stack(limit=6)))
        return transaction(*args, **how)

    monkeypatch.setattr(Database, "transaction", noted)
    (loaded,) = load(make.docker_archive(make.layer("a"), make.layer("b"), tags=["loaded:1"]))
    store.images.tag(loaded.id, f"{registry.address}/loaded:1")
    asyncio.run(store.images.push(f"{registry.address}/loaded:1"))
    store.pull(f"{registry.address}/library/alpine:latest")
    store.pull(f"{registry.address}/library/alpine:3.23")
    shutil.rmtree(store.diff(loaded).parent)
    assert asyncio.run(store.images.complete(loaded))
    assert seen == []
