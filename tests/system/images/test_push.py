"""Pushing to real registries, and what skopeo reads back from them."""

from __future__ import annotations

import asyncio
import json
import os
import random
import subprocess

import pytest

from cgagent.errors import DeniedError, NoSuchImageError, RemoteError
from cgagent.images import manifest
from cgagent.images.distribution.credentials import Credentials
from tests.world import debian, tokens
from tests.world.gate import gate
from tests.world.registry import Registry

pytestmark = [pytest.mark.system, pytest.mark.native]

ME = Credentials("me", "secret")


@pytest.fixture(scope="module")
def target():
    with Registry() as running:
        yield running


@pytest.fixture
def push(store):
    def pushed(name, seen=None, **options):
        tell = (seen if seen is not None else []).append
        return asyncio.run(store.images.push(name, tell, **options))

    return pushed


def rename(store, image, name):
    """As ``tag`` does: the new name stands for what the old one stands for."""
    records = store.images._records
    record = records.get(image.id)
    target = next(iter(record.targets.values()), image.id)
    records.set_name(name, image.id, target)


def raw_manifest(address, name, *options):
    debian.install("skopeo")
    command = ["skopeo", "inspect", "--raw", "--tls-verify=false", *options]
    found = subprocess.run(
        [*command, f"docker://{address}/{name}"], check=True, capture_output=True
    )
    return found.stdout


def statuses(seen):
    return {progress.status for progress in seen}


def test_what_came_is_what_goes(store, registry, target, push, make):
    image = store.pull(f"{registry.address}/library/alpine")
    name = f"{target.address}/same/alpine:1"
    rename(store, image, name)
    seen = []
    (pushed,) = push(name, seen)
    raw = raw_manifest(target.address, "same/alpine:1")
    assert make.sha256(raw) == pushed.digest == image.digests[0].partition("@")[2]
    assert len(raw) == pushed.size_bytes
    assert "Pushed" in statuses(seen)
    assert f"{target.address}/same/alpine@{pushed.digest}" in store.images.resolve(name).digests
    again = []
    push(name, again)
    assert "Layer already exists" in statuses(again)
    assert "Pushed" not in statuses(again)


def test_a_blob_is_mounted_from_another_repository(store, registry, target, push):
    image = store.pull(f"{registry.address}/library/alpine")
    for name in ("first", "second"):
        rename(store, image, f"{target.address}/mounts/{name}:1")
    push(f"{target.address}/mounts/first:1")
    seen = []
    push(f"{target.address}/mounts/second:1", seen)
    assert "Mounted from mounts/first" in statuses(seen)
    assert "Pushed" not in statuses(seen)


def test_an_image_of_docker_save_gets_a_manifest(store, load, make, target, push):
    (image,) = load(make.docker_archive(make.layer("a"), make.layer("b"), tags=["made:1"]))
    name = f"{target.address}/made:1"
    rename(store, image, name)
    (pushed,) = push(name)
    body = json.loads(raw_manifest(target.address, "made:1"))
    assert body["mediaType"] == manifest.DOCKER_MANIFEST
    assert {layer["mediaType"] for layer in body["layers"]} == {manifest.DOCKER_LAYER + ".gzip"}
    assert body["config"]["digest"] == image.id
    rename(store, image, f"{target.address}/made:2")
    (again,) = push(f"{target.address}/made:2")
    assert again.digest == pushed.digest
    store.images.remove(image.id, in_use=lambda _: [], force=True)
    assert store.files() == set()
    assert store.pull(name).id == image.id


def test_the_store_is_clean_after_a_push_that_compressed(store, load, make, target, push):
    (image,) = load(make.docker_archive(make.layer("a"), tags=["made:1"]))
    rename(store, image, f"{target.address}/clean:1")
    push(f"{target.address}/clean:1")
    report = asyncio.run(store.images.check(lambda _: None, repair=False))
    assert report.problems == ()


