from __future__ import annotations

import errno
import os
import tempfile
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from cgagent.concurrency import StoppedError
from cgagent.errors import InvalidInputError, NoSpaceError, NotFoundError
from cgagent.images import content
from cgagent.images.content import ContentStore, RestartedError, digest_of
from cgagent.images.garbage import collect
from cgagent.store import Database
from cgagent.store.content import ContentRecords
from cgagent.store.images import ImageRecords

TYPE = "application/octet-stream"
RAW = b"some bytes"
DIGEST = digest_of(RAW)


class NoLayers:
    """Stands in for the unpacked layers, which have tests of their own."""

    def discard(self, layers):
        assert layers == []


@pytest.fixture
def database(tmp_path):
    opened = Database(tmp_path)
    yield opened
    opened.close()


@pytest.fixture
def store(tmp_path, database):
    return ContentStore(tmp_path, ContentRecords(database))


def files(store):
    return sorted(p.name for p in (*store.path("").iterdir(), *store.ingest.iterdir()))


def test_a_blob_lies_under_its_digest_as_it_came(store, tmp_path):
    with store.leased("test") as lease:
        assert lease.put(RAW, TYPE) == DIGEST
        assert lease.put(RAW, TYPE) == DIGEST
    assert (tmp_path / "images/blobs/sha256" / DIGEST[7:]).read_bytes() == RAW
    assert files(store) == [DIGEST[7:]]
    assert store.read(DIGEST) == RAW
    assert store.records.get(DIGEST).size_bytes == len(RAW)


def test_a_digest_that_is_not_known_before_is_found(store):
    with store.leased("test") as lease, lease.writer(len(RAW)) as writer:
        writer.write(RAW[:3])
        writer.write(RAW[3:])
        assert writer.commit(TYPE) == DIGEST


@pytest.mark.parametrize(
    ("raw", "size", "message"),
    [
        (RAW[:-1], len(RAW), "has 9 bytes, its manifest says 10"),
        (RAW + b"x", len(RAW), "is longer than the 10 bytes"),
        (RAW[::-1], len(RAW), "its content was changed or damaged"),
    ],
)
def test_what_is_not_as_announced_leaves_nothing(store, raw, size, message):
    def receive(lease):
        with lease.writer(size, DIGEST) as writer:
            writer.write(raw)
            writer.commit(TYPE)

    with store.leased("test") as lease, pytest.raises(InvalidInputError, match=message):
        receive(lease)
    assert files(store) == []
    assert not store.has(DIGEST)


@pytest.mark.parametrize("call", ["write", "mkstemp"])
def test_a_full_disk_leaves_nothing(store, monkeypatch, call):
    def full(*_, **__):
        raise OSError(errno.ENOSPC, "No space left on device")

    with store.leased("test") as lease:
        monkeypatch.setattr(tempfile if call == "mkstemp" else os, call, full)
        with pytest.raises(NoSpaceError, match="the disk is full"):
            lease.put(RAW, TYPE)
    assert files(store) == []
    assert store.records.get(DIGEST) is None


def test_a_disk_that_turns_out_full_when_it_is_written_takes_the_blob_away(store, monkeypatch):
    """The kernel tells once, and a blob that is not on disk must not be taken for whole."""

    def full(_fd):
        raise OSError(errno.ENOSPC, "No space left on device")

    with store.leased("test") as lease:
        lease.put(RAW, TYPE)
        with monkeypatch.context() as patch:
            patch.setattr(os, "fsync", full)
            with pytest.raises(NoSpaceError, match="the disk is full"):
                store.sync([DIGEST])
        assert not store.has(DIGEST)
        lease.put(RAW, TYPE)  # comes again
        store.sync([DIGEST])
        assert store.read(DIGEST) == RAW


def test_whoever_needs_a_blob_that_another_has_just_brought_writes_it_to_disk(store, monkeypatch):
    synced = []
    real = os.fsync

    def counting(fd):
        synced.append(os.readlink(f"/proc/self/fd/{fd}"))
        real(fd)

    monkeypatch.setattr(os, "fsync", counting)
    with store.leased("one") as one, store.leased("other") as other:
        one.put(RAW, TYPE)
        assert synced == []
        other.put(RAW, TYPE)  # it is here already
        store.sync([DIGEST])
        folder = str(store.path(DIGEST).parent)
        assert synced == [str(store.path(DIGEST)), folder]
        store.sync([DIGEST])
        assert len(synced) == 2


