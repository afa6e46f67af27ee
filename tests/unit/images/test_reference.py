from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cgagent.errors import InvalidInputError
from cgagent.images.reference import Reference, parse

DIGEST = "sha256:" + "0123456789abcdef" * 4


@pytest.mark.parametrize(
    ("text", "canonical", "familiar"),
    [
        ("alpine", "docker.io/library/alpine:latest", "alpine:latest"),
        ("alpine:3.23", "docker.io/library/alpine:3.23", "alpine:3.23"),
        ("library/alpine", "docker.io/library/alpine:latest", "alpine:latest"),
        ("docker.io/alpine", "docker.io/library/alpine:latest", "alpine:latest"),
        ("index.docker.io/u/app:1", "docker.io/u/app:1", "u/app:1"),
        ("docker.io/library/a/b", "docker.io/library/a/b:latest", "library/a/b:latest"),
        ("u/app", "docker.io/u/app:latest", "u/app:latest"),
        ("localhost/x", "localhost/x:latest", "localhost/x:latest"),
        ("localhost:5000/x", "localhost:5000/x:latest", "localhost:5000/x:latest"),
        ("localhost:5000", "docker.io/library/localhost:5000", "localhost:5000"),
        ("[::1]:5000/x:y", "[::1]:5000/x:y", "[::1]:5000/x:y"),
        ("Host/x", "Host/x:latest", "Host/x:latest"),
        ("quay.io/a/b__c/d-e.f:T", "quay.io/a/b__c/d-e.f:T", "quay.io/a/b__c/d-e.f:T"),
        (f"alpine@{DIGEST}", f"docker.io/library/alpine@{DIGEST}", f"alpine@{DIGEST}"),
        (f"alpine:1@{DIGEST}", f"docker.io/library/alpine:1@{DIGEST}", f"alpine:1@{DIGEST}"),
    ],
)
def test_names_are_completed_as_docker_does(text, canonical, familiar):
    assert str(parse(text)) == canonical
    assert parse(text).familiar == familiar


@pytest.mark.parametrize(
    ("text", "part"),
    [
        ("", "empty"),
        ("Alpine", "'Alpine' must be lower case"),
        ("quay.io/a/B", "'a/B' must be lower case"),
        ("a//b", "component ''"),
        ("a/", "component ''"),
        ("quay.io/", "no repository"),
        ("a___b", "component 'a___b'"),
        ("a..b", "component 'a..b'"),
        ("-a/b", "component '-a'"),
        ("../x", "'..'"),
        ("a:-x", "tag '-x'"),
        ("a:" + "t" * 129, "tag"),
        ("a:", "tag ''"),
        ("a:b:c", "component 'a:b'"),
        ("a b", "'a b'"),
        ("a\n", "component"),
        ("x" * 256, "characters long"),
        ("a@sha256:12", "64 lower-case"),
        (f"a@{DIGEST.upper()}", "algorithm 'SHA256'"),
        ("a@md5:" + "0" * 32, "algorithm 'md5'"),
        ("a@", "algorithm ''"),
        ("0" * 64, "by id"),
        ("-bad.io/x", "registry '-bad.io'"),
        ("host:port/x", "registry 'host:port'"),
    ],
)
def test_the_part_that_is_wrong_is_named(text, part):
    with pytest.raises(InvalidInputError) as raised:
        parse(text)
    assert part in raised.value.message
    assert "\n" not in raised.value.message


label = st.from_regex(r"[a-z0-9]([a-z0-9-]{0,8}[a-z0-9])?", fullmatch=True)
domains = st.one_of(
    st.just("docker.io"),
    st.builds("{}.{}".format, label, label),
    st.builds("{}:{}".format, label, st.integers(1, 65535)),
    st.just("localhost"),
)
components = st.from_regex(r"[a-z0-9]{1,6}((\.|_|__|-{1,3})[a-z0-9]{1,6}){0,2}", fullmatch=True)
paths = st.lists(components, min_size=2, max_size=4).map("/".join)
tags = st.from_regex(r"[a-zA-Z0-9_][a-zA-Z0-9_.-]{0,127}", fullmatch=True)
references = st.builds(
    Reference, domains, paths, st.none() | tags, st.none() | st.just(DIGEST)
).filter(lambda r: r.tag or r.digest)


@given(references)
def test_canonical_and_familiar_forms_parse_back(reference):
    assert parse(str(reference)) == reference
    assert parse(reference.familiar) == reference


@given(st.text(max_size=40) | st.text("abAB0.:/_-@[]", max_size=40))
def test_any_text_parses_stably_or_is_refused(text):
    try:
        reference = parse(text)
    except InvalidInputError:
        return
    assert parse(str(reference)) == reference
    assert parse(reference.familiar) == reference
