"""The cache makes a thing once, whole or not at all, however many ask."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from tests.world import cache


@pytest.fixture(autouse=True)
def own_cache(tmp_path, monkeypatch):
    monkeypatch.setenv("CGAGENT_TEST_CACHE", str(tmp_path / "cache"))


MAKER = """
import os
from tests.world import cache

def append(draft):
    with draft.open("a") as out:
        out.write(f"{os.getpid()}\\n")

cache.build("thing", append)
"""


def test_made_once_for_many_processes():
    project = Path(__file__).parents[3]
    makers = [subprocess.Popen([sys.executable, "-c", MAKER], cwd=project) for _ in range(4)]
    assert [maker.wait() for maker in makers] == [0] * 4
    made = (cache.root() / "thing").read_text()
    assert made in {f"{maker.pid}\n" for maker in makers}


def test_a_failed_make_leaves_nothing_and_may_be_repeated():
    def broken(draft):
        draft.write_text("half")
        raise RuntimeError("no space")

    with pytest.raises(RuntimeError, match="no space"):
        cache.build("thing", broken)
    assert [p.name for p in cache.root().iterdir()] == [".lock-thing"]
    assert cache.build("thing", lambda draft: draft.write_text("whole")).read_text() == "whole"
