import asyncio

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cgagent.cgroups import UNLIMITED, Limits
from cgagent.engine.containers.config import ContainerConfig, ResolvedConfig
from cgagent.engine.containers.container import VERSION, Container, Outcome, Record, migrated
from cgagent.engine.containers.registry import Containers
from cgagent.engine.events import Events
from cgagent.engine.options.confinement import Ulimit
from cgagent.engine.options.devices import Device
from cgagent.engine.options.logging import LogConfig
from cgagent.engine.options.mounts import Mount, MountSpec
from cgagent.engine.options.namespaces import Namespaces
from cgagent.engine.options.overrides import LimitOverride
from cgagent.engine.options.restart import RestartPolicy
from cgagent.errors import ConflictError, NotFoundError, UnsupportedError
from cgagent.images.drivers import RootFs
from cgagent.images.image import HealthCheck
from cgagent.store import Database
from cgagent.store.containers import ContainerRows
from cgagent.store.events import EventRows

TEXT = st.text(st.characters(exclude_categories=["Cs"]), max_size=20)
COUNT = st.one_of(st.none(), st.integers(0, 2**62))


def record(id_="a" * 64, name="one", **changes):
    values = {
        "image_id": "sha256:" + "1" * 64,
        "created_ns": 5,
        "cgroup_path": f"/cgagent/{id_}",
        "rootfs": RootFs(("/lower",), "/upper", "/work"),
        "config": ContainerConfig(image="alpine"),
        "resolved": ResolvedConfig(args=("sh",)),
        "limits": Limits(pids_max=UNLIMITED, memory_max_bytes=64 << 20),
        **changes,
    }
    return Record(id=id_, name=name, **values)


TEXTS = st.lists(TEXT).map(tuple)
PAIRS = st.dictionaries(TEXT, TEXT)
MOUNT = {
    "type": st.sampled_from(["bind", "volume", "tmpfs"]),
    "source": TEXT,
    "destination": TEXT,
    "read_only": st.booleans(),
    "labels": PAIRS,
    "tmpfs_options": TEXTS,
}
HEALTH = st.one_of(st.none(), st.builds(HealthCheck, test=TEXTS, interval_ns=COUNT, retries=COUNT))
LOG = st.builds(LogConfig, TEXT, PAIRS)
CONFIGS = st.builds(
    ContainerConfig,
    image=TEXT,
    command=TEXTS,
    entrypoint=st.one_of(st.none(), TEXTS),
    env=TEXTS,
    binds=TEXTS,
    mounts=st.lists(st.builds(Mount, **MOUNT)).map(tuple),
    tmpfs=PAIRS,
    privileged=st.booleans(),
    cap_add=TEXTS,
    devices=st.lists(st.builds(Device, path_on_host=TEXT, path_in_container=TEXT, access=TEXT)).map(
        tuple
    ),
    ulimits=st.lists(st.builds(Ulimit, name=TEXT, soft=st.integers(-1), hard=st.integers(-1))).map(
        tuple
    ),
    sysctls=PAIRS,
    pid=TEXT,
    dns=TEXTS,
    stop_timeout_s=st.one_of(st.none(), st.integers(0, 100)),
    console_size=st.one_of(st.none(), st.tuples(st.integers(1, 99), st.integers(1, 99))),
    labels=PAIRS,
    auto_remove=st.booleans(),
    health=HEALTH,
    log=st.one_of(st.none(), LOG),
    restart=st.builds(RestartPolicy, TEXT, st.integers(0, 9)),
)
RECORDS = st.builds(
    record,
    config=CONFIGS,
    resolved=st.builds(
        ResolvedConfig,
        args=TEXTS,
        env=TEXTS,
        mounts=st.lists(st.builds(MountSpec, anonymous=st.booleans(), **MOUNT)).map(tuple),
        namespaces=st.builds(Namespaces, pid=TEXT, ipc=TEXT, user_first_id=st.integers(0, 2**31)),
        health=HEALTH,
        log=LOG,
        labels=PAIRS,
    ),
    overrides=st.lists(
        st.builds(
            LimitOverride,
            owner=TEXT,
            reason=TEXT,
            since_ns=st.integers(0, 2**62),
            limits=st.builds(Limits, pids_max=st.one_of(COUNT, st.just(UNLIMITED))),
        )
    ).map(tuple),
    outcome=st.builds(
        Outcome,
        status=st.sampled_from(["created", "running", "exited"]),
        pid=COUNT,
        started_ns=COUNT,
        finished_ns=COUNT,
        exit_code=COUNT,
        oom_killed=st.booleans(),
        error=st.one_of(st.none(), TEXT),
    ),
)


@settings(max_examples=25)  # each is large
@given(RECORDS)
def test_a_record_survives_the_database(made):
    back = Record.from_document(
        id_=made.id,
        name=made.name,
        image_id=made.image_id,
        created_ns=made.created_ns,
        document=Container(made).document(made),
    )
    assert back == made


def test_a_record_of_an_earlier_form_is_brought_to_this_one_step_by_step():
    steps = {n: lambda value, n=n: {**value, "steps": [*value["steps"], n]} for n in range(VERSION)}
    assert migrated({"version": 0, "steps": []}, "x", steps)["steps"] == list(range(VERSION))
    assert migrated({"version": VERSION, "steps": []}, "x", steps)["steps"] == []


