from __future__ import annotations

import contextlib
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cgagent.errors import InvalidInputError, UnsupportedError
from cgagent.images import manifest
from cgagent.images.image import HealthCheck, parse_config

A, B, C = (f"sha256:{c * 64}" for c in "abc")
ARCHITECTURE, _ = manifest.this_architecture()


def parse(value):
    return manifest.parse(json.dumps(value).encode(), "image x")


def blob(digest, media_type="application/vnd.oci.image.layer.v1.tar+gzip", **more):
    return {"mediaType": media_type, "digest": digest, "size": 3, **more}


def index(*platforms):
    return {
        "schemaVersion": 2,
        "manifests": [
            blob(digest, manifest.OCI_MANIFEST, **({"platform": p} if p else {}))
            for digest, p in platforms
        ],
    }


def test_a_manifest_names_its_config_and_layers():
    found = parse({"schemaVersion": 2, "config": blob(A), "layers": [blob(B), blob(C)]})
    assert found.config.digest == A
    assert [layer.digest for layer in found.layers] == [B, C]


def test_an_index_is_searched_for_this_machine():
    found = parse(
        index(
            (A, {"os": "linux", "architecture": "imaginary"}),
            (B, {"os": "unknown", "architecture": "unknown"}),
            (C, {"os": "linux", "architecture": ARCHITECTURE}),
        )
    )
    assert found.choose("image x").digest == C


def test_platforms_that_there_are_are_listed():
    found = parse(
        index(
            (A, {"os": "linux", "architecture": "imaginary", "variant": "v9"}),
            (B, {"os": "unknown", "architecture": "unknown"}),
        )
    )
    with pytest.raises(UnsupportedError, match=r"only for linux/imaginary/v9$"):
        found.choose("image x")


def test_one_entry_without_a_platform_is_taken():
    assert parse(index((A, None))).choose("image x").digest == A


@pytest.mark.parametrize(
    ("value", "error", "message"),
    [
        ([], InvalidInputError, "not a JSON object"),
        ({}, InvalidInputError, "no config or no layers"),
        ({"schemaVersion": 1}, UnsupportedError, "schema 1"),
        ({"config": blob("sha256:0"), "layers": []}, InvalidInputError, "digest 'sha256:0'"),
        ({"config": blob(A) | {"size": -1}, "layers": []}, InvalidInputError, "size -1"),
        ({"config": blob(A) | {"size": True}, "layers": []}, InvalidInputError, "size True"),
        ({"config": blob(A), "layers": [3]}, InvalidInputError, "not a JSON object"),
        ({"config": blob(A), "layers": [blob(B)] * 501}, UnsupportedError, "501 layers"),
        (
            {
                "config": blob(A),
                "layers": [blob(B, "application/vnd.docker.image.rootfs.foreign.diff.tar.gzip")],
            },
            UnsupportedError,
            "is foreign",
        ),
    ],
)
def test_manifests_that_cannot_be_used(value, error, message):
    with pytest.raises(error, match=message):
        parse(value)


def test_deeply_nested_json_is_refused():
    with pytest.raises(InvalidInputError, match="not JSON"):
        manifest.parse(b"[" * 100_000, "image x")


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=5),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(
                [
                    "config",
                    "layers",
                    "manifests",
                    "digest",
                    "size",
                    "mediaType",
                    "platform",
                    "os",
                    "architecture",
                    "rootfs",
                    "diff_ids",
                    "Env",
                    "Cmd",
                    "Labels",
                ]
            ),
            inner,
            max_size=4,
        )
    ),
    max_leaves=12,
)


@given(json_values)
def test_no_json_crashes_a_parser(value):
    raw = json.dumps(value).encode()
    for parser in (manifest.parse, parse_config):
        with contextlib.suppress(InvalidInputError, UnsupportedError):
            parser(raw, "image x")


def test_a_config_is_read_whole():
    found = parse_config(
        json.dumps(
            {
                "os": "linux",
                "architecture": "amd64",
                "created": "2024-05-06T07:08:09.123456789Z",
                "config": {
                    "Env": ["A=1"],
                    "Cmd": None,
                    "Entrypoint": ["/x"],
                    "User": "1:2",
                    "WorkingDir": "/w",
                    "Labels": {"k": "v"},
                    "StopSignal": "SIGINT",
                    "Healthcheck": {"Test": ["CMD", "look"], "Interval": 5, "Retries": 0},
                    "Volumes": {"/data": {}},
                    "ExposedPorts": {"80/tcp": {}},
                },
                "rootfs": {"type": "layers", "diff_ids": [A]},
            }
        ).encode(),
        "image x",
    )
    assert found.config.env == ("A=1",)
    assert found.config.cmd == ()
    assert found.config.entrypoint == ("/x",)
    assert found.config.labels == {"k": "v"}
    assert found.config.volumes == ("/data",)
    assert found.config.exposed_ports == ("80/tcp",)
    assert found.config.stop_signal == "SIGINT"
    assert found.config.health == HealthCheck(("CMD", "look"), interval_ns=5)
    assert found.diff_ids == (A,)
    assert found.created.isoformat() == "2024-05-06T07:08:09.123456+00:00"


@pytest.mark.parametrize(
    ("value", "error", "message"),
    [
        ({"os": "windows"}, UnsupportedError, "made for windows"),
        ({"config": []}, InvalidInputError, "config in its config is not a JSON object"),
        ({"config": {"Env": "A=1"}}, InvalidInputError, "Env in its config is not a JSON array"),
        ({"config": {"Env": ["a\0b"]}}, InvalidInputError, "Env"),
        ({"config": {"Labels": {"a": 1}}}, InvalidInputError, "Labels"),
        ({"config": {"Labels": {"a": "\ud800"}}}, InvalidInputError, "is not JSON"),
        ({"rootfs": {"diff_ids": ["../x"]}}, InvalidInputError, "diff_ids"),
    ],
)
def test_configs_that_cannot_be_used(value, error, message):
    with pytest.raises(error, match=message):
        parse_config(json.dumps(value).encode(), "image x")
