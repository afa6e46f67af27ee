"""``images``: docker's lines, of what the agent lists."""

from cgagent.cli import imagelist

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
