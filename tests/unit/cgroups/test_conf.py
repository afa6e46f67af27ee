import pytest
from hypothesis import given
from hypothesis import strategies as st

from cgagent.cgroups import Placement, conf
from cgagent.cgroups.changes import commit
from cgagent.errors import InvalidInputError, UnsupportedError


@pytest.fixture
def places(tmp_path):
    (tmp_path / "g").mkdir()
    return {name: Placement(name, 2, str(tmp_path), "/") for name in ("misc", "rdma", "io")}


@pytest.mark.parametrize(
    "name",
    ["", "misc", "../misc.max", "misc/../x.y", "misc.max\n", "/etc/passwd", ".max", "misc.",
     "cgroup.kill", "misc.max/", "cgroup.procs"],
)  # fmt: skip
def test_what_is_not_a_controllers_file_is_refused(places, name):
    with pytest.raises(InvalidInputError, match="limit conf"):
        conf.writes(places, "/g", [(name, "1")])


@given(st.text(max_size=20))
def test_no_name_leads_out_of_the_group(name):
    try:
        conf.controller_of(name)
    except InvalidInputError:
        return
    assert "/" not in name
    assert not name.startswith(".")
    assert "\n" not in name


def test_a_controller_or_file_that_is_not_there(places):
    with pytest.raises(UnsupportedError, match="no dmem cgroup controller"):
        conf.writes(places, "/g", [("dmem.max", "1")])
    with pytest.raises(UnsupportedError, match=r"no misc\.max in"):
        conf.writes(places, "/g", [("misc.max", "1")])


@pytest.mark.parametrize("mode", [0o200, 0o444])
def test_a_file_that_cannot_be_read_back_or_written_is_no_setting(places, tmp_path, mode):
    path = tmp_path / "g" / "misc.reclaim"
    path.write_text("")
    path.chmod(mode)
    with pytest.raises(InvalidInputError, match="is not a setting"):
        conf.writes(places, "/g", [("misc.reclaim", "1")])


@pytest.mark.parametrize(
    ("before", "value", "restored"),
    [
        ("max\n", "7", "max"),
        ("sev 3\ntdx max\n", "tdx 5", "tdx max"),
        (
            "mlx hca_handle=2 hca_object=max\n",
            "mlx hca_object=9",
            "mlx hca_handle=2 hca_object=max",
        ),
        ("", "8:0 rbps=5 wiops=9", "8:0 rbps=max wiops=max"),
        ("50000 100000\n", "7000 100000", "50000 100000"),
        ("", "region 5", "region max"),
    ],
)
def test_what_is_written_back(places, tmp_path, before, value, restored):
    path = tmp_path / "g" / "misc.max"
    path.write_text(before)
    (write,) = conf.writes(places, "/g", [("misc.max", value)])
    commit([write])
    assert path.read_text().startswith(value)
    assert write.undo(before) == restored
