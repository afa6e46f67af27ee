from benchmarks import gate
from benchmarks.measures import Row

ROWS = [
    Row("run", "ms", "cgagent", (20.0, 22.0, 21.0)),
    Row("run", "ms", "crun", (10.0, 10.5, 11.0)),
    Row("start", "ms", "cgagent", (5.0,)),
    Row("memory", "MiB", "cgagent", (80.0,)),
]


def test_ratios_are_to_the_peer_and_to_the_interpreter():
    assert gate.ratios(ROWS, 10.0) == {
        "run": {"interpreter": 2.1, "crun": 2.0},
        "start": {"interpreter": 0.5},
    }


def test_slower_is_what_is_slower_beside_everything():
    now = gate.ratios(ROWS, 10.0)
    assert gate.slower(now, now) == []
    quick = {"run": {"interpreter": 1.5, "crun": 2.0}, "start": {"interpreter": 0.4}}
    (line,) = gate.slower(now, quick)
    assert line == "start: from 0.40 to 0.50 of interpreter's"


def test_what_was_not_measured_now_is_no_complaint():
    assert gate.slower({}, gate.ratios(ROWS, 10.0)) == []
