"""All or nothing, over plain files: a directory in a file's place is what refuses."""

import pytest

from cgagent.cgroups.changes import Write, commit
from cgagent.errors import CgagentError, UnsupportedError


@pytest.fixture
def tree(tmp_path):
    for name in ("one", "two"):
        (tmp_path / name).write_text(f"{name}\n")
    (tmp_path / "refusing").mkdir()
    return tmp_path


def test_earlier_values_come_back(tree):
    writes = [
        Write("first", f"{tree}/one", "1", undo=lambda text: f"was {text.strip()}"),
        Write("first", f"{tree}/two", "2"),
        Write("third", f"{tree}/refusing", "3"),
    ]
    with pytest.raises(CgagentError, match="refusing: cannot be read"):
        commit(writes)
    assert (tree / "one").read_text().startswith("was one")
    assert (tree / "two").read_text().startswith("two")


def test_nothing_is_written_when_a_file_is_missing(tree):
    with pytest.raises(UnsupportedError, match=r"limit memory_high_bytes: .* memory\.high in"):
        commit(
            [
                Write("first", f"{tree}/one", "1"),
                Write("memory_high_bytes", f"{tree}/memory.high", "2"),
            ]
        )
    assert (tree / "one").read_text() == "one\n"
