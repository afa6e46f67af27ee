"""The live screen's rows and lines, without a screen."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cgagent.cli.top.model import SORTS, Model
from cgagent.cli.top.view import lines, sparks

HOST = {"cpu_cores": 2, "load": [0.1, 0.2, 0.3], "memory_total_bytes": 1 << 30}


def stats(name, cgroup=None, *, cpu=0.0, memory=0, limit=None, status="running", waits=0.0):
    return {
        "id": name if cgroup is None else f"cgroup:{cgroup}",
        "name": name,
        "cgroup": cgroup or f"/cgagent/{name}",
        "status": status,
        "usage": {"memory": {"working_set_bytes": memory}, "pids": {"current": 1}},
        "memory_limit_bytes": limit,
        "rates": cpu is not None
        and {
            "cpu_percent": cpu,
            "throttled_percent": None,
            "read_bytes_per_s": None,
            "write_bytes_per_s": None,
            "stalled_percent": {"cpu": 0.0, "memory": waits, "io": 0.0},
        },
    }


def model(*all_stats, **settings):
    made = Model(**settings)
    made.take(all_stats)
    return made


def names(made):
    return [row.name for row in made.rows()]


@pytest.mark.parametrize("sort", SORTS)
@pytest.mark.parametrize("reverse", [False, True])
def test_what_is_not_known_comes_last(sort, reverse):
    made = model(stats("new", cpu=None, memory=None), stats("old", cpu=1.0, memory=5, limit=10))
    made.sort, made.reverse = sort, reverse
    assert sorted(names(made)) == ["new", "old"]
    if sort in ("cpu", "memory", "limit", "waiting"):
        assert names(made) == ["old", "new"]


def test_a_tree_by_cgroup():
    made = model(
        stats("app", "/a.slice/app.service"),
        stats("a.slice", "/a.slice"),
        stats("b", "/b"),
        stats("c1"),
        tree=True,
    )
    assert names(made) == ["a.slice", "app", "b", "c1"]
    assert [made.depth(row) for row in made.rows()] == [0, 1, 0, 0]


def test_the_choice_stays_with_its_container():
    made = model(stats("a", cpu=3.0), stats("b", cpu=2.0), stats("c", cpu=1.0))
    made.move(1)
    assert made.choice().name == "b"
    made.take([stats("a", cpu=1.0), stats("b", cpu=9.0)])
    assert made.choice().name == "b"
    made.take([stats("a", cpu=1.0)])
    assert made.choice().name == "a"
    made.move(-5)
    made.take([])
    assert made.choice() is None


def test_a_name_of_a_group_cannot_move_the_cursor():
    made = model(stats("x\x1b[2J\n", "/x\x1b[2J"))
    (row,) = made.rows()
    assert (row.name, row.cgroup) == (r"x\x1b[2J\x0a", r"/x\x1b[2J")


def test_looks():
    made = model(
        stats("near", memory=95, limit=100, cpu=5.0),
        stats("cold", status="frozen", cpu=4.0),
        stats("waits", cpu=3.0, waits=50.0),
        stats("calm", cpu=2.0),
        chosen="calm",
    )
    shown = lines(made, HOST, (24, 120), "", unicode=True)
    assert [line.look for line in shown[2:6]] == ["alarm", "frozen", "alarm", "chosen"]


@given(st.integers(1, 60), st.integers(1, 300), st.integers(0, 100), st.integers(0, 120), st.text())
def test_any_screen_is_filled_exactly(height, width, count, place, message):
    made = model(*(stats(f"c{n}", cpu=float(n)) for n in range(count)))
    made.move(place)
    shown = lines(made, HOST, (height, width), message, unicode=False)
    assert len(shown) == height
    assert all(len(line.text) == width for line in shown)
    if count and height > 4:
        assert "chosen" in {line.look for line in shown}


def test_sparks():
    assert sparks([0, 50, 100], unicode=True) == " ▄█"
    assert sparks([0, 100, 200], unicode=True) == " ▄█"
    assert sparks([0, 100], unicode=False) == " %"