def test_an_index_of_which_one_platform_is_here(store, make, odd_registry, target, push):
    layout = make.OciLayout()
    own = {**layout.image(make.layer("here")), "platform": _platform(make.architecture)}
    other = {**layout.image(make.layer("there")), "platform": _platform("imaginary")}
    with odd_registry(layout, layout.index(other, own)) as odd:
        image = store.pull(f"{odd.address}/odd")
    name = f"{target.address}/index:1"
    store.images._records.set_name(name, image.id, image.digests[0].partition("@")[2])
    seen = []
    (pushed,) = push(name, seen)
    assert pushed.digest == own["digest"]
    assert any("Not all platforms" in status for status in statuses(seen))


def _platform(architecture):
    return {"os": "linux", "architecture": architecture}


def test_every_tag_of_a_repository(store, registry, target, push):
    image = store.pull(f"{registry.address}/library/alpine")
    for tag in ("1", "2"):
        rename(store, image, f"{target.address}/every:{tag}")
    pushed = push(f"{target.address}/every", all_tags=True)
    assert [one.tag for one in pushed] == ["1", "2"]


def test_a_name_that_is_not_here(target, push):
    with pytest.raises(NoSuchImageError, match="no image here has the name"):
        push(f"{target.address}/nothing:1")


@pytest.fixture
def large(store, load, make, target):
    """An image with a layer of 24 MB."""
    (image,) = load(make.docker_archive(make.layer(make.entry("x", os.urandom(24 << 20)))))
    return image


def test_a_line_that_breaks_while_sending(store, target, push, large):
    with gate(target.address) as line:
        line.cut_requests = lambda: 10 << 20
        name = f"{line.address}/broken:1"
        rename(store, large, name)
        (pushed,) = push(name)
    assert pushed.digest
    assert raw_manifest(target.address, "broken:1")


def test_a_line_that_breaks_anywhere(store, target, push, large):
    chance = random.Random(5)  # noqa: S311
    with gate(target.address) as line:
        line.cut_requests = lambda: chance.choice([None, None, None, chance.randrange(1, 12 << 20)])
        line.cut = lambda: chance.choice([*[None] * 8, chance.randrange(1, 500)])
        name = f"{line.address}/anywhere:1"
        rename(store, large, name)
        push(name)
    assert raw_manifest(target.address, "anywhere:1")


@pytest.fixture(scope="module")
def guarded(tmp_path_factory):
    """A registry with a token service, and the service."""
    folder = tmp_path_factory.mktemp("tokens")
    certificate, key = tokens.certificate(folder, "signer")
    with (
        tokens.serving(tokens.Service(key, certificate)) as service,
        Registry(auth=service.configuration(certificate)) as registry,
    ):
        yield registry, service


def test_a_push_with_tokens(store, load, make, push, guarded):
    registry, service = guarded
    (image,) = load(make.docker_archive(make.layer("a"), tags=["made:1"]))
    names = [f"{registry.address}/tokens/{n}:1" for n in ("one", "two")]
    for name in names:
        rename(store, image, name)
    with pytest.raises(DeniedError, match="requires a login"):
        push(names[0])
    with pytest.raises(DeniedError, match="denies access to me"):
        push(names[0], credentials=Credentials("me", "wrong"))
    push(names[0], credentials=ME)
    seen = []
    push(names[1], seen, credentials=Credentials(identity_token=service.refresh))
    assert "Mounted from tokens/one" in statuses(seen)
    assert store.pull(names[0]).id == image.id


def test_login_gives_what_is_kept_instead_of_the_password(store, guarded):
    registry, service = guarded

    def login(who):
        return asyncio.run(store.images.registries.login(registry.address, who))

    assert login(ME) == service.refresh
    assert login(Credentials(identity_token=service.refresh)) == ""
    with pytest.raises(DeniedError):
        login(Credentials("me", "wrong"))


def test_a_registry_that_changes_a_manifest(store, load, make, push, odd_registry):
    layout = make.OciLayout()
    (image,) = load(make.docker_archive(make.layer("a"), tags=["made:1"]))
    with odd_registry(layout, None) as odd:
        rename(store, image, f"{odd.address}/odd:1")
        with pytest.raises(RemoteError, match="answered 501"):
            push(f"{odd.address}/odd:1")
