"""``images``: docker's lines and filters, of what the agent lists."""

import pytest

from cgagent.cli import imagelist
from cgagent.errors import InvalidInputError

DIGEST = "sha256:" + "d" * 64


def image(number, *names, created="2026-01-01T00:00:00+00:00", labels=None):
    return {
        "id": f"sha256:{str(number) * 64}",
        "names": list(names),
        "size_bytes": number << 20,
        "created": created,
        "config": {"labels": labels or {}},
    }


ALPINE = image(
    *(1, "docker.io/library/alpine:latest", "docker.io/library/alpine:3.23"),
    f"docker.io/library/alpine@{DIGEST}",
)
OURS = image(
    2, "example.com:5000/team/web:1", created="2026-02-01T00:00:00+00:00", labels={"a": "b"}
)
PINNED = image(3, f"docker.io/grafana/grafana@{DIGEST}", created=None)
LOOSE = image(4, created="2026-03-01T00:00:00+00:00")
ALL = [ALPINE, OURS, PINNED, LOOSE]
NONE = imagelist.NONE


def test_a_line_for_each_tag():
    assert imagelist.names(ALPINE, with_digest=False) == [
        ("alpine", "latest", NONE),
        ("alpine", "3.23", NONE),
    ]
    assert imagelist.names(ALPINE, with_digest=True) == [
        ("alpine", "latest", DIGEST),
        ("alpine", "3.23", DIGEST),
    ]
    assert imagelist.names(OURS, with_digest=True) == [("example.com:5000/team/web", "1", NONE)]
    assert imagelist.names(PINNED, with_digest=False) == [("grafana/grafana", NONE, NONE)]
    assert imagelist.names(PINNED, with_digest=True) == [("grafana/grafana", NONE, DIGEST)]
    assert imagelist.names(LOOSE, with_digest=True) == [(NONE, NONE, NONE)]
    assert imagelist.names(image(5, "host"), with_digest=False) == [("host", NONE, NONE)]


@pytest.mark.parametrize(
    ("filters", "shown"),
    [
        ("reference=alpine", "alpine:latest alpine:3.23"),
        ("reference=alp*:3*", "alpine:3.23"),
        ("reference=*", "alpine:latest alpine:3.23 <none>:<none>"),
        ("reference=*/grafana", "grafana/grafana:<none>"),
        ("reference=*:3.23 reference=*/*/web", "alpine:3.23 example.com:5000/team/web:1"),
        ("dangling=true", "<none>:<none>"),
        ("dangling=false label=a=b", "example.com:5000/team/web:1"),
        ("label=a label=c", ""),
        ("since=alpine", "example.com:5000/team/web:1 <none>:<none>"),
        ("before=222222", "alpine:latest alpine:3.23 grafana/grafana:<none>"),
    ],
)
def test_filters(filters, shown):
    rows = imagelist._chosen(ALL, [f.partition("=")[::2] for f in filters.split()])
    assert [f"{repository}:{tag}" for _, repository, tag, _ in rows] == shown.split()


@pytest.mark.parametrize("wrong", [("nosuch", "x"), ("dangling", "maybe"), ("before", "nosuch")])
def test_what_is_no_filter(wrong):
    with pytest.raises(InvalidInputError, match="--filter"):
        imagelist._chosen(ALL, [wrong])
