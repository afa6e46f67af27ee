from __future__ import annotations

import gzip
import io

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cgagent.errors import InvalidInputError, UnsupportedError
from cgagent.images import compression
from cgagent.images.compression import decompressed


def plain(raw):
    return b"".join(decompressed(io.BytesIO(raw), "layer x"))


@given(st.lists(st.binary(max_size=300), min_size=1, max_size=4), st.integers(0, 600))
def test_members_of_gzip_and_their_padding(parts, padding):
    raw = b"".join(gzip.compress(part) for part in parts) + b"\0" * padding
    assert plain(raw) == b"".join(parts)


def test_large_content_in_bounded_pieces():
    content = bytes(range(256)) * 40_000
    pieces = list(decompressed(io.BytesIO(gzip.compress(content)), "x"))
    assert b"".join(pieces) == content
    assert max(map(len, pieces)) <= 1 << 18


@given(st.integers(0, 99))
def test_cut_off_gzip_is_an_error(keep):
    raw = gzip.compress(bytes(range(256)))
    if keep >= 2:
        with pytest.raises(InvalidInputError, match="layer x: the gzip data is cut off"):
            plain(raw[:keep])


def test_damaged_and_trailing_rubbish():
    raw = gzip.compress(b"x" * 1000)
    with pytest.raises(InvalidInputError, match="damaged gzip"):
        plain(raw[:-8] + b"\1" * 8)
    with pytest.raises(InvalidInputError, match="damaged gzip"):
        plain(raw + b"rubbish")


def test_plain_content_passes():
    assert plain(b"plain") == b"plain"
    assert plain(b"") == b""


@pytest.mark.parametrize(
    ("magic", "name"), [(b"\x28\xb5\x2f\xfd", "zstd"), (b"BZh9", "bzip2"), (b"\xfd7zXZ\0", "xz")]
)
def test_other_compressions_are_named(magic, name):
    with pytest.raises(UnsupportedError, match=f"compressed with {name}"):
        plain(magic + b"rest")


def test_a_bomb_is_refused(monkeypatch):
    monkeypatch.setattr(compression, "EXPANSION_FREE_BYTES", 1 << 20)
    raw = gzip.compress(bytes(32 << 20))
    with pytest.raises(InvalidInputError, match="expands to more than 200 times"):
        plain(raw)