def test_a_record_of_a_later_form_is_refused_by_name():
    with pytest.raises(UnsupportedError, match="container one: a later version of cgagent"):
        migrated({"version": VERSION + 1}, "container one")


def stored(database):
    directory = database.path.parent / "containers"
    return Containers(ContainerRows(database, directory), Events(EventRows(database)))


def lose_rows(database):
    with database.transaction() as connection:
        connection.execute("DELETE FROM containers")


@pytest.fixture
def containers(tmp_path):
    database = Database(tmp_path)
    yield stored(database)
    database.close()


def test_they_are_found_by_name_id_and_beginning(containers):
    one = containers.add(record("ab" + "0" * 62, "one"))
    two = containers.add(record("ac" + "0" * 62, "two"))
    for reference in (one.id, "one", "ab"):
        assert containers.find(reference) is one
    with pytest.raises(ConflictError, match="2 container ids begin with 'a'"):
        containers.find("a")
    for reference in ("", "x", "b0"):
        with pytest.raises(NotFoundError, match="does not exist; see cgagent ps --all"):
            containers.find(reference)
    three = containers.add(record("ad" + "0" * 62, "ac"))  # a name before the beginning of an id
    assert containers.find("ac") is three
    assert containers.find(two.id) is two


def test_a_taken_name_is_refused_and_nothing_kept(containers):
    containers.add(record())
    with pytest.raises(ConflictError, match="'one' is taken"):
        containers.add(record("b" * 64))
    assert len(containers) == 1


def test_what_is_saved_is_there_for_the_next_agent(tmp_path):
    database = Database(tmp_path)
    first = stored(database)
    kept, dropped = first.add(record()), first.add(record("b" * 64, "two"))
    first.save(kept, kept.with_outcome(status="exited", exit_code=3))
    first.drop(dropped, dropped.record)
    second = stored(database)
    second.load()
    (found,) = second
    assert found.record == kept.record
    assert found.record.outcome.exit_code == 3
    database.close()


def test_a_change_and_its_event_are_kept_together_or_not_at_all(tmp_path):
    database = Database(tmp_path)
    events = EventRows(database)
    containers = stored(database)
    kept = containers.add(record(), "create")
    with pytest.raises(ConflictError):
        containers.add(record("b" * 64), "create")
    containers.save(kept, kept.with_outcome(status="running"), "start")
    containers.note(kept, kept.with_outcome(status="exited"), "die", exit_code="3")
    containers.rename(kept, "two")
    containers.drop(kept, kept.record, ("destroy", {}))
    told = [(e.action, e.attributes["name"]) for e in events.between(0, 2**62, range(99), 99)]
    before = [("create", "one"), ("start", "one"), ("die", "one")]
    assert told == [*before, ("rename", "two"), ("destroy", "two")]
    database.close()


def test_waiters_are_told_of_each_change():
    async def scenario():
        container = Container(record())
        waiting = asyncio.create_task(container.changed())
        await asyncio.sleep(0)
        container.notify()
        await asyncio.wait_for(waiting, 5)
        again = asyncio.create_task(container.changed())
        await asyncio.sleep(0)
        assert not again.done()
        again.cancel()

    asyncio.run(scenario())


def test_a_row_that_the_database_lost_is_made_again_of_the_file_beside_the_container(tmp_path):
    database = Database(tmp_path)
    first = stored(database)
    kept, named = first.add(record()), first.add(record("b" * 64, "two"))
    dropped = first.add(record("c" * 64, "three"))
    first.save(kept, kept.with_outcome(status="exited", exit_code=3))
    first.rename(named, "a_much_longer_name")
    first.rename(named, "short")
    first.drop(dropped, dropped.record)
    lose_rows(database)
    second = stored(database)
    second.load()
    assert {c.id: c.record for c in second.recover()} == {
        kept.id: kept.record,
        named.id: named.record,
    }
    assert second.recover() == []
    database.close()


def test_a_recovered_container_whose_name_is_taken_gets_another(tmp_path):
    database = Database(tmp_path)
    stored(database).add(record())
    lose_rows(database)
    second = stored(database)
    second.load()
    second.add(record("b" * 64))
    (found,) = second.recover()
    assert found.name == f"one-{'a' * 12}"
    database.close()


def test_a_file_that_is_no_record_is_told_from_one_without_any(tmp_path):
    database = Database(tmp_path)
    containers = stored(database)
    for name, text in (("a", ""), ("b", "\n"), ("c", "{"), ("d", "[]\n"), ("e", '{"id": "x"}\n')):
        directory = tmp_path / "containers" / (name * 64)
        directory.mkdir(parents=True)
        (directory / "container.json").write_text(text)
    assert [containers.is_damaged(name * 64) for name in "abcde"] == [False, False, *[True] * 3]
    assert containers.recover() == []
    database.close()


def test_a_row_without_its_file_gets_it_at_the_next_start(tmp_path):
    database = Database(tmp_path)
    kept = stored(database).add(record())
    path = tmp_path / "containers" / kept.id / "container.json"
    text = path.read_text()
    path.unlink()
    stored(database).load()
    assert path.read_text() == text
    database.close()
