from __future__ import annotations

import contextlib
import io
import tarfile

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cgagent.images.unpack import tarstream
from cgagent.images.unpack.tarstream import BadTarError, TarStream


def written(members, form=tarfile.PAX_FORMAT):
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w", format=form) as tar:
        for member, data in members:
            tar.addfile(member, io.BytesIO(data))
    return buffer.getvalue()


def member(name, size=0, **fields):
    info = tarfile.TarInfo(name)
    info.size = size
    for key, value in fields.items():
        setattr(info, key, value)
    return info


def read(raw):
    return [
        (entry, b"".join(stream.data()))
        for stream in [TarStream(io.BytesIO(raw))]
        for entry in stream
    ]


names = st.text(
    st.characters(blacklist_characters="\0/", blacklist_categories=("Cs",)), min_size=1, max_size=80
).map(lambda part: f"x{part}x")
members = st.lists(
    st.tuples(
        st.lists(names, min_size=1, max_size=4).map("/".join),
        st.binary(max_size=1500),
        st.integers(0, 2**40),
        st.integers(0, 2**31),
    ),
    max_size=5,
)


@settings(deadline=None)
@given(members, st.sampled_from([tarfile.PAX_FORMAT, tarfile.GNU_FORMAT]))
def test_reads_what_another_implementation_wrote(found, form):
    raw = written(
        [(member(name, len(data), mtime=mtime, uid=uid), data) for name, data, mtime, uid in found],
        form,
    )
    got = [(e.name.decode(), d, e.mtime_ns // 10**9, e.uid) for e, d in read(raw)]
    assert got == [
        (name, data, min(mtime, (2**63 - 1) // 10**9), uid) for name, data, mtime, uid in found
    ]


@settings(deadline=None)
@given(st.data())
def test_damage_is_an_error_or_readable_never_a_crash(data):
    raw = bytearray(written([(member("a" * 150, 700, mtime=1.5), b"x" * 700), (member("b"), b"")]))
    for _ in range(data.draw(st.integers(1, 8))):
        raw[data.draw(st.integers(0, len(raw) - 1))] = data.draw(st.integers(0, 255))
    with contextlib.suppress(BadTarError):
        read(bytes(raw))


@pytest.mark.parametrize("cut", [100, 512 + 100, 1024 + 3])
def test_a_cut_off_archive_is_an_error(cut):
    raw = written([(member("a", 2000), b"x" * 2000)])
    with pytest.raises(BadTarError, match="cut off"):
        read(raw[:cut])


def test_sub_second_times_survive():
    ((entry, _),) = read(written([(member("a", mtime=1234567890.25), b"")]))
    assert entry.mtime_ns == 1234567890250000000


def test_a_long_extended_header_is_refused_before_it_is_read():
    header = bytearray(written([(member("a", pax_headers={"comment": "x"}), b"")])[:512])
    header[124:136] = b"%011o\0" % (tarstream.MAX_EXTENSION_BYTES + 1)
    header[148:156] = b" " * 8
    header[148:156] = b"%06o\0 " % sum(header)
    with pytest.raises(BadTarError, match="extended header of 1048577 bytes"):
        read(bytes(header))


def test_sparse_files_are_refused():
    pax = {"GNU.sparse.major": "1", "GNU.sparse.minor": "0"}
    with pytest.raises(BadTarError, match="sparse file is not supported here"):
        read(written([(member("a", pax_headers=pax), b"")]))


def test_a_name_with_a_nul_is_refused():
    with pytest.raises(BadTarError, match="NUL"):
        read(written([(member("a", pax_headers={"path": "a\0b"}), b"")]))


@pytest.mark.parametrize("value", ["-1", "1e3", "9" * 30, "", "NaN"])
def test_a_size_that_is_no_size_is_refused(value):
    raw = written([(member("a", pax_headers={"size": value}), b"")])
    if value:
        with pytest.raises(BadTarError, match="PAX record is damaged"):
            read(raw)
    else:
        assert [entry.size for entry, _ in read(raw)] == [0]
