"""Pulling from a real registry, and from one that misbehaves on purpose."""

from __future__ import annotations

import asyncio
import gzip
import json
import os
import shutil
import subprocess

import httpx
import pytest

from cgagent.errors import (
    DeniedError,
    InvalidInputError,
    NoSpaceError,
    NotFoundError,
    RemoteError,
    UnavailableError,
    UnsupportedError,
)
from cgagent.images import manifest
from cgagent.images.distribution import patience
from cgagent.images.distribution.credentials import ANONYMOUS
from cgagent.images.distribution.endpoints import Endpoint
from cgagent.images.distribution.repository import Repository
from cgagent.images.distribution.transport import Registry as Remote
from cgagent.images.distribution.trust import Trust
from tests.world import debian
from tests.world.registry import Registry, alpine_storage

pytestmark = [pytest.mark.system, pytest.mark.native]

HERE = {"os": "linux", "architecture": manifest.this_architecture()[0]}
ELSEWHERE = {"os": "linux", "architecture": "imaginary"}
INDEX = "application/vnd.oci.image.index.v1+json"


@pytest.fixture
def own_registry():
    """A registry whose files a test may damage."""
    with Registry(seed=alpine_storage()) as running:
        yield running


def blob_files(registry):
    """The data files of its blobs, largest first: the first is Alpine's layer."""
    found = (registry.storage / "docker/registry/v2/blobs").rglob("data")
    return sorted(found, key=lambda path: path.stat().st_size, reverse=True)


def push(registry, make_layout, name, *options):
    debian.install("skopeo")
    target = f"docker://{registry.address}/{name}"
    command = ["skopeo", "copy", "--quiet", "--all", "--insecure-policy", *options]
    subprocess.run([*command, "--dest-tls-verify=false", make_layout, target], check=True)


def test_pull_gives_a_name_a_digest_and_files(store, registry):
    seen = []
    image = store.pull(f"{registry.address}/library/alpine", seen.append)
    assert image.tags == (f"{registry.address}/library/alpine:latest",)
    (by_digest,) = image.digests
    assert store.images.resolve(by_digest) == image
    assert (store.diff(image) / "etc/alpine-release").exists()
    told = list(dict.fromkeys(p.status for p in seen if p.layer))
    assert told == [
        *("Pulling fs layer", "Downloading", "Verifying Checksum", "Download complete"),
        *("Extracting", "Pull complete"),
    ]
    assert not any(name.startswith("images/ingest/") for name in store.files())


def test_a_second_pull_downloads_nothing(store, registry):
    store.pull(f"{registry.address}/library/alpine")
    seen = []
    store.pull(f"{registry.address}/library/alpine:3.23", seen.append)
    assert "Already exists" in {p.status for p in seen}
    assert "Downloading" not in {p.status for p in seen}


def test_pull_by_digest(store, registry):
    name = f"{registry.address}/library/alpine"
    (by_digest,) = store.pull(name).digests
    store.images.remove(name, in_use=lambda _: [])
    assert store.files() == set()
    image = store.pull(by_digest)
    assert image.names == (by_digest,)


def test_pulls_at_the_same_time_share_their_work(store, registry):
    async def both():
        names = [f"{registry.address}/library/alpine{tag}" for tag in ("", ":3.23", "")]
        return await asyncio.gather(*map(store.images.pull, names))

    assert len({image.id for image in asyncio.run(both())}) == 1
    assert len(list((store.root / "overlay2").iterdir())) == 1


@pytest.mark.parametrize("form", ["oci", "v2s2"])
def test_manifests_of_both_kinds(store, own_registry, alpine_oci_archive, form):
    push(own_registry, f"oci-archive:{alpine_oci_archive}", f"pushed:{form}", "--format", form)
    image = store.pull(f"{own_registry.address}/pushed:{form}")
    assert (store.diff(image) / "bin/busybox").exists()


def test_an_index_of_two_platforms(store, own_registry, make, tmp_path):
    layout = make.OciLayout()
    entry = layout.index(
        {**layout.image(make.layer("there")), "platform": ELSEWHERE},
        {**layout.image(make.layer("here")), "platform": HERE},
    )
    archive = tmp_path / "multi.tar"
    archive.write_bytes(layout.archive(entry))
    push(own_registry, f"oci-archive:{archive}", "multi:1")
    image = store.pull(f"{own_registry.address}/multi:1")
    assert (store.diff(image) / "here").exists()
    (by_digest,) = image.digests
    url = f"http://{own_registry.address}/v2/multi/manifests/1"
    answer = httpx.head(url, headers={"Accept": INDEX}, trust_env=False)
    assert by_digest.endswith(f"@{answer.headers['Docker-Content-Digest']}")


