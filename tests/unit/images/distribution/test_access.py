"""Challenges, waits, headers, rules: what needs no registry."""

from __future__ import annotations

import base64
import json
import time
from email.utils import formatdate

import pytest

from cgagent.config import Settings, load
from cgagent.errors import DeniedError, InvalidInputError, UnavailableError
from cgagent.images import reference
from cgagent.images.distribution import patience
from cgagent.images.distribution.access import Access, Answer, challenges
from cgagent.images.distribution.credentials import ANONYMOUS, Credentials, from_header
from cgagent.images.distribution.endpoints import Rules
from cgagent.images.distribution.patience import Patience, TransientError, asked_seconds
from cgagent.images.manifest import Platform
from cgagent.registryrules import RegistryRule, parse, words

BEARER = 'Bearer realm="https://a.example/t",service="s",scope="repository:x:pull"'


@pytest.mark.parametrize(
    ("headers", "schemes"),
    [
        ([BEARER], ["bearer"]),
        (['Basic realm="x"', BEARER], ["basic", "bearer"]),
        ([f'Basic realm="a, bearer b", {BEARER}'], ["basic", "bearer"]),
        (["Negotiate"], []),
        (["basic realm=x"], ["basic"]),
    ],
)
def test_challenges(headers, schemes):
    found = challenges(headers)
    assert [one.scheme for one in found][: len(schemes)] == schemes


def test_a_long_challenge_is_read_at_once():
    before_s = time.process_time()
    challenges([f"Bearer {'a' * 60_000}"])
    assert time.process_time() - before_s < 1


def test_parameters_of_a_challenge():
    (one,) = challenges([BEARER])
    assert one.parameters == {
        "realm": "https://a.example/t",
        "service": "s",
        "scope": "repository:x:pull",
    }


def access(credentials, answers):
    asked = []

    def ask(method, url, headers, body):
        asked.append((method, url, headers, body))
        return answers.pop(0)

    return Access("image x", "r.example", credentials, ask), asked


def test_a_token_is_asked_for_once():
    it, asked = access(ANONYMOUS, [Answer(200, b'{"token": "one"}')])
    scopes = ("repository:x:pull",)
    found = challenges([BEARER])
    assert it.answer(found, scopes, None, plain_is_fine=False) == "Bearer one"
    assert it.answer(found, scopes, None, plain_is_fine=False) == "Bearer one"
    ((method, url, headers, body),) = asked
    assert (method, headers, body) == ("GET", {}, None)
    assert url == "https://a.example/t?service=s&scope=repository%3Ax%3Apull"


def test_a_token_that_is_refused_is_replaced():
    it, _ = access(ANONYMOUS, [Answer(200, b'{"token": "one"}'), Answer(200, b'{"token": "two"}')])
    found = challenges([BEARER])
    first = it.answer(found, (), None, plain_is_fine=False)
    assert it.answer(found, (), first, plain_is_fine=False) == "Bearer two"


def test_an_identity_token_goes_by_post():
    it, asked = access(Credentials(identity_token="i"), [Answer(200, b'{"access_token": "t"}')])
    assert it.answer(challenges([BEARER]), (), None, plain_is_fine=False) == "Bearer t"
    assert asked[0][0] == "POST"
    assert b"refresh_token=i" in asked[0][3]


def test_basic_is_tried_once():
    it, _ = access(Credentials("me", "secret"), [])
    found = challenges(['Basic realm="x"'])
    first = it.answer(found, (), None, plain_is_fine=False)
    assert base64.b64decode(first.removeprefix("Basic ")) == b"me:secret"
    with pytest.raises(DeniedError, match="denies access to me"):
        it.answer(found, (), first, plain_is_fine=False)


@pytest.mark.parametrize("answer", [b"", b"[]", b"{}", b'{"token": 1}', b'{"token": "a\\nb"}'])
def test_answers_without_a_token(answer):
    it, _ = access(ANONYMOUS, [Answer(200, answer)])
    with pytest.raises(Exception, match="no token"):
        it.answer(challenges([BEARER]), (), None, plain_is_fine=False)


@pytest.mark.parametrize(
    ("text", "seconds"),
    [("7", 7.0), ("", None), (None, None), ("soon", None), ("Thu, 01 Jan 1970 00:00:00 GMT", 0.0)],
)
def test_retry_after(text, seconds):
    assert asked_seconds(text) == seconds


def test_retry_after_as_a_date():
    assert 8 < asked_seconds(formatdate(time.time() + 10, usegmt=True)) <= 10


@pytest.fixture
def clock(monkeypatch):
    now = [0.0]
    monkeypatch.setattr(patience, "pause", lambda seconds: now.__setitem__(0, now[0] + seconds))
    monkeypatch.setattr(patience.time, "monotonic", lambda: now[0])
    return now


def failing(asked_s=None):
    return TransientError(UnavailableError("no"), asked_s)


