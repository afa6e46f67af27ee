"""Registries that want logins and certificates, mirrors, rules, and lines that break."""

from __future__ import annotations

import asyncio
import base64
import hashlib
import http.client
import io
import json
import os
import random
import shutil
import subprocess
import tarfile
import time

import pytest

from cgagent.errors import (
    DeadlineError,
    DeniedError,
    RemoteError,
    UnavailableError,
    UnsupportedError,
)
from cgagent.images.distribution import patience, sockets, transport
from cgagent.images.distribution.credentials import Credentials
from cgagent.registryrules import RegistryRule
from tests.world import debian, tokens
from tests.world.gate import gate
from tests.world.registry import Registry, alpine_storage

pytestmark = [pytest.mark.system, pytest.mark.native]

ME = Credentials("me", "secret")
IMAGE = "library/alpine:latest"


def pull(store, name, seen=None, **options):
    tell = (seen if seen is not None else []).append
    return asyncio.run(store.images.pull(name, tell, **options))


@pytest.fixture(scope="module")
def htpasswd(tmp_path_factory):
    file = tmp_path_factory.mktemp("htpasswd") / "users"
    debian.install("apache2-utils")
    subprocess.run(["htpasswd", "-Bbc", file, "me", "secret"], check=True, capture_output=True)
    auth = {"htpasswd": {"realm": "test", "path": str(file)}}
    with Registry(seed=alpine_storage(), auth=auth) as running:
        yield running


def test_basic(store, htpasswd):
    name = f"{htpasswd.address}/{IMAGE}"
    with pytest.raises(DeniedError, match=f"'cgagent login {htpasswd.address}' keeps one"):
        pull(store, name)
    with pytest.raises(DeniedError, match="denies access to me"):
        pull(store, name, credentials=Credentials("me", "wrong"))
    assert pull(store, name, credentials=ME)
    assert asyncio.run(store.images.registries.login(htpasswd.address, ME)) == ""


@pytest.fixture(scope="module")
def tls(tmp_path_factory):
    """A registry behind TLS, its own authority, that wants a client's certificate; and certs.d."""
    folder = tmp_path_factory.mktemp("tls")
    certificate, key = tokens.certificate(folder, "server")
    client, client_key = tokens.certificate(folder, "client")
    options = {"certificate": str(certificate), "key": str(key), "clientcas": [str(client)]}
    with Registry(seed=alpine_storage(), http={"tls": options}) as running:
        whole, bare = folder / "whole", folder / "bare"
        for certs in (whole, bare):
            (certs / running.address).mkdir(parents=True)
            shutil.copy(certificate, certs / running.address / "ca.crt")
        shutil.copy(client, whole / running.address / "client.cert")
        shutil.copy(client_key, whole / running.address / "client.key")
        yield running, whole, bare


def test_an_own_authority_and_a_client_certificate(data_root, open_store, tls, tmp_path):
    registry, whole, bare = tls
    name = f"{registry.address}/{IMAGE}"
    store = open_store(data_root, registry_certs=(str(tmp_path), str(whole)))
    assert pull(store, name)
    other = open_store(tmp_path / "other", registry_certs=(str(bare),))
    with pytest.raises(UnavailableError, match="wants another client certificate"):
        pull(other, name)


def test_an_authority_is_believed_alone(open_store, tls, tmp_path):
    registry, whole, _ = tls
    certs = tmp_path / "certs"
    shutil.copytree(whole, certs)
    tokens.certificate(certs / registry.address, "ca")
    (certs / registry.address / "ca.key").unlink()
    store = open_store(tmp_path / "root", registry_certs=(str(certs),))
    with pytest.raises(UnavailableError, match="certificate is not trusted"):
        pull(store, f"{registry.address}/{IMAGE}")


def test_a_pull_through_mirror_whose_upstream_is_down(data_root, open_store, tmp_path):
    with Registry(seed=alpine_storage()) as origin:
        upstream = f"http://{origin.address}"
        mirror = Registry(proxy={"remoteurl": upstream})
        mirror.__enter__()
        try:
            rules = {"docker.io": RegistryRule(mirrors=(f"http://{mirror.address}",))}
            pull(open_store(tmp_path / "first", registries=rules), "alpine")
            origin.__exit__(None, None, None)
            seen = []
            image = pull(open_store(data_root, registries=rules), "alpine", seen)
            assert image.tags == ("alpine:latest",)
        finally:
            mirror.__exit__(None, None, None)