def test_docker_hub_names_come_from_a_mirror(data_root, open_store, registry):
    mirrors = ("http://127.0.0.1:1", f"http://{registry.address}")
    store = open_store(data_root, registry_mirrors=mirrors)
    image = store.pull("alpine")
    assert image.tags == ("alpine:latest",)


def test_what_is_not_there(store, registry):
    name = f"{registry.address}/library/alpne"
    with pytest.raises(NotFoundError) as raised:
        store.pull(name)
    assert raised.value.message == f"image {name}:latest: not found at registry {registry.address}"


def test_a_registry_that_is_down(store):
    with pytest.raises(
        UnavailableError, match=r"127\.0\.0\.1:1 does not answer: connection refused"
    ):
        store.pull("127.0.0.1:1/x")


def test_a_proxy_is_not_asked_for_loopback(store, registry, monkeypatch):
    for variable in ("http_proxy", "https_proxy", "all_proxy"):
        monkeypatch.setenv(variable, "http://127.0.0.1:1")
    assert store.pull(f"{registry.address}/library/alpine")


@pytest.mark.parametrize("name", ["host", "Bad"])
def test_what_cannot_be_pulled(store, name):
    with pytest.raises(InvalidInputError):
        store.pull(name)


def test_a_tampered_layer(store, own_registry):
    (layer, *_) = blob_files(own_registry)
    with layer.open("r+b") as file:
        file.seek(5000)
        file.write(b"tampered")
    with pytest.raises(RemoteError, match=r"has the digest .* its content was changed or damaged"):
        store.pull(f"{own_registry.address}/library/alpine")
    assert store.files() == set()


def test_a_truncated_layer(store, own_registry):
    (layer, *_) = blob_files(own_registry)
    os.truncate(layer, 5000)
    with pytest.raises(RemoteError, match="has only 5000 of the"):
        store.pull(f"{own_registry.address}/library/alpine")
    assert store.files() == set()


def test_a_missing_layer(store, own_registry):
    (layer, *_) = blob_files(own_registry)
    layer.unlink()
    with pytest.raises(NotFoundError):
        store.pull(f"{own_registry.address}/library/alpine")
    assert store.files() == set()


def test_a_tampered_config_or_manifest(store, own_registry):
    for path in blob_files(own_registry)[1:]:
        path.write_bytes(path.read_bytes().replace(b"linux", b"linus") + b" ")
    with pytest.raises(RemoteError):
        store.pull(f"{own_registry.address}/library/alpine")
    assert store.files() == set()


@pytest.mark.parametrize("size", ["2m", "6m"])  # the second has room for the blob alone
def test_a_full_disk(open_store, tmp_path, registry, size):
    root = tmp_path / "small"
    root.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={size}", "tmpfs", root], check=True)
    try:
        store = open_store(root)
        with pytest.raises(NoSpaceError, match="the disk is full"):
            store.pull(f"{registry.address}/library/alpine")
        assert store.files() == set()
    finally:
        subprocess.run(["umount", "--lazy", root], check=True)


def test_a_cancelled_pull_leaves_nothing(store, registry):
    async def cancelled():
        downloading = asyncio.Event()

        def watch(progress):
            if progress.status == "Downloading":
                downloading.set()

        name = f"{registry.address}/library/alpine"
        pull = asyncio.create_task(store.images.pull(name, watch))
        await downloading.wait()
        pull.cancel()
        with pytest.raises(asyncio.CancelledError):
            await pull

    asyncio.run(cancelled())
    assert store.files() == set()


@pytest.fixture
def odd(make, odd_registry):
    """A misbehaving registry with one image of one compressed layer of 3 MB."""
    layout = make.OciLayout()
    plain = make.layer(make.entry("a", os.urandom(3 << 20)))
    entry = layout.image(gzip.compress(plain), plain_layers=[plain])
    with odd_registry(layout, entry) as running:
        body = json.loads(layout.members[f"blobs/sha256/{entry['digest'][7:]}"])
        running.layer = body["layers"][0]["digest"]
        yield running


