"""The client for programs: its surface, and what loading it costs."""

import dataclasses
import subprocess
import sys

import cgagent.client
from cgagent import errors
from cgagent.client import answers


def test_the_surface():
    assert sorted(cgagent.client.__all__) == cgagent.client.__all__
    for name in cgagent.client.__all__:
        assert getattr(cgagent.client, name).__name__ == name
    assert not hasattr(cgagent.client, "Nothing")


def test_it_has_every_error_and_every_answer():
    names = {
        *(n for n, v in vars(errors).items() if n.endswith("Error") and isinstance(v, type)),
        *(n for n, v in vars(answers).items() if dataclasses.is_dataclass(v)),
    }
    assert names - {"Answer"} <= set(cgagent.client.__all__)


def test_a_bare_import_loads_nothing():
    script = (
        "import sys; old = set(sys.modules); import cgagent.client; print(*{*sys.modules} - old)"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, check=True)
    assert set(done.stdout.decode().split()) <= {"cgagent", "cgagent.client", "__future__"}


def test_what_a_later_agent_adds_is_no_error():
    raw = {"id": "a", "name": "b", "colour": "green"}
    made = answers.Created.of(raw)
    assert (made.id, made.name, made.raw["colour"]) == ("a", "b", "green")