def test_rules(data_root, open_store, registry):
    store = open_store(
        data_root,
        registries={
            "example.com": RegistryRule(blocked=True),
            "example.com/team": RegistryRule(
                location=f"{registry.address}/library", mirrors=("127.0.0.1:1/library",)
            ),
        },
        add_registries=(registry.address,),
        block_registries=("public",),
    )
    with pytest.raises(DeniedError, match=r"registry example\.com is blocked"):
        pull(store, "example.com/other")
    image = pull(store, "example.com/team/alpine")
    assert image.tags == ("example.com/team/alpine:latest",)
    with pytest.raises(DeniedError, match=r"registry docker\.io is blocked"):
        pull(store, "docker.io/library/alpine")
    pull(store, "library/alpine")
    assert f"{registry.address}/library/alpine:latest" in store.images.resolve(image.id).tags
    assert store.images.resolve("library/alpine").id == image.id


def test_credentials_go_to_their_registry_alone(data_root, open_store, htpasswd):
    """A mirror, or where a rule says that it really is, is another one."""
    rules = {"example.com": RegistryRule(location=htpasswd.address)}
    store = open_store(data_root, registries=rules)
    with pytest.raises(DeniedError, match="requires a login"):
        pull(store, f"example.com/{IMAGE}", credentials=ME)


# -- lines that break ----------------------------------------------------------------------------


@pytest.fixture(scope="module")
def large():
    """A registry with ``big:1``, a layer of 120 MiB; and the layer's digest."""
    with Registry() as running:
        plain = _tar_of_noise(120 << 20)
        config = {
            "os": "linux",
            "rootfs": {"type": "layers", "diff_ids": [_digest(plain)]},
        }
        body = {
            "schemaVersion": 2,
            "config": _upload(running, json.dumps(config).encode(), "image.config.v1+json"),
            "layers": [_upload(running, plain, "image.layer.v1.tar")],
        }
        kind = "application/vnd.oci.image.manifest.v1+json"
        connection = http.client.HTTPConnection(running.address)
        connection.request("PUT", "/v2/big/manifests/1", json.dumps(body), {"Content-Type": kind})
        assert connection.getresponse().status == 201
        connection.close()
        yield running


def _tar_of_noise(size):
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as tar:
        info = tarfile.TarInfo("noise")
        info.size = size
        tar.addfile(info, io.BytesIO(os.urandom(size)))
    return buffer.getvalue()


def _digest(raw):
    return f"sha256:{hashlib.sha256(raw).hexdigest()}"


def _upload(registry, raw, kind):
    connection = http.client.HTTPConnection(registry.address)
    connection.request("POST", "/v2/big/blobs/uploads/")
    begun = connection.getresponse()
    begun.read()
    where = f"{begun.headers['Location']}&digest={_digest(raw)}"
    headers = {"Content-Type": "application/octet-stream"}
    connection.request("PUT", where, raw, headers)
    assert connection.getresponse().status == 201
    connection.close()
    return {
        "mediaType": f"application/vnd.oci.{kind}",
        "digest": _digest(raw),
        "size": len(raw),
    }


def test_a_line_that_drops_every_20_mib(store, large):
    with gate(large.address) as line:
        line.cut = lambda: 20 << 20
        assert pull(store, f"{line.address}/big:1")
        assert line.connections >= 6


def test_a_line_that_drops_anywhere(store, large):
    chance = random.Random(7)  # noqa: S311
    with gate(large.address) as line:
        line.cut = lambda: chance.choice([None, chance.randrange(1, 60 << 20)])
        assert pull(store, f"{line.address}/big:1")


def test_a_registry_that_is_away_for_a_while(store, large):
    with gate(large.address) as line:

        def away():
            if not line.away_until_s:
                line.away_until_s = time.monotonic() + 3
                return 30 << 20
            return None

        def begin(progress):
            if progress.status == "Downloading":
                line.cut = away

        line.cut = lambda: 30 << 20
        asyncio.run(store.images.pull(f"{line.address}/big:1", begin))
        assert line.away_until_s


def test_a_silent_one_is_given_up_and_the_next_asked(data_root, open_store, large, monkeypatch):
    monkeypatch.setattr(sockets, "SILENCE_S", 1.0)
    with gate(large.address) as silent:
        silent.silent = True
        rules = {large.address: RegistryRule(mirrors=(silent.address,))}
        store = open_store(data_root, registries=rules)
        assert pull(store, f"{large.address}/big:1")
        with pytest.raises(DeadlineError, match="sent nothing for"):
            pull(store, f"{silent.address}/big:1")


