"""The dashboards' files are what their descriptions make, and what Grafana's types want."""

import json
import re

import pytest

from grafana import generate
from tests.world import typescript

pytestmark = [pytest.mark.system, pytest.mark.native]

HEAD = """import type { Dashboard } from '@grafana/schema';
type Json<T> =
  T extends string ? `${T}` : T extends object ? { [K in keyof T]: Json<T[K]> } : T;
export const board: Json<Dashboard> = """


def test_files_are_up_to_date():
    files = {path.name: path.read_text() for path in generate.DIRECTORY.glob("*.json")}
    assert files == generate.texts(), "run: python -m grafana.generate"


def test_they_have_the_types_of_grafana(tmp_path):
    (tmp_path / "node_modules").symlink_to(typescript.unpack() / "node_modules")
    names = []
    for name, text in generate.texts().items():
        names.append(name.replace(".json", ".ts"))
        (tmp_path / names[-1]).write_text(HEAD + text)
    assert typescript.complaints(tmp_path, *names) == ""
    (tmp_path / "wrong.ts").write_text(HEAD + '{"schemaVersion": "41"}')
    assert "not assignable" in typescript.complaints(tmp_path, "wrong.ts")


@pytest.mark.parametrize("name", generate.texts())
def test_conventions(name):
    """What dashboards are to have so that they can be used beside others."""
    board = json.loads(generate.texts()[name])
    assert {v["name"] for v in board["templating"]["list"]} >= {"datasource", "job", "instance"}
    ids = [panel["id"] for panel in board["panels"]]
    assert len(set(ids)) == len(ids)
    for panel in board["panels"]:
        if panel["type"] == "row":
            continue
        where = f"{name}: {panel['title']}"
        assert panel["description"], where
        assert panel["fieldConfig"]["defaults"]["unit"], where
        assert panel["datasource"]["uid"] == "${datasource}", where
        for target in panel["targets"]:
            expr = target["expr"]
            for selector in re.findall(r"\{([^}]*)\}", expr):
                assert 'job=~"$job", instance=~"$instance"' in selector, f"{where}: {expr}"
            for range_ in re.findall(r"(?:^|[^e])rate\([^[]*\[([^]]*)\]", expr):
                assert range_ == "$__rate_interval", f"{where}: {expr}"