def test_patience_lasts_for_tens_of_seconds(clock):
    told = []
    one = Patience(told.append)
    with pytest.raises(UnavailableError):
        [one.wait(failing()) for _ in range(100)]
    assert 20 < clock[0] <= 30
    assert told


def test_progress_renews_it(clock):
    one = Patience(lambda _: None)
    for _ in range(200):
        one.wait(failing())
        one.progressed()
    assert clock[0] < 60


def test_what_is_asked_for_is_waited(clock):
    one = Patience(lambda _: None)
    one.wait(failing(50))
    one.wait(failing(60))
    assert clock[0] == 110
    one.wait(failing())
    with pytest.raises(UnavailableError, match="asks to wait 20 s"):
        one.wait(failing(20))


def header(**fields):
    return base64.urlsafe_b64encode(json.dumps(fields).encode()).decode()


def test_a_header_of_dockers():
    assert from_header(None) is ANONYMOUS
    assert from_header(header(username="é?>", password="p")) == Credentials("é?>", "p")
    assert from_header(header(identitytoken="t")) == Credentials(identity_token="t")
    auth = base64.b64encode(b"me:a:b").decode()
    assert from_header(header(auth=auth)) == Credentials("me", "a:b")
    assert not from_header(base64.b64encode(b"{}").decode())


@pytest.mark.parametrize("text", ["x", "e30x!", header(username=1), "W10="])
def test_a_header_that_is_none(text):
    with pytest.raises(InvalidInputError, match="X-Registry-Auth") as raised:
        from_header(text)
    assert text not in raised.value.message or len(text) < 3


def places(name, **settings):
    found = Rules(Settings(**settings)).places(reference.parse(name))
    return [f"{place.endpoint.host}/{place.path}" for place in found]


def test_the_longest_prefix_holds():
    rules = {
        "q.example": RegistryRule(location="far.example/all"),
        "q.example/team": RegistryRule(mirrors=("m.example/t", "https://n.example")),
    }
    assert places("q.example/app", registries=rules) == ["far.example/all/app"]
    assert places("q.example/team/app", registries=rules) == [
        "m.example/t/app",
        "n.example/team/app",
        "q.example/team/app",
    ]
    assert places("q.example/teams/app", registries=rules) == ["far.example/all/teams/app"]
    assert places("alpine", registry_mirrors=("https://m.example",)) == [
        "m.example/library/alpine",
        "registry-1.docker.io/library/alpine",
    ]


def test_names_without_a_registry():
    rules = Rules(Settings(add_registries=("a.example",), block_registries=("public",)))
    assert [str(one) for one in rules.candidates("x")] == ["a.example/x:latest"]
    rules = Rules(Settings(add_registries=("a.example",)))
    assert [one.domain for one in rules.candidates("x")] == ["a.example", "docker.io"]
    assert [one.domain for one in rules.candidates("b.example/x")] == ["b.example"]


def test_all_but_those_added_are_blocked():
    settings = {"add_registries": ("a.example",), "block_registries": ("all",)}
    assert places("a.example/x", **settings) == ["a.example/x"]
    with pytest.raises(DeniedError):
        places("b.example/x", **settings)


def test_what_is_in_force():
    rules = {"q.example/t": RegistryRule(mirrors=("m",), insecure=True)}
    rows = Rules(Settings(registries=rules, block_registries=("b.example",))).in_force()
    by_prefix = {row["prefix"]: row for row in rows}
    assert by_prefix["b.example"]["blocked"]
    assert by_prefix["q.example/t"]["insecure"]
    assert not by_prefix["docker.io"]["insecure"]


def test_rules_in_the_settings(tmp_path):
    file = tmp_path / "config.toml"
    file.write_text('[registries."docker.io"]\nmirrors = ["m:5000"]\n')
    environ = {"ADD_REGISTRY": "--add-registry a.example --add-registry=b.example"}
    settings = load(environ=environ, config_file=str(file))
    assert settings.registries == {"docker.io": RegistryRule(mirrors=("m:5000",))}
    assert settings.add_registries == ("a.example", "b.example")
    assert words("'--block-registry all'") == ["all"]


@pytest.mark.parametrize("value", [1, {"x": 1}, {"x": {"mirrors": "m"}}, {"x": {"y": 1}}])
def test_rules_that_are_none(value):
    with pytest.raises(InvalidInputError):
        parse(value, "file")


@pytest.mark.parametrize(
    ("text", "parts"),
    [
        ("linux/arm64", ("linux", "arm64", "")),
        ("linux/arm/v7", ("linux", "arm", "v7")),
        ("aarch64", ("linux", "arm64", "")),
    ],
)
def test_platforms(text, parts):
    found = Platform.parse(text)
    assert (found.os, found.architecture, found.variant) == parts


@pytest.mark.parametrize("text", ["", "/", "a/b/c/d", "linux/"])
def test_platforms_that_are_none(text):
    with pytest.raises(InvalidInputError):
        Platform.parse(text)