def test_a_mirror_that_hangs_amid_a_layer(data_root, open_store, large, monkeypatch):
    """The rest comes from the next place."""
    monkeypatch.setattr(sockets, "SILENCE_S", 1.0)
    with gate(large.address) as mirror:
        rules = {large.address: RegistryRule(mirrors=(mirror.address,))}
        store = open_store(data_root, registries=rules)
        mirror.cut = lambda: 1 << 20

        def hang(progress):
            if progress.status == "Downloading":
                mirror.silent = True

        image = asyncio.run(store.images.pull(f"{large.address}/big:1", hang))
        assert image.tags == (f"{large.address}/big:1",)


@pytest.fixture
def hasty(monkeypatch):
    """What is too slow is found in a second."""
    monkeypatch.setattr(sockets, "SLOW_WINDOW_S", 1.0)


def test_one_that_drips_is_given_up_and_the_next_asked(data_root, open_store, large, hasty):
    with gate(large.address) as slow:
        slow.drip_s = 0.1
        rules = {large.address: RegistryRule(mirrors=(slow.address,))}
        store = open_store(data_root, registries=rules)
        assert pull(store, f"{large.address}/big:1")
        with pytest.raises(DeadlineError, match="slower than 1024 bytes a second"):
            pull(store, f"{slow.address}/big:1")


def test_a_mirror_that_drips_amid_a_layer(data_root, open_store, large, hasty):
    with gate(large.address) as mirror:
        rules = {large.address: RegistryRule(mirrors=(mirror.address,))}
        store = open_store(data_root, registries=rules)
        seen = []

        def drip(progress):
            if progress.status == "Downloading":
                mirror.drip_s = 0.1
                seen.append(progress.current_bytes)

        image = asyncio.run(store.images.pull(f"{large.address}/big:1", drip))
        assert image.tags == (f"{large.address}/big:1",)
        assert sorted(seen) == seen  # the rest comes from the next place


def test_a_line_that_breaks_after_a_few_bytes_makes_no_progress(store, large, monkeypatch):
    monkeypatch.setattr(patience, "PATIENCE_S", 2.0)
    with gate(large.address) as line:

        def begin(progress):
            if progress.status == "Downloading":
                line.cut = lambda: 2000

        line.cut = lambda: 30 << 20
        with pytest.raises(UnavailableError, match="broke the connection"):
            asyncio.run(store.images.pull(f"{line.address}/big:1", begin))


def test_a_hanging_registry_holds_up_no_other(store, large):
    async def both():
        with gate(large.address) as hanging:
            hanging.cut = lambda: 10 << 20
            started = asyncio.Event()

            def watch(progress):
                if progress.status == "Downloading":
                    hanging.silent = True
                    started.set()

            slow = asyncio.create_task(store.images.pull(f"{hanging.address}/big:1", watch))
            await started.wait()
            await asyncio.sleep(0.3)
            await asyncio.wait_for(store.images.pull(f"{large.address}/big:1"), 15)
            slow.cancel()
            began = time.monotonic()
            with pytest.raises(asyncio.CancelledError):
                await slow
            return time.monotonic() - began

    assert asyncio.run(both()) < 2


def test_the_loop_goes_on_during_a_pull(store, large):
    async def measured():
        worst, last = 0.0, time.perf_counter()
        task = asyncio.create_task(store.images.pull(f"{large.address}/big:1"))
        while not task.done():
            await asyncio.sleep(0.001)
            now = time.perf_counter()
            worst, last = max(worst, now - last), now
        await task
        return worst

    print(f"the loop was held up {asyncio.run(measured()) * 1e3:.1f} ms at most")


# -- answers that are no image -------------------------------------------------------------------


@pytest.fixture
def odd(make, odd_registry):
    layout = make.OciLayout()
    entry = layout.image(make.layer("a"))
    with odd_registry(layout, entry) as running:
        running.layer = json.loads(running.content("/latest"))["layers"][0]["digest"]
        yield running


def status(code, **headers):
    return lambda handler: handler.answer(
        code, b"", **{name.replace("_", "-"): value for name, value in headers.items()}
    )


def test_retry_after_is_obeyed_and_told(store, odd):
    odd.quirks["manifests"] = [status(429, Retry_After="2")]
    seen, began = [], time.monotonic()
    pull(store, f"{odd.address}/odd", seen)
    assert time.monotonic() - began >= 2
    assert "Retrying in 2 seconds" in {progress.status for progress in seen}


def test_a_wait_that_is_too_long_is_explained(store, odd):
    odd.quirks["manifests"] = [status(429, Retry_After="3600")]
    with pytest.raises(UnavailableError, match=r"limits the rate of requests.*to wait 3600 s"):
        pull(store, f"{odd.address}/odd")


