import pytest

from cgagent.cgroups import Limits
from cgagent.engine.containers.config import ContainerConfig, ResolvedConfig
from cgagent.engine.containers.container import Container, Outcome, Record
from cgagent.engine.containers.selection import Selection
from cgagent.engine.options.health import Health
from cgagent.engine.options.mounts import MountSpec
from cgagent.engine.options.networking import PortSpec
from cgagent.errors import InvalidInputError


def made(number, name, outcome=None, *, labels=None, config=None, **resolved):
    return Container(
        Record(
            id=f"{number:x}" * 64,
            name=name,
            image_id="sha256:" + f"{number:x}" * 64,
            created_ns=number,
            cgroup_path="/c",
            rootfs=None,
            config=config or ContainerConfig(image="alpine:3"),
            resolved=ResolvedConfig(args=("sh",), labels=labels or {}, **resolved),
            limits=Limits(),
            outcome=outcome or Outcome(status="running"),
        )
    )


ALL = [
    made(
        1,
        "web",
        labels={"a": "b", "c": ""},
        ports=(PortSpec(container_port=80, host_port=8080),),
        config=ContainerConfig(
            image="alpine:3", exposed_ports=("53/udp",), annotations={"why": "so"}
        ),
    ),
    made(2, "web-2", Outcome(status="exited", exit_code=3), labels={"a": "x"}),
    made(
        3,
        "db",
        Outcome(status="running", frozen_since_ns=1, health=Health(status="healthy")),
        mounts=(MountSpec(type="volume", source="data", destination="/d"),),
        config=ContainerConfig(image="db"),
    ),
]


def names(every=False, last=0, **filters):
    chosen = Selection(
        every=every,
        last=last,
        filters={name.replace("_", "-"): tuple(values) for name, values in filters.items()},
    )
    return [c.name for c in chosen.of(ALL, lambda c: ["bridge"] if c.name != "db" else ["mine"])]


def test_those_that_run_the_newest_first_or_every_one():
    assert names() == ["db", "web"]
    assert names(every=True) == ["db", "web-2", "web"]
    assert names(last=2) == ["db", "web-2"]


@pytest.mark.parametrize(
    ("filters", "found"),
    [
        ({"name": ["we"]}, ["web-2", "web"]),
        ({"name": ["^/web$"]}, ["web"]),
        ({"name": ["we["]}, []),
        ({"id": ["33"]}, ["db"]),
        ({"label": ["a"]}, ["web-2", "web"]),
        ({"label": ["a=b", "c"]}, ["web"]),
        ({"annotation": ["why=so"]}, ["web"]),
        ({"status": ["exited", "paused"]}, ["db", "web-2"]),
        ({"exited": ["3"]}, ["web-2"]),
        ({"exited": ["0"]}, []),
        ({"health": ["healthy"]}, ["db"]),
        ({"health": ["none"]}, ["web-2", "web"]),
        ({"ancestor": ["alpine"]}, ["web-2", "web"]),
        ({"ancestor": ["3333"]}, ["db"]),
        ({"before": ["web-2"]}, ["web"]),
        ({"since": ["web-2"]}, ["db"]),
        ({"volume": ["data"]}, ["db"]),
        ({"volume": ["/d"]}, ["db"]),
        ({"network": ["mine"]}, ["db"]),
        ({"publish": ["80"]}, ["web"]),
        ({"publish": ["8000-9000/tcp"]}, ["web"]),
        ({"publish": ["53/udp"]}, []),
        ({"expose": ["50-60/udp"]}, ["web"]),
        ({"is_task": ["false"]}, ["db", "web-2", "web"]),
        ({"is_task": ["true"]}, []),
        ({"name": ["web"], "exited": ["3"]}, ["web-2"]),
    ],
)
def test_filters(filters, found):
    assert names(every=True, **filters) == found


def test_a_filter_by_state_looks_at_every_one():
    assert names(status=["exited"]) == ["web-2"]


@pytest.mark.parametrize(
    "filters",
    [
        {"status": ["odd"]},
        {"health": ["odd"]},
        {"before": ["nobody"]},
        {"publish": ["x"]},
        {"odd": ["1"]},
        {"name": ["(a*)*b"]},
        {"name": ["a*b*c*d"]},
    ],
)
def test_what_is_no_filter(filters):
    with pytest.raises(InvalidInputError):
        names(every=True, **filters)
