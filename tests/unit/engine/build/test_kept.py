"""What builds have left: listed, pruned by age and size, and held to a size."""

import pytest

from cgagent.engine.build.cache import Result, StepCache
from cgagent.images.building import Layers
from cgagent.store.builds import StepRecord

pytestmark = pytest.mark.anyio

MIB = 1 << 20


def add(engine, key, *, used_s, size_bytes=MIB, chain_id=""):
    """A cached step with a layer of its own."""
    engine.builds.cache._building.steps.add(
        StepRecord(
            key=f"sha256:{key}",
            chain_id=chain_id or f"sha256:layer-{key}",
            diff_id=f"sha256:layer-{key}",
            size_bytes=size_bytes,
            history='{"created_by": "RUN x"}',
            created_ns=0,
            used_ns=used_s * 10**9,
            uses=1,
        )
    )


async def ids(engine):
    return sorted(one.id for one in await engine.builds.cache.all())


async def test_what_an_image_has_counts_for_nothing(engine, world):
    (layer,) = engine.images.resolve("tiny").layers
    add(engine, "of-an-image", used_s=1, chain_id=layer)
    add(engine, "alone", used_s=2)
    add(engine, "the-same", used_s=3, chain_id="sha256:layer-alone")
    found = {one.id: one for one in await engine.builds.cache.all()}
    assert found["of-an-image"].shared
    assert [found[n].size_bytes for n in ("of-an-image", "alone", "the-same")] == [0, MIB, 0]
    assert found["alone"].description == "RUN x"


@pytest.mark.parametrize(
    ("how", "left"),
    [
        ({}, []),
        ({"until_s": 2.5}, ["c", "d"]),
        ({"keep_bytes": 2 * MIB}, ["c", "d"]),
        ({"keep_bytes": 2 * MIB, "until_s": 1.5}, ["b", "c", "d"]),
        ({"ids": frozenset({"b"})}, ["a", "c", "d"]),
        ({"keep_bytes": 100 * MIB}, ["a", "b", "c", "d"]),
    ],
)
async def test_a_prune_takes_what_was_used_longest_ago(engine, how, left):
    for number, key in enumerate("abcd", 1):
        add(engine, key, used_s=number)
    removed, _ = await engine.builds.cache.prune(**how)
    assert await ids(engine) == left
    assert sorted([*removed, *left]) == ["a", "b", "c", "d"]


@pytest.mark.parametrize(("size", "left"), [("2m", ["c", "d"]), ("0", []), ("100%", [*"abcd"])])
async def test_the_cache_is_held_to_its_size(world, size, left):
    async with world.agent(build_cache_size=size) as engine:
        for number, key in enumerate("abcd", 1):
            add(engine, key, used_s=number)
        engine.builds.cache.bound()
        await engine.builds.cache.close()
        assert await ids(engine) == left


async def test_a_step_is_kept_longer_than_those_that_stand_on_it(engine):
    building = engine.builds.cache._building
    steps = StepCache(building, None, reads=True, reads_own=True)
    layers = Layers()
    for number in range(3):
        made = layers.on_top(f"sha256:{number}", 1)
        steps.keep(f"sha256:step-{number}", layers, Result(made, {"created_by": "RUN"}))
        layers = made
    assert [one.key[-1] for one in building.steps.all()] == ["2", "1", "0"]
    used = building.steps.get("sha256:step-0").used_ns
    building.steps.use("sha256:step-0", used + 10**9)
    assert building.steps.get("sha256:step-0").uses == 1