def test_a_blob_that_is_missing_cut_off_or_damaged_is_not_taken_for_whole(store):
    stop, count = threading.Event(), [0]
    with store.leased("test") as lease:
        lease.put(RAW, TYPE)
        assert store.is_intact(DIGEST, stop, count.append)
        store.path(DIGEST).write_bytes(RAW[::-1])
        assert not store.is_intact(DIGEST, stop, count.append)
        store.path(DIGEST).write_bytes(RAW[1:])
        assert not store.has(DIGEST)
        store.drop(DIGEST)
        with pytest.raises(NotFoundError):
            store.read(DIGEST)
        lease.put(RAW, TYPE)  # comes again
        assert store.has(DIGEST)
    assert count[-1] == len(RAW)


def test_a_file_without_a_row_goes_at_the_next_start(store, database, tmp_path):
    store.path(DIGEST).write_bytes(RAW)
    (store.ingest / "tmp-x").write_bytes(b"half")
    again = ContentStore(tmp_path, ContentRecords(database))
    again.sweep()
    assert files(again) == []


def test_a_blob_that_comes_while_it_is_collected_is_there(store, database):
    images, done = ImageRecords(database), threading.Event()

    def sweep():
        while not done.is_set():
            collect(images, store, NoLayers())

    sweeper = threading.Thread(target=sweep)
    sweeper.start()
    try:
        for _ in range(200):
            with store.leased("test") as lease:
                lease.put(RAW, TYPE)
                assert store.read(DIGEST) == RAW
    finally:
        done.set()
        sweeper.join()


class Killed(BaseException):
    """The agent is killed at this instant."""


BLOBS = [bytes([n]) * 3 for n in range(8)]
BLOB = st.sampled_from([digest_of(raw) for raw in BLOBS])
CALLS = ["os.fsync", "Path.rename", "Path.unlink", "sync", "records.add", "records.delete_unused"]
DEATH = st.none() | st.tuples(st.sampled_from(CALLS), st.integers(0, 3), st.booleans())


class Machine(RuleBasedStateMachine):
    """Blobs come, are referred to, held and let go; the agent is killed in between and amid."""

    def __init__(self):
        super().__init__()
        self.folder = tempfile.TemporaryDirectory()
        self.root = Path(self.folder.name)
        self.database = Database(self.root)
        self.images = ImageRecords(self.database)
        self.raw = {digest_of(raw): raw for raw in BLOBS}
        self.links = {}
        self.held = {}
        self.names = {}
        self.here = set()
        self.restart()

    def teardown(self):
        self.database.close()
        self.folder.cleanup()

    def restart(self):
        self.store = ContentStore(self.root, ContentRecords(self.database))
        self.held = {}
        self.store.sweep()
        self.collect()

    def collect(self):
        collect(self.images, self.store, NoLayers())
        self.here &= self.reachable()
        self.links = {parent: c for parent, c in self.links.items() if parent in self.here}

    def reachable(self):
        pending = [*self.names.values(), *(d for held in self.held.values() for d in held)]
        found = set()
        while pending:
            digest = pending.pop()
            if digest not in found:
                found.add(digest)
                pending += self.links.get(digest, ())
        return found

    def dying(self, death, work):
        """Do it, or be killed before or after the n-th call of a function, and start again."""
        if death is None:
            return work()
        name, count, before = death
        owner, attribute = {
            "os.fsync": (os, "fsync"),
            "Path.rename": (Path, "rename"),
            "Path.unlink": (Path, "unlink"),
            "sync": (content, "sync_directory"),
            "records.add": (self.store.records, "add"),
            "records.delete_unused": (self.store.records, "delete_unused"),
        }[name]
        real = getattr(owner, attribute)
        calls = 0

        def deadly(*args, **kwargs):
            nonlocal calls
            calls += 1
            if calls == count + 1 and before:
                raise Killed
            result = real(*args, **kwargs)
            if calls == count + 1:
                raise Killed
            return result

        setattr(owner, attribute, deadly)
        try:
            return work()
        except Killed:
            return None
        finally:
            setattr(owner, attribute, real)
            if calls > count:
                self.restart()

    @rule(digest=BLOB, holder=st.integers(0, 2), death=DEATH)
    def comes(self, digest, holder, death):
        if holder not in self.held:
            self.held[holder] = _Held(self.store.lease(str(holder)))
        held = self.held[holder]

        def work():
            held.add(digest)
            held.lease.put(self.raw[digest], TYPE)
            self.here.add(digest)
            self.store.sync([digest])

        self.dying(death, work)

    @rule(parent=BLOB, children=st.lists(BLOB, max_size=3))
    def refers(self, parent, children):
        if parent in self.here:
            self.store.records.set_links(parent, children)
            self.links[parent] = tuple(children)

    @rule(digest=BLOB, name=st.sampled_from("xy"))
    def is_named(self, digest, name):
        if digest in self.here & self.reachable():
            self.images.add(digest, b"", None, ())
            self.images.set_name(name, digest, digest)
            self.names[name] = digest
            for image in self.images.all():  # an image without a name would stay
                if not image.names:
                    self.images.delete(image.id)

    @rule(name=st.sampled_from("xy"))
    def loses_its_name(self, name):
        if name in self.names:
            digest = self.names.pop(name)
            self.images.drop_names([name])
            if digest not in self.names.values():
                self.images.delete(digest)

    @rule(holder=st.integers(0, 2))
    def is_let_go(self, holder):
        if holder in self.held:
            self.store.end(self.held.pop(holder).lease)

    @rule(death=DEATH)
    def is_collected(self, death):
        self.dying(death, self.collect)

    @rule()
    def is_killed(self):
        self.restart()

    @invariant()
    def nothing_that_is_referred_to_is_lost(self):
        for digest in self.here & self.reachable():
            assert self.store.read(digest) == self.raw[digest]
            assert self.store.has(digest)

    @invariant()
    def nothing_half_made_has_a_digest(self):
        for path in self.store.path("").iterdir():
            assert digest_of(path.read_bytes()) == f"sha256:{path.name}"

    @rule()
    def nothing_else_is_left_after_a_collection(self):
        self.collect()
        there = {f"sha256:{path.name}" for path in self.store.path("").iterdir()}
        assert there == self.here
        assert {blob.digest for blob in self.store.records.all()} == self.here
        assert list(self.store.ingest.iterdir()) == []


