"""`ps`: docker's forms, of what the agent lists."""

import json

import pytest

from cgagent.cli import ps
from cgagent.cli.formats import print_listed
from cgagent.errors import InvalidInputError


def item(number, name, status="running", labels=None, **state):
    return {
        "id": f"{number}" * 64,
        "name": name,
        "image": "alpine:3.23",
        "image_id": "sha256:" + "ab" * 32,
        "created_ns": number,
        "args": ["sh", "-c", "while :; do sleep 1; done"],
        "labels": labels or {},
        "mounts": [],
        "networks": ["bridge"],
        "published_ports": [],
        "state": {
            "status": status,
            "started_ns": 1,
            "finished_ns": 1,
            "exit_code": None,
            "oom_killed": False,
            **state,
        },
    }


ALL = [
    item(4, "web-2", "frozen", {"tier": "web", "x": ""}),
    item(3, "web-1", labels={"tier": "web"}, health={"status": "healthy"}),
    item(2, "db", "exited", exit_code=3),
    item(1, "new", "created"),
]


@pytest.mark.parametrize(
    ("form", "shown"),
    [
        ("{{.Names}}:{{.State}}", "web-2:paused\nweb-1:running\n"),
        (
            r"{{.ID}}\t{{.Label \"tier\"}}".replace('\\"', '"'),
            "444444444444\tweb\n333333333333\tweb\n",
        ),
        (r"table {{.Names}}\t{{.State}}", "NAMES   STATE\nweb-2   paused\nweb-1   running\n"),
        (r"table {{.ID}}", "CONTAINER ID\n444444444444\n333333333333\n"),
    ],
)
def test_forms(capsys, form, shown):
    print_listed([ps._shape(c, trim=True) for c in ALL[:2]], form, ps._HEADINGS)
    assert capsys.readouterr().out == shown


def test_as_json_and_as_docker_does_without_a_form(capsys):
    shapes = [ps._shape(c, trim=True) for c in ALL[:1]]
    print_listed(shapes, "json", ps._HEADINGS)
    found = json.loads(capsys.readouterr().out)
    assert (found["Names"], found["Labels"]) == ("web-2", "tier=web,x=")
    print_listed(shapes, "table", ps._HEADINGS)
    assert capsys.readouterr().out.split("\n")[0].split("   ")[0] == "CONTAINER ID"
    with pytest.raises(InvalidInputError, match="there is no field"):
        print_listed(shapes, "{{.Nosuch}}", ps._HEADINGS)


def test_one_whose_last_start_has_failed_has_ended_at_no_time():
    failed = {"status": "exited", "exit_code": 125, "oom_killed": False, "finished_ns": None}
    assert ps.status(failed) == "Exited (125)"
