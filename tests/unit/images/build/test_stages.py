"""Stages, their arguments, and what a target needs."""

import pytest

from cgagent.errors import InvalidInputError, UnsupportedError
from cgagent.images.build import stages
from cgagent.images.build.syntax import parse

PLATFORM = {"TARGETARCH": "amd64", "TARGETPLATFORM": "linux/amd64"}


def plan(text, target="", **given):
    return stages.plan(parse(text.encode()), target, given, PLATFORM)


THREE = """\
ARG VERSION=1
ARG BASE=alpine:${VERSION}
FROM --platform=$TARGETPLATFORM $BASE AS Build
RUN x
FROM other AS unneeded
RUN y
FROM build
COPY --from=build /a /b
RUN --mount=type=bind,from=0,target=/x z
"""


def test_what_the_last_stage_needs():
    found = plan(THREE, VERSION="2", UNUSED="3")
    assert [s.shown for s in found.stages] == ["build", "2"]
    assert found.stages[0].base == "alpine:2"
    assert found.stages[0].platform == "linux/amd64"
    assert found.stages[1].base_stage == 0
    assert found.stages[1].needs == {0}
    assert found.unused == ("UNUSED",)
    assert found.steps == 2 + 2 + 3
    assert (found.stage_of("BUILD", 2), found.stage_of("0", 2), found.stage_of("x", 2)) == (
        0,
        0,
        None,
    )


@pytest.mark.parametrize(
    ("target", "shown"),
    [("unneeded", "unneeded"), ("UNNEEDED", "unneeded"), ("1", "unneeded"), ("2", "2")],
)
def test_a_target(target, shown):
    assert plan(THREE, target).stages[-1].shown == shown


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("RUN x\nFROM a", "line 1: no build stage"),
        ("ARG a=b", "there is no FROM"),
        ("FROM a b c d", "line 1: FROM requires"),
        ("FROM a AS 1", "invalid name for build stage"),
        ("FROM $NOTHING", "should not be blank"),
        ("FROM a\nCOPY --from=1 a b", "line 2: invalid from flag value 1"),
        ("FROM a\nCOPY a", "line 2: COPY requires at least two"),
        ("FROM a\nCOPY --what=1 a b", "line 2: unknown flag: what"),
        ("FROM a\nCOPY a b c", "line 2: when using COPY with more than one"),
        ("FROM a\nRUN --mount=type=moon,target=/x y", "unsupported mount type 'moon'"),
        ("FROM a\nRUN --mount=type=cache y", "requires a target"),
        ("FROM a\nRUN --mount=type=tmpfs,target=/x,id=3 y", "unexpected key 'id'"),
        ("FROM a\nRUN --mount=type=cache,target=/x,sharing=no y", "sharing 'no'"),
        ("FROM a\nRUN --network=moon y", "unsupported network mode"),
        ("FROM a\nHEALTHCHECK --interval=x CMD y", "line 2"),
        ("FROM a\nHEALTHCHECK WHAT", "unknown type"),
        ("FROM a\nSHELL /bin/sh", "JSON form"),
        ("FROM a\nONBUILD FROM b", "FROM isn't allowed as an ONBUILD trigger"),
        ("FROM a\nADD --checksum=sha256:1 a b", "checksum can't be specified"),
        ("FROM a\nCOPY --chmod=u+y a b", "line 2: --chmod: mode 'u\\+y' is neither"),
        ("FROM a\nADD --parents a b", "unknown flag: parents"),
        ("FROM a\nADD https://h/x.git#-x /y", "'-x' is no branch"),
        ("FROM a\nRUN --mount=type=cache,target=/c,source=/x y", "from= names, which is missing"),
    ],
)
def test_what_is_refused_before_anything_runs(text, message):
    with pytest.raises(InvalidInputError, match=message):
        plan(text)


@pytest.mark.parametrize(
    "text",
    [
        "RUN --mount=type=ssh x",
        "RUN --security=insecure x",
        "ADD git@example.com:some/repository.git /x",
        "ADD --keep-git-dir https://example.com/repository.git /x",
    ],
)
def test_what_is_not_there(text):
    with pytest.raises(UnsupportedError, match="line 2"):
        plan(f"FROM a\n{text}")


def test_a_target_that_is_none():
    with pytest.raises(InvalidInputError, match="could not be found; there are build, unneeded, 2"):
        plan(THREE, "moon")


def test_what_no_target_needs_is_not_looked_at():
    assert plan("FROM a AS broken\nCOPY a\nFROM b").stages[0].base == "b"


def test_a_stage_sees_those_before_it_alone():
    text = "FROM x AS a\nFROM y AS b\nCOPY --from=a f g\nCOPY --from=b f g\nFROM z AS a\n"
    found = plan(f"{text}COPY --from=b f g\nCOPY --from=a f g\n")
    assert [stage.needs for stage in found.stages] == [frozenset(), {0}, {0, 1}]
    assert [found.stage_of("a", index) for index in range(4)] == [None, 0, 0, 2]
    with pytest.raises(InvalidInputError, match="no stage before it"):
        found.stage_of("1", 1)


@pytest.mark.parametrize(
    "text",
    [
        "FROM a\nCOPY --from=" + "9" * 5000 + " a b",
        "ARG A=" + "x" * 1000 + "\n" + "ARG A=$A$A$A$A$A$A$A$A$A$A\n" * 9 + "FROM a",
        "ARG A=" + "x" * 9999 + "\n" + "".join(f"ARG A{n}=$A\n" for n in range(999)) + "FROM a",
        "FROM a\nARG A=" + "${A:-" * 2000 + "}" * 2000,
        "FROM a\n" * 6000,
        'FROM a\nCMD ["\\ud800"]',
        'FROM a\nCOPY ["\\u0000", "x"]',
    ],
)
def test_what_would_keep_the_agent_busy_is_refused(text):
    with pytest.raises(InvalidInputError):
        plan(text)


def test_a_long_target():
    with pytest.raises(InvalidInputError, match="could not be found"):
        plan(THREE, "9" * 5000)