class _Held(set):
    """Digests with the lease that holds them."""

    def __init__(self, lease):
        super().__init__()
        self.lease = lease


TestMachine = Machine.TestCase
TestMachine.settings = settings(
    max_examples=40,
    stateful_step_count=30,
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow],
)


# -- a blob is read while it comes ----------------------------------------------------------


def read_to_the_end(writer, stop, follows=None):
    with writer.follow(stop) as follower:
        if follows is not None:
            follows.set()
        found = b""
        while chunk := follower.read(4):
            found += chunk
        return found


@pytest.fixture
def following(store):
    """A writer of `RAW`, and a future of what a thread reads of it meanwhile."""
    stop, follows = threading.Event(), threading.Event()
    with (
        store.leased("test") as lease,
        ThreadPoolExecutor() as threads,
        lease.writer(len(RAW), DIGEST) as writer,
    ):
        found = threads.submit(read_to_the_end, writer, stop, follows)
        assert follows.wait(30)
        yield writer, found, stop


def test_a_follower_gets_every_byte(following):
    writer, found, _ = following
    for n in range(len(RAW)):
        writer.write(RAW[n : n + 1])
    assert found.result(30) == RAW
    writer.commit(TYPE)


def test_a_follower_that_comes_late_reads_the_blob(store):
    with store.leased("test") as lease:
        with lease.writer(len(RAW), DIGEST) as writer:
            writer.write(RAW)
            writer.commit(TYPE)
        assert read_to_the_end(writer, threading.Event()) == RAW


def test_a_follower_is_told_of_a_restart(following):
    writer, found, stop = following
    writer.write(RAW[:5])
    writer.restart()
    with pytest.raises(RestartedError):
        found.result(30)
    writer.write(RAW)
    assert read_to_the_end(writer, stop) == RAW


def test_a_follower_ends_with_the_writer(store):
    stop, follows = threading.Event(), threading.Event()
    with store.leased("test") as lease, ThreadPoolExecutor() as threads:
        with lease.writer(len(RAW), DIGEST) as writer:
            found = threads.submit(read_to_the_end, writer, stop, follows)
            writer.write(RAW[:5])
            assert follows.wait(30)
        with pytest.raises(StoppedError):
            found.result(30)


def test_a_follower_can_be_stopped(following):
    _, found, stop = following
    stop.set()
    with pytest.raises(StoppedError):
        found.result(30)
