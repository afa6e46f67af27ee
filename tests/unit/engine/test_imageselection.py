from datetime import UTC, datetime

import pytest

from cgagent.engine.imageselection import selected
from cgagent.errors import InvalidInputError
from cgagent.images.image import Image, ImageConfig


def image(number, *names, labels=None):
    return Image(
        id="sha256:" + f"{number:x}" * 64,
        names=names,
        config=ImageConfig(labels=labels or {}),
        layers=(),
        size_bytes=1,
        created=datetime.fromtimestamp(number, UTC),
    )


ALL = [
    image(1, "docker.io/library/alpine:3", "docker.io/library/alpine:latest", labels={"a": "b"}),
    image(2, "127.0.0.1:5000/team/app:1"),
    image(3),
    image(4, "docker.io/grafana/grafana@sha256:" + "d" * 64),
]


@pytest.mark.parametrize(
    ("filters", "found"),
    [
        ({}, [1, 2, 3, 4]),
        ({"dangling": ["true"]}, [3, 4]),
        ({"dangling": ["0"]}, [1, 2, 4]),
        ({"label": ["a=b"]}, [1]),
        ({"reference": ["alpine"]}, [1]),
        ({"reference": ["alp*:3", "*/*/app"]}, [1, 2]),
        ({"reference": ["*"]}, [1]),
        ({"before": ["127.0.0.1:5000/team/app:1"]}, [1]),
        ({"since": ["alpine"]}, [2, 3, 4]),
        ({"before": ["2222"]}, [1]),
        ({"reference": ["*/grafana"]}, [4]),
        ({"until": ["3"]}, [1, 2]),
    ],
)
def test_filters(filters, found):
    chosen = selected(ALL, {name: tuple(values) for name, values in filters.items()})
    assert [int(one.id[7], 16) for one in chosen] == found


@pytest.mark.parametrize(
    "filters", [{"dangling": ["odd"]}, {"odd": ["1"]}, {"since": ["nobody"]}, {"since": ["22"]}]
)
def test_what_is_no_filter(filters):
    with pytest.raises(InvalidInputError):
        selected(ALL, {name: tuple(values) for name, values in filters.items()})


def test_a_reference_leaves_the_names_that_are_like_it():
    digest = "docker.io/library/alpine@sha256:" + "d" * 64
    one = image(1, *ALL[0].names, digest)
    (found,) = selected([one], {"reference": ("alpine:l*",)})
    assert found.names == ("docker.io/library/alpine:latest", digest)
