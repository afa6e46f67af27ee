"""The cache makes a thing once, whole or not at all, however many ask."""

from __future__ import annotations

import multiprocessing
import os

import pytest

from tests.world import cache


@pytest.fixture(autouse=True)
def own_cache(tmp_path, monkeypatch):
    monkeypatch.setenv("CGAGENT_TEST_CACHE", str(tmp_path / "cache"))


def _append(draft):
    with draft.open("a") as out:
        out.write(f"{os.getpid()}\n")


def test_made_once_for_many_processes():
    fork = multiprocessing.get_context("spawn")
    makers = [fork.Process(target=cache.build, args=("thing", _append)) for _ in range(4)]
    for maker in makers:
        maker.start()
    for maker in makers:
        maker.join()
    assert [maker.exitcode for maker in makers] == [0] * 4
    assert len(cache.build("thing", _append).read_text().splitlines()) == 1


def test_a_failed_make_leaves_nothing_and_may_be_repeated():
    def broken(draft):
        draft.write_text("half")
        raise RuntimeError("no space")

    with pytest.raises(RuntimeError, match="no space"):
        cache.build("thing", broken)
    assert [p.name for p in cache.root().iterdir()] == [".lock-thing"]
    assert cache.build("thing", lambda draft: draft.write_text("whole")).read_text() == "whole"