def test_lasting_errors_are_given_up(store, odd, monkeypatch):
    monkeypatch.setattr(patience, "PATIENCE_S", 1.0)
    odd.quirks["blobs"] = [status(500)] * 50
    with pytest.raises(RemoteError, match="answered 500"):
        pull(store, f"{odd.address}/odd")


def test_credentials_do_not_follow_a_redirect(store, odd, make, odd_registry):
    with odd_registry(odd.layout, odd.entry) as elsewhere:
        there = f"http://{elsewhere.address}/v2/odd/blobs/{odd.layer}"
        odd.quirks[odd.layer] = [status(307, Location=there)]
        challenge = {"WWW_Authenticate": 'Basic realm="x"'}
        odd.quirks["manifests"] = [status(401, **challenge)]
        pull(store, f"{odd.address}/odd", credentials=ME)
        asked = [headers for path, headers in odd.requests if odd.layer in path]
        assert asked[0]["Authorization"] == ME.basic
        assert [headers.get("Authorization") for _, headers in elsewhere.requests] == [None]


def test_a_token_service_without_tls_is_refused():
    """But for loopback, where nobody listens."""
    access = transport.Access("image x", "r.example", ME, lambda *_: pytest.fail("asked"))
    found = transport.challenges(['Bearer realm="http://auth.example/token",service="x"'])
    with pytest.raises(RemoteError, match="token service at plain"):
        access.answer(found, (), None, plain_is_fine=False)


@pytest.mark.parametrize("kind", ["application/vnd.docker.distribution.manifest.v1+json", "x/y"])
def test_a_manifest_of_another_type(store, odd, kind):
    def answer(handler):
        handler.answer(200, odd.content("/latest"), **{"Content-Type": kind})

    odd.quirks["manifests"] = [answer]
    with pytest.raises(UnsupportedError, match="no image manifest that cgagent knows"):
        pull(store, f"{odd.address}/odd")


def test_what_is_no_container_image(store, make, odd_registry):
    layout = make.OciLayout()
    helm = layout.blob(b"{}", "application/vnd.cncf.helm.config.v1+json")
    body = {"schemaVersion": 2, "config": helm, "layers": []}
    kind = "application/vnd.oci.image.manifest.v1+json"
    entry = layout.blob(json.dumps(body).encode(), kind)
    with (
        odd_registry(layout, entry) as odd,
        pytest.raises(UnsupportedError, match="is no container image"),
    ):
        pull(store, f"{odd.address}/odd")


def test_a_platform(store, make, odd_registry):
    layout = make.OciLayout()
    platforms = {
        "amd64": {"os": "linux", "architecture": "amd64"},
        "arm": {"os": "linux", "architecture": "arm", "variant": "v7"},
        "attestation": {"os": "unknown", "architecture": "unknown"},
    }
    entries = [
        {
            **layout.image(make.layer(name), architecture=platform["architecture"]),
            "platform": platform,
        }
        for name, platform in platforms.items()
    ]
    with odd_registry(layout, layout.index(*entries)) as odd:
        image = pull(store, f"{odd.address}/odd", platform="linux/arm/v7")
        assert image.architecture == "arm"
        assert pull(store, f"{odd.address}/odd", platform="arm").id == image.id
        with pytest.raises(UnsupportedError, match="only for linux/amd64, linux/arm/v7"):
            pull(store, f"{odd.address}/odd", platform="linux/s390x")


def test_search_of_a_registry(store, registry):
    async def search(term):
        return await store.images.registries.search(term, 25, Credentials())

    (found,) = asyncio.run(search(f"{registry.address}/alp"))
    assert found.name == f"{registry.address}/library/alpine"
    assert asyncio.run(search(f"{registry.address}/nothing")) == []


def test_search_of_an_index(data_root, open_store, odd):
    results = {
        "results": [
            {"name": "alpine", "description": "small", "star_count": 5, "is_official": True}
        ]
    }
    odd.quirks["/v1/search"] = [lambda handler: handler.answer(200, json.dumps(results).encode())]
    store = open_store(data_root, registries={"docker.io": RegistryRule(location=odd.address)})
    (found,) = asyncio.run(store.images.registries.search("alpine", 5, Credentials()))
    assert (found.name, found.star_count, found.is_official) == ("alpine", 5, True)


def test_no_secret_is_in_a_message():
    assert "secret" not in repr(Credentials("me", "secret", "secret", "secret"))
    assert base64.b64decode(ME.basic.removeprefix("Basic ")) == b"me:secret"