def cut_after(count):
    def answer(handler):
        body = handler.server.content(handler.path)
        handler.send_response(200)
        handler.send_header("Content-Length", str(len(body)))
        handler.end_headers()
        handler.wfile.write(body[:count])
        handler.close_connection = True

    return answer


def the_rest(handler):
    offset = int(handler.headers["Range"].removeprefix("bytes=").rstrip("-"))
    body = handler.server.content(handler.path)
    span = {"Content-Range": f"bytes {offset}-{len(body) - 1}/{len(body)}"}
    handler.answer(206, body[offset:], **span)


def status(code, **headers):
    return lambda handler: handler.answer(code, b"", **headers)


def test_a_broken_download_resumes(store, odd):
    odd.quirks[odd.layer] = [cut_after(2 << 20), the_rest]
    assert store.pull(f"{odd.address}/odd")
    ranges = [headers.get("Range") for path, headers in odd.requests if odd.layer in path]
    assert ranges[0] is None
    assert ranges[1].startswith("bytes=")


def test_a_download_that_cannot_resume_starts_again(store, odd):
    odd.quirks[odd.layer] = [cut_after(2 << 20)]  # afterwards whole answers, whatever the range
    assert store.pull(f"{odd.address}/odd")


def test_passing_trouble_is_waited_out(store, odd):
    odd.quirks["manifests"] = [status(503), status(429)]
    odd.quirks["blobs"] = [status(500)]
    assert store.pull(f"{odd.address}/odd")


def test_lasting_trouble_is_an_error(store, odd, monkeypatch):
    monkeypatch.setattr(patience, "PATIENCE_S", 2.0)
    odd.quirks["manifests"] = [status(500)] * 20
    with pytest.raises(RemoteError, match="answered 500"):
        store.pull(f"{odd.address}/odd")


def test_an_anonymous_token_is_fetched(store, odd):
    odd.token = "secret"
    odd.quirks["/token"] = [lambda handler: handler.answer(200, b'{"token": "secret"}')]
    assert store.pull(f"{odd.address}/odd")
    assert any("scope=repository%3Aodd%3Apull" in path for path, _ in odd.requests)


def test_a_login_is_required(store, odd):
    odd.quirks["manifests"] = [status(401, **{"WWW-Authenticate": 'Basic realm="x"'})]
    with pytest.raises(DeniedError, match="requires a login"):
        store.pull(f"{odd.address}/odd")


def test_a_redirected_blob(store, odd):
    odd.quirks[odd.layer] = [status(307, Location=f"/v2/odd/elsewhere/{odd.layer}")]
    assert store.pull(f"{odd.address}/odd")


@pytest.fixture
def certificate(tmp_path):
    """A certificate for 127.0.0.1 that nobody has signed but itself."""
    files = tmp_path / "cert.pem", tmp_path / "key.pem"
    command = ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-subj", "/CN=x"]
    command += ["-addext", "subjectAltName=IP:127.0.0.1", "-out", files[0], "-keyout", files[1]]
    subprocess.run(command, check=True, capture_output=True)
    return files


def test_tls_with_any_certificate_where_that_is_allowed(store, make, odd_registry, certificate):
    layout = make.OciLayout()
    odd = odd_registry(layout, layout.image(make.layer("a")))
    odd.encrypt(*certificate)
    with odd:
        assert store.pull(f"{odd.address}/odd")


@pytest.fixture
def behind_tls(make, odd_registry, certificate, data_root, open_store):
    """A store, and a registry that it believes; with the same in plain HTTP beside it."""
    layout = make.OciLayout()
    entry = layout.image(make.layer("a"))
    plain, odd = odd_registry(layout, entry), odd_registry(layout, entry)
    odd.encrypt(*certificate)
    certs = certificate[0].parent / "certs.d"
    (certs / odd.address).mkdir(parents=True)
    shutil.copy(certificate[0], certs / odd.address / "ca.crt")
    with odd, plain:
        yield open_store(data_root, registry_certs=(str(certs),)), odd, plain


def test_a_blob_may_come_without_tls(behind_tls):
    """Its digest says what it is; storage beside a registry often is plain."""
    store, odd, plain = behind_tls
    to = f"http://{plain.address}/v2/odd/blobs/"
    odd.quirks["/blobs/"] = [redirect(to), redirect(to)]
    assert store.pull(f"{odd.address}/odd")
    assert len(plain.requests) == 2


