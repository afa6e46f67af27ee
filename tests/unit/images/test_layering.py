"""Many images at once: no thread waits for what has none."""

from __future__ import annotations

import asyncio
import time
from concurrent.futures import ThreadPoolExecutor

from cgagent.images.content import ContentStore, digest_of
from cgagent.images.layering import Layering
from cgagent.images.layers import chain_ids
from cgagent.store import Database
from cgagent.store.content import ContentRecords

TAR = "application/vnd.oci.image.layer.v1.tar"


class Layers:
    """Stands in for the layer store; a layer takes its time."""

    def __init__(self):
        self.there = set()

    def has(self, chain_id):
        return chain_id in self.there

    def verify(self, reader, _diff_id):
        while reader.read(1 << 16):
            pass

    def add(self, reader, chain, diff_id, _process, below):
        self.verify(reader, diff_id)
        below()
        time.sleep(0.2)
        self.there.add(chain[-1])


class Source:
    digest = None
    origin = ""
    media_type = TAR

    def __init__(self, raw):
        self.raw = raw
        self.size_bytes = len(raw)
        self.shown = raw.decode()

    def fetch(self, writer, _stop, _progress):
        writer.write(self.raw)


def test_images_with_a_common_base_do_not_take_its_threads(tmp_path):
    database = Database(tmp_path)
    store = ContentStore(tmp_path, ContentRecords(database))

    async def add(layering, lease, number):
        raws = [b"base", b"%d-1" % number, b"%d-2" % number]
        diff_ids = [digest_of(raw) for raw in raws]
        sources = [(Source(raw), diff) for raw, diff in zip(raws, diff_ids, strict=True)]
        return await layering.add(sources, chain_ids(diff_ids), lease, None, lambda _: None)

    async def work():
        layering = Layering(store, Layers())
        layering.threads = ThreadPoolExecutor(6)
        with store.leased("test") as lease:
            adding = [asyncio.create_task(add(layering, lease, n)) for n in range(8)]
            _, waiting = await asyncio.wait(adding, timeout=15)
            for task in waiting:
                task.cancel()
            await asyncio.gather(*adding, return_exceptions=True)
            assert not waiting

    asyncio.run(work())
    database.close()
