from __future__ import annotations

import bz2
import gzip
import io
import lzma
import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cgagent.errors import InvalidInputError
from cgagent.images import compression
from cgagent.images.compression import decompressed, zstd


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
        plain(raw + b"rubbish, longer than a header")
    with pytest.raises(InvalidInputError, match="cut off"):
        plain(raw + b"rubbish")


@pytest.mark.parametrize("compress", [gzip.compress, bz2.compress, zstd.compress, bytes])
def test_bytes_that_come_one_by_one(compress):
    raw = io.BytesIO(compress(b"content" * 9))
    drops = type("Drops", (), {"read": lambda _self, _size: raw.read(1)})
    assert b"".join(decompressed(drops(), "x")) == b"content" * 9


def test_plain_content_passes():
    assert plain(b"plain") == b"plain"
    assert plain(b"") == b""


@pytest.mark.parametrize("compress", [bz2.compress, lzma.compress, zstd.compress])
def test_the_others(compress):
    content = bytes(range(256)) * 8_000
    raw = compress(content)
    assert plain(raw + raw) == 2 * content
    assert compression.is_compressed(raw[:6])
    with pytest.raises(InvalidInputError, match="layer x: the compressed data is cut off"):
        plain(raw[:-9])
    with pytest.raises(InvalidInputError, match="layer x: damaged compressed data"):
        plain(raw[:10] + b"rubbish" * 10 + raw[80:])


def test_frames_of_zstd_that_are_to_be_skipped():
    skipped = struct.pack("<II", 0x184D2A53, 5) + b"table"
    raw = skipped + zstd.compress(b"one") + zstd.compress(b"two") + skipped
    assert compression.is_compressed(raw[:6])
    assert plain(raw) == b"onetwo"


def test_zstd_that_asks_for_much_memory_is_refused():
    parameter = zstd.CompressionParameter
    options = {parameter.window_log: 28, parameter.enable_long_distance_matching: 1}
    raw = zstd.compress(bytes(256 << 20), options=options)
    with pytest.raises(InvalidInputError, match="requires too much memory"):
        plain(raw)


def test_zstd_in_bounded_pieces():
    pieces = decompressed(io.BytesIO(zstd.compress(bytes(8 << 20))), "x")
    assert max(map(len, pieces)) <= 1 << 18


@pytest.mark.parametrize("compress", [gzip.compress, bz2.compress, lzma.compress, zstd.compress])
def test_a_bomb_is_refused(monkeypatch, compress):
    monkeypatch.setattr(compression, "EXPANSION_FREE_BYTES", 1 << 20)
    raw = compress(bytes(32 << 20))
    with pytest.raises(InvalidInputError, match="expands to more than 200 times"):
        plain(raw)