def redirect(to):
    return lambda handler: handler.answer(307, b"", Location=to + handler.path.rpartition("/")[2])


def test_a_name_is_not_looked_up_without_tls(behind_tls):
    """Who answers says what the name stands for."""
    store, odd, plain = behind_tls
    odd.quirks["/manifests/"] = [redirect(f"http://{plain.address}/v2/odd/manifests/")]
    with pytest.raises(RemoteError, match="redirects from TLS to plain"):
        store.pull(f"{odd.address}/odd")
    assert not plain.requests


def test_an_upload_does_not_go_on_without_tls(behind_tls):
    store, odd, plain = behind_tls
    endpoint = Endpoint(odd.address, (f"https://{odd.address}",))
    trust = Trust(store.images._settings.registry_certs)
    with Remote(endpoint, "image x", trust, ANONYMOUS) as remote:
        with pytest.raises(RemoteError, match="redirects from TLS to plain"):
            remote.absolute(f"http://{plain.address}/v2/odd/blobs/uploads/1")
        assert remote.absolute("/v2/x") == f"https://{odd.address}/v2/x"


def test_tls_with_a_certificate_that_is_not_trusted(make, odd_registry, certificate):
    odd = odd_registry(make.OciLayout(), None)
    odd.encrypt(*certificate)

    endpoint = Endpoint(odd.address, (f"https://{odd.address}",))
    with odd, Remote(endpoint, "image x", Trust(()), ANONYMOUS) as remote:
        repository = Repository(remote, "odd")
        with pytest.raises(UnavailableError, match="certificate is not trusted: self-signed"):
            repository.manifest("latest", manifest.ACCEPTED, 100, print)


def test_redirects_in_circles(store, odd):
    odd.quirks["manifests"] = [status(307, Location="/v2/odd/manifests/latest")] * 20
    with pytest.raises(RemoteError, match="redirects"):
        store.pull(f"{odd.address}/odd")


def test_a_manifest_larger_than_any(store, odd):
    odd.quirks["manifests"] = [lambda handler: handler.answer(200, b" " * ((4 << 20) + 1))]
    with pytest.raises(RemoteError, match="its manifest is longer than 4194304 bytes"):
        store.pull(f"{odd.address}/odd")


def test_a_blob_longer_than_its_manifest_says(store, odd):
    odd.quirks[odd.layer] = [
        lambda handler: handler.answer(200, handler.server.content(handler.path) + b"more")
    ]
    with pytest.raises(RemoteError, match="is longer than"):
        store.pull(f"{odd.address}/odd")
    assert store.files() == set()


@pytest.mark.parametrize("body", [b"", b"{}", b"<html>", b"[]", b'{"schemaVersion":2}'])
def test_a_manifest_that_is_none(store, odd, body):
    odd.quirks["manifests"] = [lambda handler: handler.answer(200, body)]
    with pytest.raises(RemoteError, match="its manifest"):
        store.pull(f"{odd.address}/odd")


def test_a_manifest_that_is_not_the_one_asked_for(store, odd):
    odd.quirks["manifests"] = [lambda handler: handler.answer(200, b"{}")]
    with pytest.raises(RemoteError, match="its manifest has the digest"):
        store.pull(f"{odd.address}/odd@sha256:{'0' * 64}")


def test_an_index_that_leads_to_itself_or_nowhere(store, make, odd_registry):
    layout = make.OciLayout()
    entry = layout.image(make.layer("a"))
    for _ in range(6):
        entry = layout.index({**entry, "platform": HERE})
    with odd_registry(layout, entry) as running, pytest.raises(RemoteError, match="indexes lie in"):
        store.pull(f"{running.address}/odd")


def test_an_index_without_this_machine(store, make, odd_registry):
    layout = make.OciLayout()
    entry = layout.index({**layout.image(make.layer("a")), "platform": ELSEWHERE})
    with (
        odd_registry(layout, entry) as running,
        pytest.raises(UnsupportedError, match="only for linux/imaginary"),
    ):
        store.pull(f"{running.address}/odd")


def test_a_hostile_layer_is_the_registrys_fault(store, make, odd_registry):
    layout = make.OciLayout()
    entry = layout.image(make.layer(make.entry("../x", b"x")))
    with (
        odd_registry(layout, entry) as running,
        pytest.raises(RemoteError, match="leads out of its directory"),
    ):
        store.pull(f"{running.address}/odd")
    assert store.files() == set()
