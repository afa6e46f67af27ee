"""Docker's config.json and its helpers."""

from __future__ import annotations

import base64
import json
import os
import stat

import pytest

from cgagent.cli import dockerconfig
from cgagent.errors import DeniedError, InvalidInputError

HELPER = """#!/bin/sh
case $1 in
store) cat > "$HELPER_DIR/stored"; exit;;
esac
read -r key
file="$HELPER_DIR/$(echo "$key" | tr / _)"
[ -f "$file" ] || { echo 'credentials not found in native keychain'; exit 1; }
case $1 in
get) cat "$file";;
erase) rm "$file";;
esac
"""


@pytest.fixture
def config(tmp_path, monkeypatch):
    monkeypatch.setenv("DOCKER_CONFIG", str(tmp_path))
    monkeypatch.setenv("HELPER_DIR", str(tmp_path))
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    helper = tmp_path / "docker-credential-fake"
    helper.write_text(HELPER)
    helper.chmod(0o755)

    def write(found):
        (tmp_path / "config.json").write_text(json.dumps(found))
        return tmp_path / "config.json"

    return write


def test_a_login_is_kept_for_the_user_alone(config, tmp_path):
    file = config({"psFormat": "x", "auths": {"other": {"auth": "YTpi"}}})
    dockerconfig.store("r.example:5000", {"username": "me", "password": "a:b"})
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    found = json.loads(file.read_text())
    assert found["psFormat"] == "x"
    assert found["auths"]["other"] == {"auth": "YTpi"}
    assert dockerconfig.lookup("r.example:5000") == {
        "username": "me",
        "password": "a:b",
        "serveraddress": "r.example:5000",
    }
    assert dockerconfig.erase("r.example:5000")
    assert not dockerconfig.erase("r.example:5000")
    assert set(os.listdir(tmp_path)) == {"config.json", "docker-credential-fake"}


def test_docker_hub_has_a_name_of_its_own(config):
    file = config({})
    dockerconfig.store("docker.io", {"username": "me", "identitytoken": "t"})
    assert list(json.loads(file.read_text())["auths"]) == [dockerconfig.HUB_KEY]
    assert dockerconfig.lookup("docker.io")["identitytoken"] == "t"


@pytest.mark.parametrize(
    ("name", "host"),
    [
        ("alpine", "docker.io"),
        ("me/app", "docker.io"),
        ("index.docker.io/x/y", "docker.io"),
        ("localhost/x", "localhost"),
        ("r.example:5000/x/y:1", "r.example:5000"),
    ],
)
def test_whose_login_a_name_needs(name, host):
    assert dockerconfig.registry_of(name) == host


def test_a_helper_of_one_registry(config, tmp_path):
    config({"credHelpers": {"r.example": "fake"}, "auths": {"s.example": {"auth": "YTpi"}}})
    secret = {"ServerURL": "r.example", "Username": "me", "Secret": "s"}
    (tmp_path / "r.example").write_text(json.dumps(secret))
    assert dockerconfig.lookup("r.example")["password"] == "s"
    assert dockerconfig.lookup("s.example")["username"] == "a"
    dockerconfig.store("r.example", {"username": "me", "identitytoken": "t"})
    stored = json.loads((tmp_path / "stored").read_text())
    assert stored == {"ServerURL": "r.example", "Username": "<token>", "Secret": "t"}
    assert dockerconfig.erase("r.example")
    assert dockerconfig.lookup("r.example") == {}


def test_a_helper_for_all(config, tmp_path):
    config({"credsStore": "fake"})
    token = {"ServerURL": "x", "Username": "<token>", "Secret": "t"}
    (tmp_path / "https:__index.docker.io_v1_").write_text(json.dumps(token))
    assert dockerconfig.lookup("docker.io")["identitytoken"] == "t"


def test_a_helper_that_is_not_there(config):
    config({"credsStore": "missing"})
    with pytest.raises(DeniedError, match="docker-credential-missing"):
        dockerconfig.lookup("x.example")


@pytest.mark.parametrize("text", ["", "{", "[]", '{"auths": {"x.example": {"auth": "?"}}}'])
def test_a_file_that_is_wrong(config, text):
    config({}).write_text(text)
    with pytest.raises(InvalidInputError):
        dockerconfig.lookup("x.example")


def test_no_file_is_no_login(config):
    assert dockerconfig.header("x.example/y") == ()
    config({"auths": {"x.example": {"auth": base64.b64encode(b"me:p").decode()}}})
    (line,) = dockerconfig.header("x.example/y")
    raw = base64.urlsafe_b64decode(line.removeprefix("X-Registry-Auth: "))
    assert json.loads(raw)["password"] == "p"
