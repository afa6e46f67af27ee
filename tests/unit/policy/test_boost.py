"""A start-up boost: what is understood, and what it widens."""

import pytest

from cgagent.cgroups import UNLIMITED, Limits
from cgagent.errors import InvalidInputError
from cgagent.policy.boost import parse, wider

MIB = 1 << 20


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("cpus=2,memory=1g,for=30s", "cpus=2,memory=1073741824,for=30s"),
        ("for=1m30s, cpus=0.5", "cpus=0.5,for=90s"),
        ("memory=64m,for=healthy", "memory=67108864,for=healthy,most=300s"),
        ("memory=64m,for=healthy,most=10s", "memory=67108864,for=healthy,most=10s"),
    ],
)
def test_it_is_kept_in_one_spelling(text, shown):
    assert str(parse(text)) == shown
    assert parse(shown) == parse(text)


@pytest.mark.parametrize("text", ["", "off"])
def test_off(text):
    assert parse(text) is None


@pytest.mark.parametrize(
    "text",
    [
        *("cpus=2", "for=30s", "cpus,for=3s", "cpus=two,for=3s", "cpus=2,cpus=3,for=1s"),
        *("cpus=2,for=0", "cpus=2,for=25h", "cpus=2,for=1s,most=2s", "pids=3,for=1s", "," * 500),
    ],
)
def test_mistakes(text):
    with pytest.raises(InvalidInputError, match="boost"):
        parse(text)


def test_only_what_is_wider():
    boosted = Limits(memory_max_bytes=100 * MIB, cpu_quota_us=200_000, cpu_period_us=100_000)
    narrow = Limits(memory_max_bytes=50 * MIB, cpu_quota_us=50_000)
    assert wider(boosted, narrow) == dict(boosted)
    wide = Limits(memory_max_bytes=200 * MIB, cpu_quota_us=30_000, cpu_period_us=10_000)
    assert wider(boosted, wide) == {}
    assert wider(boosted, Limits()) == {}
    assert wider(boosted, Limits(memory_max_bytes=UNLIMITED, cpu_quota_us=UNLIMITED)) == {}
